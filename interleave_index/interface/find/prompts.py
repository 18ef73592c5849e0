"""What takes part in a pass of the interface, and who sees whom (docs/find-interface.md, sections 5.2 and 5.4).

A pass is a short list of `Variable`s; the two masks of the attentions are built from the tables below.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ...records import Size

# Padding values never match each other, nor a real index.
PAD_DESCRIPTION, PAD_QUERY, NO_ENTITY, PAD_LEGEND, PAD_ENTITY, PAD_VISUAL = -2, -3, -4, -5, -6, -7


@dataclass(slots=True)
class Level:
    """One level of the pyramid as tokens: `source` (B, hw, C), `key` the same with position, `size` (h, w)."""

    source: Tensor
    key: Tensor
    size: Size


@dataclass(slots=True)
class TextTokens:
    """Projected text tokens of a batch.

    Attributes:
        tokens: (B, T, C).
        pad: (B, T) bool, True at padding.
    """

    tokens: Tensor
    pad: Tensor


@dataclass(slots=True)
class GroundingPrompt:
    """Expressions to find: all tokens of an image's expressions in one row.

    Attributes:
        text: their tokens.
        token_index: (B, T) number of the expression a token belongs to.
        query_index: (B, E) numbers of the expressions, negative at padding.
    """

    text: TextTokens
    token_index: Tensor
    query_index: Tensor


@dataclass(slots=True)
class VisualTokens:
    """Visual prompts sampled from the three levels of a pyramid.

    Attributes:
        levels: three (B, P, C).
        pad: (B, P) bool.
        index: (B, P) number of the mask that a token comes from.
        vectors: (B, n, C) the towers' embedding of each mask, zero rows at padding, or None.
    """

    levels: tuple[Tensor, ...]
    pad: Tensor
    index: Tensor
    vectors: Tensor | None = None


@dataclass(slots=True)
class MaskPrompt:
    """User masks on the images of the batch themselves.

    Attributes:
        positive, negative: one (n, h, w) bool tensor an image; negative may be None.
    """

    positive: Sequence[Tensor]
    negative: Sequence[Tensor] | None = None


Visual: TypeAlias = MaskPrompt | VisualTokens | None  # masks on the images themselves, or tokens of any; None for none


@dataclass(slots=True)
class SpatialPrompt:
    """Interactive segmentation: one query a user mask.

    Attributes:
        masks: the user's masks, or tokens that were sampled before.
        query_index: (B, n) numbers of the masks, negative at padding.
        previous: (B, n, h, w) mask logits of an earlier round, n 1 or the number of memories, or None.
    """

    masks: MaskPrompt | VisualTokens
    query_index: Tensor
    previous: Tensor | None = None


@dataclass(slots=True)
class InterleavePrompt:
    """A sentence whose visual entities are replaced by a placeholder word.

    Attributes:
        text: tokens of the sentence.
        token_index: (B, T) number of the entity a token lies in, -4 in none.
        query_index: (B, E) numbers of the entities, negative at padding.
        visual: (B, T) 1 where a token lies in a visual entity, else 0.
        masks: one mask an entity (all false for text entities), or tokens sampled from other images; None without any.
    """

    text: TextTokens
    token_index: Tensor
    query_index: Tensor
    visual: Tensor
    masks: Visual = None


@dataclass(slots=True)
class Prompts:
    """All prompts of a pass; a variable exists only where its prompt does."""

    grounding: GroundingPrompt | None = None
    caption: TextTokens | None = None
    class_name: TextTokens | None = None
    spatial: SpatialPrompt | None = None
    interleave: InterleavePrompt | None = None


@dataclass(slots=True, eq=False)
class Variable:
    """One group of rows in the stream.

    Attributes:
        name: as published.
        content: (B, N, C), changes layer by layer.
        position: (B, N, C), constant.
        pad: (B, N) bool or None.
        index: (B, N) or None; two rows that both carry an index meet only where it is equal.
        levels: for visual tokens the three contents that take turns, else None.
    """

    name: str
    content: Tensor
    position: Tensor
    pad: Tensor | None = None
    index: Tensor | None = None
    levels: tuple[Tensor, ...] | None = None


Group: TypeAlias = tuple[int, Tensor | None]  # consecutive rows: how many, and what is blocked among them
Narrow: TypeAlias = Callable[[Variable, Variable], Tensor | None]

PROPOSALS = (
    "proposals_vision_object",
    "proposals_vision_grounding",
    "proposals_vision_segment",
    "proposals_interleave_entity",
)
VISION_GROUP = (*PROPOSALS, "queries_vision_image", "memories_vision_spatial")

# content attention of everything outside the vision group: query -> tokens, and whether indices must agree
CONTENT = {
    "queries_vision_spatial": "tokens_vision_spatial",
    "queries_language_caption": "tokens_language_caption",
    "queries_language_class": "tokens_language_class",
    "queries_language_description": "tokens_language_description",
    "queries_interleave_legend": "tokens_interleave_legend",
    "queries_interleave_entity": "tokens_interleave_legend",
    "tokens_interleave_legend": "tokens_vision_spatial_",
}
INDEX_FREE = {"queries_interleave_legend"}  # the legend reads every token, whatever entity it lies in

CONDITION = {
    "proposals_vision_grounding": ("tokens_language_description",),
    "proposals_vision_segment": ("tokens_vision_spatial", "memories_vision_spatial"),
    "proposals_interleave_entity": ("tokens_interleave_legend",),
    "tokens_language_description": ("proposals_vision_grounding",),
}  # beside itself, which every variable sees


def content_mask(queries: Sequence[Variable], keys: Sequence[Variable]) -> Tensor:
    """(B, N, M) bool, True where content attention is blocked."""
    rows = []
    for query in queries:
        row = []
        for key in keys:
            seen = CONTENT[query.name] == key.name
            blocked = _blocked(query, key, seen=seen)
            if seen and query.name not in INDEX_FREE and query.index is not None and key.index is not None:
                blocked = blocked | (query.index[:, :, None] != key.index[:, None, :])
            row.append(blocked)
        empty = torch.zeros((*query.content.shape[:2], 0), dtype=torch.bool, device=query.content.device)
        rows.append(torch.cat([*row, empty], 2))
    return torch.cat(rows, 1)


def condition_groups(
    variables: Sequence[Variable],
    *,
    segment_sees_queries: bool = False,
) -> tuple[list[Variable], list[Group]]:
    """`sight_groups` of condition attention.

    Args:
        segment_sees_queries: segment proposals read the spatial queries instead of the spatial tokens, as
            training does now and then.
    """
    seen: dict[str, Collection[str]] = {v.name: (v.name, *CONDITION.get(v.name, ())) for v in variables}
    if segment_sees_queries and (name := "proposals_vision_segment") in seen:
        seen[name] = (name, "queries_vision_spatial", "memories_vision_spatial")
    return sight_groups(variables, seen)


def sight_groups(
    variables: Sequence[Variable], seen: Mapping[str, Collection[str]], narrow: Narrow | None = None
) -> tuple[list[Variable], list[Group]]:
    """Split a stream into groups that never see each other in self-attention.

    Args:
        seen: by name of each variable the names of those that it sees.
        narrow: what a variable must not see, (B, N, M) bool or less, of another that it sees; None for nothing.
    Returns:
        the variables in a new order, and for each group of consecutive rows its size and (B, size, size)
        bool mask, True where blocked, or None where all see all.
    """
    groups: list[list[Variable]] = []
    for variable in variables:
        linked = [g for g in groups if any(v.name in seen[variable.name] or variable.name in seen[v.name] for v in g)]
        groups = [g for g in groups if g not in linked] + [[*(v for g in linked for v in g), variable]]
    return [v for g in groups for v in g], [_group(g, seen, narrow) for g in groups]


def _group(variables: Sequence[Variable], seen: Mapping[str, Collection[str]], narrow: Narrow | None) -> Group:
    size = sum(v.content.shape[1] for v in variables)
    if len(variables) == 1 and variables[0].pad is None and narrow is None:
        return size, None
    rows = []
    for query in variables:
        row = torch.cat([_sight(query, key, seen, narrow) for key in variables], 2)
        rows.append(row if query.pad is None else row | query.pad[:, :, None])
    return size, torch.cat(rows, 1)


def _sight(query: Variable, key: Variable, seen: Mapping[str, Collection[str]], narrow: Narrow | None) -> Tensor:
    blocked = _blocked(query, key, seen=key.name in seen[query.name])
    more = narrow(query, key) if narrow is not None and key.name in seen[query.name] else None
    return blocked if more is None else blocked | more


def _blocked(query: Variable, key: Variable, *, seen: bool) -> Tensor:
    shape = (*query.content.shape[:2], key.content.shape[1])
    if seen and key.pad is not None:
        return key.pad[:, None].expand(shape)
    return torch.full(shape, not seen, device=query.content.device)
