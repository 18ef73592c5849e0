"""Texts of the published model: token states through a disk cache, and prompts with entities tied to their tokens."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...models.text.language import LanguageTower, TokenStates
from ...whole_files import replaced
from ..find.prompter import EncodedTexts, Prompter
from ..find.prompts import PAD_LEGEND, GroundingPrompt, InterleavePrompt, TextTokens

TEMPLATE = "Describe the concept of {}."
DROPPED = ("-other", "-merged", "-stuff")  # of class names


class TextCache:
    """Token states on disk, one file a text, keyed by text, model and layer.

    Args:
        folder: made on first use; one that cannot be written to is left alone.
        model: identity of the language model, with its layer; part of the folder's name.
        tower: builds the tower when a text is not in the cache; called once at most.
    """

    def __init__(self, folder: Path, model: str, tower: Callable[[], LanguageTower]) -> None:
        self._folder, self._build = folder / model, tower
        self._tower: LanguageTower | None = None

    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        """See `LanguageTower.states`."""
        files = {text: self._file(text, context, tail) for text in texts}
        known = {text: states for text, file in files.items() if (states := _read(file)) is not None}
        wanted = [text for text in files if text not in known]
        if wanted:
            if self._tower is None:
                self._tower = self._build()
            for text, states in zip(wanted, self._tower.states(wanted, context, tail=tail), strict=True):
                known[text] = states
                _write(files[text], states)
        return [known[text] for text in texts]

    def _file(self, text: str, context: int, tail: int) -> Path:
        digest = hashlib.sha256(f"{context}\0{tail}\0{text}".encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest}.safetensors"


def _read(file: Path) -> TokenStates | None:
    try:
        content = load_file(file)
        return TokenStates(content["states"], content["spans"])
    except (OSError, KeyError, SafetensorError):
        return None


def _write(file: Path, states: TokenStates) -> None:
    with contextlib.suppress(OSError, SafetensorError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as draft:
            save_file({"states": states.states.contiguous(), "spans": states.spans.contiguous()}, draft)


class PublishedPrompter(Prompter):
    """Makes the text prompts of a pass.

    Args:
        cache: of token states.
        project: (T, width) states to (T, C) tokens.
        context, class_context: tokens of a text, and of a class name's sentence.
        tail: end tokens that the published interleaved sentences carry too many (UniCL 1, LLaMA 0).
    Attributes:
        published: replay the published evaluation where it differs, see docs/published-find.md; may be switched.
    """

    def __init__(
        self,
        cache: TextCache,
        project: Callable[[Tensor], Tensor],
        *,
        context: int,
        class_context: int,
        tail: int = 0,
    ) -> None:
        self._cache, self._project, self._context, self._class_context = cache, project, context, class_context
        self.published, self._tail = False, tail

    def encode(self, texts: Sequence[str], *, sentences: bool = False) -> EncodedTexts:
        """See `Prompter.encode`."""
        return self._encode(texts, self._context, self._tail if sentences and self.published else 0)

    def class_names(self, names: Sequence[str]) -> TextTokens:
        """Class names in the one sentence that the published evaluation puts them into."""
        return self.descriptions([class_sentence(name) for name in names])

    def descriptions(self, texts: Sequence[str]) -> TextTokens:
        """Descriptions of classes, as they are, at the length of class names."""
        encoded = self._encode(texts, self._class_context, 0)
        return TextTokens(encoded.tokens, encoded.pad)

    def _encode(self, texts: Sequence[str], context: int, tail: int) -> EncodedTexts:
        states = self._cache.states(texts, context, tail=tail)
        tokens = pad_sequence([self._project(text.states) for text in states], batch_first=True)
        lengths = torch.tensor([len(text.states) for text in states])
        pad = torch.arange(tokens.shape[1])[None] >= lengths[:, None]
        spans = pad_sequence([text.spans for text in states], batch_first=True)
        return EncodedTexts(tokens, pad.to(tokens.device), spans.to(tokens.device))


def class_sentence(name: str, template: str = TEMPLATE) -> str:
    """The sentence that stands for a class, without what COCO adds to names.

    >>> class_sentence("wall-other-merged")
    'Describe the concept of wall.'
    """
    return template.format(plain_name(name))


def plain_name(name: str) -> str:
    """The name of a class without what COCO adds to it.

    >>> plain_name("sky-other-merged")
    'sky'
    """
    for part in DROPPED:
        name = name.replace(part, "")
    return name


def entity_only(prompt: InterleavePrompt, number: int) -> InterleavePrompt:
    """The tokens of one entity of a one-sentence prompt as a prompt of their own, numbered 0.

    An entity that lost its tokens (the sentence was cut) keeps one padded token, and sees nothing.
    """
    own = prompt.token_index[0] == number
    query = torch.zeros((1, 1), dtype=torch.long, device=own.device)
    if own.any():
        text = TextTokens(prompt.text.tokens[:, own], prompt.text.pad[:, own])
        return InterleavePrompt(text, torch.zeros_like(prompt.token_index[:, own]), query, prompt.visual[:, own])
    nothing = TextTokens(torch.zeros_like(prompt.text.tokens[:, :1]), torch.ones_like(query, dtype=torch.bool))
    return InterleavePrompt(nothing, query + PAD_LEGEND, query, torch.zeros_like(prompt.visual[:, :1]))


def as_grounding(prompt: InterleavePrompt) -> GroundingPrompt:
    """A prompt of one entity asked as an expression instead."""
    return GroundingPrompt(prompt.text, prompt.token_index, prompt.query_index)
