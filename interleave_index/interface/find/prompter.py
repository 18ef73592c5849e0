"""Texts into prompts: expressions, captions, and sentences whose entities are tied to their tokens by character spans.

Knows how tokens are numbered and padded (docs/find-interface.md, section 4), not which tower reads them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...models.text.tower import PLACEHOLDER
from .prompts import (
    NO_ENTITY,
    PAD_DESCRIPTION,
    PAD_ENTITY,
    PAD_LEGEND,
    PAD_QUERY,
    GroundingPrompt,
    InterleavePrompt,
    TextTokens,
    Visual,
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with entities.

    Attributes:
        text: where visual entities are the placeholder word.
        spans: (start, end) characters of each entity, in order.
        visual: whether each entity is visual.
    """

    text: str
    spans: tuple[tuple[int, int], ...] = ()
    visual: tuple[bool, ...] = ()


def compose(pieces: Sequence[tuple[str, int | None, bool]]) -> Sentence:
    """Join pieces of a sentence, replacing visual ones by the placeholder, by span and not by search.

    Args:
        pieces: (text, entity number or None, visual) in order; entities are numbered from 0 in their order.

    >>> compose([("a", None, False), ("dog", 0, False), ("near", None, False), ("", 1, True)])
    Sentence(text='a dog near [INTERACTIVE]', spans=((2, 5), (11, 24)), visual=(False, True))
    """
    text, spans, visual = "", [], []
    for piece, entity, is_visual in pieces:
        piece = PLACEHOLDER if is_visual else piece.strip()
        if not piece:
            continue
        text += " " if text else ""
        if entity is not None:
            spans.append((len(text), len(text) + len(piece)))
            visual.append(is_visual)
        text += piece
    return Sentence(text, tuple(spans), tuple(visual))


EXAMPLE = compose([("", 0, True)])  # the sentence that is nothing but one visual entity


@dataclass(frozen=True, slots=True)
class EncodedTexts:
    """Texts of a batch as tokens of the interface, padded on the right.

    Attributes:
        tokens: (B, T, C).
        pad: (B, T) bool, True at padding.
        spans: (B, T, 2) int64, half-open characters that each token stands for; (0, 0) for special tokens and padding.
    """

    tokens: Tensor
    pad: Tensor
    spans: Tensor


class Prompter(ABC):
    """Makes the text prompts of a pass.

    Attributes:
        published: replay the published evaluation: a token in several entities gets the sum of their numbers instead
            of the last one's. May be switched at any time.
    """

    published = False

    @abstractmethod
    def encode(self, texts: Sequence[str], *, sentences: bool = False) -> EncodedTexts:
        """Tokens of texts; `sentences` is for those that may hold entities."""

    def captions(self, texts: Sequence[str]) -> TextTokens:
        """Captions, one a row."""
        encoded = self.encode(texts)
        return TextTokens(encoded.tokens, encoded.pad)

    def expressions(self, images: Sequence[Sequence[str]]) -> GroundingPrompt:
        """All expressions of each image in one row; images may have different numbers of them, at least one in all."""
        encoded = self.encode([text for image in images for text in image])
        counts = [len(image) for image in images]
        rows, numbers, queries = [], [], []
        for tokens, pad in zip(encoded.tokens.split(counts), encoded.pad.split(counts), strict=True):
            rows.append(tokens[~pad])
            numbers.append((~pad).nonzero()[:, 0])
            queries.append(torch.arange(len(pad), device=pad.device))
        token_index = pad_sequence(numbers, batch_first=True, padding_value=PAD_DESCRIPTION)
        text = TextTokens(pad_sequence(rows, batch_first=True), token_index == PAD_DESCRIPTION)
        return GroundingPrompt(text, token_index, pad_sequence(queries, batch_first=True, padding_value=PAD_QUERY))

    def sentences(self, sentences: Sequence[Sentence], masks: Visual = None) -> InterleavePrompt:
        """Sentences, one a row; tokens wholly inside an entity's characters belong to it.

        Args:
            masks: as `InterleavePrompt` has them.
        """
        encoded = self.encode([sentence.text for sentence in sentences], sentences=True)
        start, end = encoded.spans.unbind(-1)
        most = max(1, max(len(sentence.spans) for sentence in sentences))
        token_index = torch.where(encoded.pad, PAD_LEGEND, NO_ENTITY)
        query_index = torch.full((len(sentences), most), PAD_ENTITY, device=start.device)
        visual = torch.zeros(start.shape, device=start.device)
        for row, sentence in enumerate(sentences):
            for number, (low, high) in enumerate(sentence.spans):
                inside = (low <= start[row]) & (end[row] <= high) & (start[row] != end[row])
                taken = inside & (token_index[row] >= 0) if self.published else torch.zeros_like(inside)
                token_index[row] = torch.where(inside, number + taken * token_index[row], token_index[row])
                visual[row, inside] = visual[row, inside].clamp(min=float(sentence.visual[number]))
                query_index[row, number] = number
        return InterleavePrompt(TextTokens(encoded.tokens, encoded.pad), token_index, query_index, visual, masks)
