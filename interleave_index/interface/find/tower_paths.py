"""Embeddings straight from the frozen towers, added to the interface's semantic vectors (`FindConfig.towers`).

The published interface puts everything through its queries. A small one, trained for hours and not weeks, loses there
what the towers already know of whole photos and sentences. So each semantic vector is the interface's own
plus what a head makes of the tower's mean feature over exactly what was asked: the whole photo, the cells of a mask,
the tokens of a phrase.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...records import Size
from .prompts import Prompts, VisualTokens

COMMON_STEP = 0.02  # of the running mean of what masks show
VISUAL_PULL = 0.3  # how far pictures pull a sentence towards what they show; the sentence itself is of length 1
PRIOR_MIX = 2.0  # of the mean of all parts, mixed into a picture as an entity
TOWER_SCALE = 16.0  # length of what is added; the interface's own vectors are of about this length once trained
# Of whole photos and sentences the towers know more than the interface learns in its few hours.
WHOLE_TOWER_SCALE = 96.0
WHOLE = {"queries_vision_image", "queries_language_caption", "queries_interleave_legend"}


def tower_scale(name: str) -> float:
    """Length of what the towers add to the vectors of a variable."""
    return WHOLE_TOWER_SCALE if name in WHOLE else TOWER_SCALE


class Head(nn.Module):
    """A linear map and a residual of one hidden layer, to unit vectors."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.straight = nn.Linear(inputs, outputs)
        self.up, self.down = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        self.dropout = dropout
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs) of unit length."""
        hidden = F.dropout(F.gelu(self.up(x)), self.dropout, self.training)
        return F.normalize((self.straight(x) + self.down(hidden)).float(), dim=-1)


class TowerPaths(nn.Module):
    """Heads from the towers' mean features into the semantic space.

    The mean embedding of all parts (`common`) means nothing for one of them: a sentence takes from its pictures only
    what differs from it (`VISUAL_PULL`), and a picture as an entity is mixed with it (`PRIOR_MIX`), for a small
    tower's embedding of one part is less to be trusted than that of words.

    Args:
        deep: channels of the backbone's deep maps.
        features: channels of the mask features.
        width: C.
    """

    common: Tensor

    def __init__(self, deep: int, features: int, width: int) -> None:
        super().__init__()
        self.photo = Head(deep, 2 * width, width, dropout=0.1)
        self.region = Head(deep, 2 * width, width, dropout=0.1)
        self.part = nn.Linear(features, width)
        self.text = Head(width, 2 * width, width, dropout=0.1)
        self.register_buffer("common", torch.zeros(width))
        nn.init.zeros_(self.part.weight)
        nn.init.zeros_(self.part.bias)

    def photos(self, deep: Tensor) -> Tensor:
        """(B, F, h, w) deep maps to (B, 1, C)."""
        vectors: Tensor = self.photo(deep.mean((2, 3)))[:, None]
        return vectors

    def masks(self, weights: Tensor, deep: Tensor, mask_features: Tensor) -> Tensor:
        """Vectors of what masks cover.

        Args:
            weights: (B, N, h, w) coverage in 0..1 at the size of the mask features.
            deep: (B, F, h', w'); mask_features: (B, F', h, w).
        Returns:
            (B, N, C) of unit length.
        """
        weights = weights.to(mask_features.dtype)
        vectors = self.region(inside(weights, deep)) + self.part(inside(weights, mask_features))
        return F.normalize(vectors.float(), dim=-1)

    def prompts(self, masks: Sequence[Tensor], deep: Tensor, mask_features: Tensor) -> Tensor:
        """(B, n, C) of one (n_i, h, w) bool tensor of user masks an image; zero rows past an image's own masks."""
        most = max((len(m) for m in masks), default=0)
        size = mask_features.shape[-2:]
        weights = mask_features.new_zeros((len(masks), most, *size))
        for row, mask in enumerate(masks):
            if len(mask):
                weights[row, : len(mask)] = F.adaptive_max_pool2d(mask.to(weights.dtype), size)
        if not most:
            return weights.new_zeros((len(masks), 0, 1))
        there = (weights.flatten(2).sum(-1, keepdim=True) > 0).float()
        vectors = self.masks(weights, deep, mask_features) * there
        if self.training:
            with torch.no_grad():
                self.common.lerp_(vectors.sum((0, 1)) / there.sum().clamp(min=1), COMMON_STEP)
        return vectors

    def sentences(self, prompts: Prompts) -> dict[str, Tensor]:
        """Vectors of whole captions, class names, expressions and text entities, by the names of their queries."""
        vectors = {}
        for kind, text in (("caption", prompts.caption), ("class", prompts.class_name)):
            if text is not None:
                keep = ~text.pad
                vectors[f"queries_language_{kind}"] = self.text(_mean(text.tokens, keep[:, None]))
        if (grounding := prompts.grounding) is not None:
            own = _same(grounding.query_index, grounding.token_index) & ~grounding.text.pad[:, None]
            vectors["queries_language_description"] = self.text(_mean(grounding.text.tokens, own))
        return vectors

    def interleaved(self, prompts: Prompts, sampled: VisualTokens | None) -> dict[str, Tensor]:
        """Vectors of an interleaved sentence and its entities; a visual entity is what its mask covers.

        The sentence is that of its words, without the place holders, pulled towards what its pictures show.
        """
        prompt = prompts.interleave
        if prompt is None:
            return {}
        keep = ~prompt.text.pad[:, None]
        entities = self.text(_mean(prompt.text.tokens, _same(prompt.query_index, prompt.token_index) & keep))
        legend = self.text(_mean(prompt.text.tokens, keep & (prompt.visual == 0)[:, None]))
        if sampled is not None and sampled.vectors is not None and sampled.vectors.shape[1]:
            vectors = sampled.vectors.float()
            there = vectors.norm(dim=-1, keepdim=True) > 0
            count = min(entities.shape[1], vectors.shape[1])
            mixed = F.normalize(vectors[:, :count] + PRIOR_MIX * self.common, dim=-1)
            entities = torch.cat([torch.where(there[:, :count], mixed, entities[:, :count]), entities[:, count:]], 1)
            shown = (F.normalize(vectors - self.common, dim=-1) * there).sum(1, keepdim=True)
            legend = F.normalize(legend + VISUAL_PULL * shown / there.sum(1, keepdim=True).clamp(min=1), dim=-1)
        return {"queries_interleave_entity": entities, "queries_interleave_legend": legend}


def inside(weights: Tensor, maps: Tensor) -> Tensor:
    """(B, N, h, w) coverages and (B, F, h', w') maps to the maps' means inside, (B, N, F)."""
    weights = pooled(weights, (maps.shape[-2], maps.shape[-1])).flatten(2)
    total = weights.sum(-1, keepdim=True).clamp(min=1e-4)
    return torch.einsum("bnp,bfp->bnf", weights / total, maps.flatten(2))


def pooled(maps: Tensor, size: Size) -> Tensor:
    """(B, N, h, w) maps as means over the cells of a size: those of `adaptive_avg_pool2d`, in a tenth of its time."""
    height, width = maps.shape[-2:]
    if (height, width) == size:
        return maps
    if height % size[0] == 0 and width % size[1] == 0:
        return F.avg_pool2d(maps, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(maps, size)


def _same(queries: Tensor, tokens: Tensor) -> Tensor:
    return queries[:, :, None] == tokens[:, None]


def _mean(tokens: Tensor, keep: Tensor) -> Tensor:
    """(B, T, C) tokens and (B, E, T) bool to means (B, E, C); zero where nothing is kept."""
    weight = keep.to(tokens.dtype)
    return torch.einsum("bet,btc->bec", weight, tokens) / weight.sum(-1, keepdim=True).clamp(min=1)
