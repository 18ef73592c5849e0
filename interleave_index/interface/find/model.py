"""Towers and interface as one network, and its sizes. Knows how text and masks become prompts, not what for."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from ...models.text.tower import PLACEHOLDER, TextTower
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.tower import VisionTower
from .attention import halve
from .config import FindConfig
from .network import FindInterface
from .outputs import Output, Pass
from .prompts import (
    NO_ENTITY,
    PAD_QUERY,
    GroundingPrompt,
    InterleavePrompt,
    MaskPrompt,
    Prompts,
    TextTokens,
    VisualTokens,
)

# Parts of an interface that photos pass through; what is asked outside of a pass stays float32.
MULTIPLYING = (
    "content_attention",
    "condition_attention",
    "transformer_ffn_layers",
    "mask_embed",
    "input_proj",
    "seeds",
)


@dataclass(frozen=True, slots=True)
class MiniConfig:
    """Sizes of a find-mini network.

    Attributes:
        side: photos are squashed to side x side, a multiple of 32.
        mirrored: what the tower says by itself is the mean over the photo and its mirror image.
        vision: arguments of VisionTower; text: of TextTower; interface: of FindConfig.
    """

    side: int = 192
    mirrored: bool = False
    vision: dict[str, Any] = field(
        default_factory=lambda: {
            "widths": [64, 128, 256, 384],
            "depths": [2, 2, 3, 2],
            "width": 128,
            "heads": 4,
            "ffn": 512,
            "layers": 3,
        }
    )
    text: dict[str, Any] = field(default_factory=lambda: {"width": 256, "heads": 4, "ffn": 1024, "layers": 4})
    interface: dict[str, Any] = field(
        default_factory=lambda: {
            "width": 256,
            "features": 128,
            "heads": 8,
            "ffn": 1024,
            "layers": 4,
            "object_queries": 40,
            "text_width": 256,
            "memories": 32,
            "most_points": 32,
            "towers": 640,
            "seeds": 36,
        }
    )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as `MiniConfig(**values)` takes them."""
        return asdict(self)


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
    for piece, entity, seen in pieces:
        piece = PLACEHOLDER if seen else piece.strip()
        if not piece:
            continue
        text += " " if text else ""
        if entity is not None:
            spans.append((len(text), len(text) + len(piece)))
            visual.append(seen)
        text += piece
    return Sentence(text, tuple(spans), tuple(visual))


class FindModel(nn.Module):
    """Vision tower, text tower and interface."""

    def __init__(self, config: MiniConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(**config.vision)
        self.text = TextTower(tokenizer, **config.text)
        self.interface = FindInterface(FindConfig(**config.interface))
        self._quick: tuple[FindInterface, ...] = ()  # not a module of this one, for it has no weights of its own

    def halve(self) -> None:
        """Look at photos in bfloat16 from here on; what comes out stays float32, and texts alone are read as before."""
        self.vision.halve()
        quick = copy.deepcopy(self.interface)  # whose weights autocast would turn into bfloat16 anew in every pass
        halve(getattr(quick, name) for name in MULTIPLYING if hasattr(quick, name))
        self._quick = (quick,)

    # --- prompts ------------------------------------------------------------------------------

    def text_tokens(self, sentences: Sequence[str]) -> TextTokens:
        """Projected tokens of sentences, (B, T, C)."""
        batch = self.text.tokenise(sentences)
        return TextTokens(self.interface.project_text(self.text(batch)), batch.pad)

    def grounding_prompt(self, expressions: Sequence[Sequence[str]]) -> GroundingPrompt:
        """All expressions of each image in one row; images may have different numbers of them, at least one in all."""
        flat = [text for image in expressions for text in image]
        batch = self.text.tokenise(flat)
        states = self.interface.project_text(self.text(batch))
        most = max(len(image) for image in expressions)
        rows, indices = [], []
        query_index = torch.full((len(expressions), most), PAD_QUERY)
        at = 0
        for row, image in enumerate(expressions):
            keep = ~batch.pad[at : at + len(image)]
            rows.append(states[at : at + len(image)][keep])
            indices.append(torch.arange(len(image))[:, None].expand_as(keep)[keep])
            query_index[row, : len(image)] = torch.arange(len(image))
            at += len(image)
        text, index = _pad_rows(rows, indices)
        return GroundingPrompt(text, index, query_index)

    def interleave_prompt(
        self, sentences: Sequence[Sentence], masks: MaskPrompt | VisualTokens | None
    ) -> InterleavePrompt:
        """Tokens of sentences, each told which entity it lies in (find.md §4, by character spans).

        Where the towers speak for themselves the text tower reads a sentence as if its visual entities were not there.
        """
        batch = self.text.tokenise([sentence.text for sentence in sentences])
        silent = self.text.placeholders(batch) if self.interface.config.towers else None
        states = self.interface.project_text(self.text(batch, silent))
        most = max(1, max(len(s.spans) for s in sentences))
        token_index = torch.full(batch.ids.shape, NO_ENTITY)
        visual = torch.zeros(batch.ids.shape)
        query_index = torch.full((len(sentences), most), PAD_QUERY - 3)
        start, end = batch.spans.unbind(-1)
        for row, sentence in enumerate(sentences):
            for number, ((low, high), seen) in enumerate(zip(sentence.spans, sentence.visual, strict=True)):
                inside = (low <= start[row]) & (end[row] <= high) & (start[row] != end[row])
                token_index[row][inside] = number
                visual[row][inside] = float(seen)
                query_index[row, number] = number
        return InterleavePrompt(TextTokens(states, batch.pad), token_index, query_index, visual, masks)

    def see(self, pyramid: Pyramid, prompts: Prompts, **options: Any) -> Pass:
        """One pass of the interface over photos; options as `FindInterface.forward` takes them."""
        with torch.autocast("cpu", torch.bfloat16) if self._quick else nullcontext():
            out: Pass = self._seeing(pyramid.levels, pyramid.mask_features, prompts, deep=pyramid.deep, **options)
        return out

    def read(self, prompts: Prompts) -> Output:
        """What a pass of the interface without photos says in the end."""
        out: Pass = self.interface(None, None, prompts)
        return out.final

    def sample(self, pyramid: Pyramid, masks: MaskPrompt, generator: torch.Generator | None = None) -> VisualTokens:
        """Visual tokens of user masks on photos, to be used in a pass over other photos or none."""
        return self.interface.sample(
            pyramid.levels, masks, generator, deep=pyramid.deep, mask_features=pyramid.mask_features
        )

    @property
    def _seeing(self) -> FindInterface:
        return self._quick[0] if self._quick else self.interface

    def pyramid(self, pixels: Tensor) -> Pyramid:
        """(B, 3, S, S) RGB in 0..255 to the pyramid."""
        out: Pyramid = self.vision(pixels, mirrored=self.config.mirrored)
        return out


def gather_visual(tokens: VisualTokens, rows: Sequence[Sequence[int]]) -> VisualTokens:
    """Regroup sampled tokens: entry e of `rows[i]` is the row of `tokens` for entity e of sentence i, -1 for none.

    Every token's index becomes the number of its entity.
    """
    width = max(1, max((sum(int((~tokens.pad[r]).sum()) for r in image if r >= 0) for image in rows), default=1))
    count, channels = len(rows), tokens.levels[0].shape[-1]
    pad = torch.ones((count, width), dtype=torch.bool)
    index = torch.full((count, width), -7)
    source = torch.zeros((count, width), dtype=torch.long)
    for number, image in enumerate(rows):
        at = 0
        for entity, row in enumerate(image):
            if row < 0:
                continue
            kept = (~tokens.pad[row]).nonzero()[:, 0]
            source[number, at : at + len(kept)] = row * tokens.pad.shape[1] + kept
            pad[number, at : at + len(kept)] = False
            index[number, at : at + len(kept)] = entity
            at += len(kept)
    levels = [
        level.reshape(-1, channels)[source] if level.shape[1] else level.new_zeros((count, width, channels))
        for level in tokens.levels
    ]
    return VisualTokens((levels[0], levels[1], levels[2]), pad, index, _gather_vectors(tokens.vectors, rows))


def _gather_vectors(vectors: Tensor | None, rows: Sequence[Sequence[int]]) -> Tensor | None:
    """(N, 1, C) vectors, one a row of tokens, to (sentences, entities, C) with zero rows for entities of text."""
    if vectors is None:
        return None
    most = max((len(image) for image in rows), default=0)
    table = torch.cat([vectors[:, 0], vectors.new_zeros((1, vectors.shape[-1]))])
    padded = [[*image, *[-1] * (most - len(image))] for image in rows]
    return table[torch.tensor(padded, dtype=torch.long).reshape(len(rows), most)]


def _pad_rows(rows: Sequence[Tensor], indices: Sequence[Tensor]) -> tuple[TextTokens, Tensor]:
    longest = max(len(row) for row in rows)
    tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    pad = torch.ones((len(rows), longest), dtype=torch.bool)
    index = torch.full((len(rows), longest), -2)
    for number, one in enumerate(indices):
        pad[number, : len(one)] = False
        index[number, : len(one)] = one
    return TextTokens(tokens, pad), index
