"""Texts of the published model: token states through a disk cache, and prompts with entities tied to their tokens."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...models.text.language import LanguageTower, TokenStates
from ..find.model import Sentence
from ..find.prompts import NO_ENTITY, PAD_QUERY, GroundingPrompt, InterleavePrompt, MaskPrompt, TextTokens, VisualTokens

PAD_DESCRIPTION, PAD_LEGEND, PAD_ENTITY = -2, -5, -6
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
        known = {text: found for text, file in files.items() if (found := _read(file)) is not None}
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
    draft = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError, SafetensorError):
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"states": states.states.contiguous(), "spans": states.spans.contiguous()}, draft)
        os.replace(draft, file)


class Prompter:
    """Makes the text prompts of a pass.

    Args:
        cache: of token states.
        project: (T, width) states to (T, C) tokens.
        context, class_context: tokens of a text, and of a class name's sentence.
        published: replay the published evaluation where it differs, see docs/published-find.md; may be switched.
        tail: end tokens that the published interleaved sentences carry too many (UniCL 1, LLaMA 0).
    """

    def __init__(
        self,
        cache: TextCache,
        project: Callable[[Tensor], Tensor],
        *,
        context: int,
        class_context: int,
        published: bool = False,
        tail: int = 0,
    ) -> None:
        self._cache, self._project, self._context, self._class_context = cache, project, context, class_context
        self.published, self._tail = published, tail

    def captions(self, texts: Sequence[str]) -> TextTokens:
        """Captions of a batch."""
        return _padded([self._project(found.states) for found in self._cache.states(texts, self._context)])

    def class_names(self, names: Sequence[str]) -> TextTokens:
        """Class names in the one sentence that the published evaluation puts them into."""
        texts = [class_sentence(name) for name in names]
        return _padded([self._project(found.states) for found in self._cache.states(texts, self._class_context)])

    def descriptions(self, texts: Sequence[str]) -> TextTokens:
        """Descriptions of classes, as they are, at the length of class names."""
        return _padded([self._project(found.states) for found in self._cache.states(texts, self._class_context)])

    def expressions(self, texts: Sequence[str]) -> GroundingPrompt:
        """All expressions of one image in one row."""
        rows = [self._project(found.states) for found in self._cache.states(texts, self._context)]
        index = torch.cat([torch.full((len(row),), number) for number, row in enumerate(rows)])
        device = rows[0].device
        return GroundingPrompt(
            _padded([torch.cat(rows)]), index[None].to(device), torch.arange(len(rows))[None].to(device)
        )

    def sentence(self, sentence: Sentence, masks: MaskPrompt | VisualTokens | None = None) -> InterleavePrompt:
        """One sentence with its entities; `masks` as `InterleavePrompt` has them."""
        (found,) = self._cache.states([sentence.text], self._context, tail=self._tail if self.published else 0)
        tokens = self._project(found.states)
        inside = entity_tokens(found.spans, sentence.spans)
        index = entity_indices(inside, summed=self.published).to(tokens.device)
        flags = torch.tensor(sentence.visual, dtype=torch.float32).reshape(-1, 1)
        visual = (flags * inside).sum(0).clamp(max=1).to(tokens.device)
        numbers = torch.arange(len(sentence.spans)) if sentence.spans else torch.tensor([PAD_ENTITY])
        return InterleavePrompt(_padded([tokens]), index[None], numbers[None].to(tokens.device), visual[None], masks)


def class_sentence(name: str) -> str:
    """The sentence that stands for a class.

    >>> class_sentence("wall-other-merged")
    'Describe the concept of wall.'
    """
    for part in DROPPED:
        name = name.replace(part, "")
    return TEMPLATE.format(name)


def entity_tokens(spans: Tensor, entities: Sequence[tuple[int, int]]) -> Tensor:
    """(E, T) bool: the tokens that lie wholly inside the characters of each entity.

    Args:
        spans: (T, 2) as `TokenStates` has them; empty ones (special tokens) lie in no entity.
        entities: half-open characters; a blank before the entity may be counted to it or not.
    """
    start, end = spans.unbind(-1)
    rows = [(low <= start) & (end <= high) & (start != end) for low, high in entities]
    return torch.stack(rows) if rows else torch.zeros((0, len(spans)), dtype=torch.bool)


def entity_indices(inside: Tensor, *, summed: bool = False) -> Tensor:
    """(T,) number of the entity that each token lies in, -4 in none.

    Args:
        inside: (E, T) bool.
        summed: where entities overlap take the sum of their numbers, as the published code does, else the last one.
    """
    numbers = torch.arange(len(inside))[:, None] * inside
    if not len(inside):
        return torch.full((inside.shape[1],), NO_ENTITY)
    found = numbers.sum(0) if summed else numbers.amax(0)
    return torch.where(inside.any(0), found, NO_ENTITY)


def entity_only(prompt: InterleavePrompt, number: int, masks: MaskPrompt | VisualTokens | None) -> InterleavePrompt:
    """The tokens of one entity of a one-sentence prompt as a prompt of their own, numbered 0.

    An entity that lost its tokens (the sentence was cut) keeps one padded token, and sees nothing.
    """
    own = prompt.token_index[0] == number
    tokens, visual = prompt.text.tokens[:, own], prompt.visual[:, own]
    zeros = torch.zeros_like(prompt.token_index[:, own])
    query = torch.zeros((1, 1), dtype=torch.long, device=tokens.device)
    if not own.any():
        blank = torch.zeros_like(prompt.text.tokens[:, :1])
        pad = torch.ones((1, 1), dtype=torch.bool, device=tokens.device)
        return InterleavePrompt(
            TextTokens(blank, pad), query + PAD_LEGEND, query, torch.zeros_like(query, dtype=tokens.dtype), masks
        )
    return InterleavePrompt(TextTokens(tokens, prompt.text.pad[:, own]), zeros, query, visual, masks)


def as_grounding(prompt: InterleavePrompt) -> GroundingPrompt:
    """A prompt of one entity asked as an expression instead."""
    return GroundingPrompt(prompt.text, prompt.token_index, prompt.query_index)


def _padded(rows: Sequence[Tensor]) -> TextTokens:
    lengths = torch.tensor([len(row) for row in rows])
    tokens = pad_sequence(list(rows), batch_first=True)
    pad = torch.arange(tokens.shape[1])[None] >= lengths[:, None]
    return TextTokens(tokens, pad.to(tokens.device))


__all__ = [
    "PAD_DESCRIPTION",
    "PAD_QUERY",
    "Prompter",
    "TextCache",
    "as_grounding",
    "class_sentence",
    "entity_indices",
    "entity_only",
    "entity_tokens",
]
