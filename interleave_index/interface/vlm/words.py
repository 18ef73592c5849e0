"""What a user wrote as it goes into a prompt: without marks that would end it, and no longer than the model reads."""

from __future__ import annotations

from typing import Any


class PromptWords:
    """The words of users before one tokenizer.

    Args:
        tokenizer: of the checkpoint.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        self._marks = sorted((token.content for token in added if token.special), key=len, reverse=True)

    def plain(self, words: str) -> str:
        """Words of the same length in which no mark of the prompt is one: what a user writes must not end it."""
        for mark in self._marks:
            words = words.replace(mark, " " * len(mark))
        return words

    def within(self, words: str, tokens: int) -> tuple[str, int]:
        """The beginning of some words that takes at most so many tokens, and how many tokens are left after it."""
        places = self._tokenizer(
            self.plain(words), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )["offset_mapping"]
        if len(places) <= tokens:
            return words, tokens - len(places)
        return words[: places[tokens][0]], 0

    def count(self, text: str) -> int:
        """How many tokens a whole input has."""
        return len(self._tokenizer(text)["input_ids"])
