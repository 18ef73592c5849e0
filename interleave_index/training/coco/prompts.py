"""Samples into the prompts of one pass: the texts and drawn masks of a batch, padded and numbered (find.md §5.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.model import Sentence
from ...interface.find.prompts import (
    NO_ENTITY,
    PAD_QUERY,
    GroundingPrompt,
    InterleavePrompt,
    MaskPrompt,
    Prompts,
    SpatialPrompt,
    TextTokens,
)
from ...interface.published.text import PAD_DESCRIPTION, PAD_ENTITY, PAD_LEGEND, Prompter
from .data import NO_SENTENCE, Sample

NOTHING = "nothing"  # asked of a photo without expression or caption; no loss is taken of it


def prompts_of(samples: Sequence[Sample], prompter: Prompter, device: torch.device) -> Prompts:
    """All prompts of a batch; a task that no sample takes part in is left out."""
    found = Prompts(caption=prompter.captions([sample.caption or NOTHING for sample in samples]))
    if any(sample.expressions for sample in samples):
        found.grounding = _grounding([prompter.expressions(sample.expressions or (NOTHING,)) for sample in samples])
    if any(len(sample.prompts) for sample in samples):
        found.spatial = _spatial(samples, device)
    if any(sample.asked is not None for sample in samples):
        found.interleave = _interleave(samples, prompter, device)
    return found


def class_prompts(prompter: Prompter, sentences: Sequence[str]) -> Prompts:
    """Class names, each in its sentence, for a pass of the language side alone."""
    return Prompts(class_name=prompter.descriptions(sentences))


def _grounding(rows: Sequence[GroundingPrompt]) -> GroundingPrompt:
    return GroundingPrompt(
        _joined([row.text for row in rows]),
        _padded([row.token_index for row in rows], PAD_DESCRIPTION),
        _padded([row.query_index for row in rows], PAD_QUERY),
    )


def _spatial(samples: Sequence[Sample], device: torch.device) -> SpatialPrompt:
    masks, index = [], []
    for sample in samples:
        count = len(sample.prompts)
        drawn = torch.from_numpy(sample.prompts) if count else torch.zeros((1, *sample.real.shape), dtype=torch.bool)
        masks.append(drawn.to(device))
        index.append(
            torch.arange(count, device=device)[None] if count else torch.full((1, 1), PAD_QUERY, device=device)
        )
    return SpatialPrompt(MaskPrompt(masks), _padded(index, PAD_QUERY))


def _interleave(samples: Sequence[Sample], prompter: Prompter, device: torch.device) -> InterleavePrompt:
    rows, masks = [], []
    for sample in samples:
        asked = sample.asked
        sentence = Sentence(NO_SENTENCE) if asked is None else Sentence(asked.text, asked.spans, asked.visual)
        rows.append(prompter.sentence(sentence))
        shown = torch.from_numpy(sample.shown)
        masks.append((shown if len(shown) else torch.zeros((1, *sample.real.shape), dtype=torch.bool)).to(device))
    visual = torch.cat(
        [F.pad(row.visual, (0, max(r.visual.shape[1] for r in rows) - row.visual.shape[1])) for row in rows]
    )
    index = _padded([row.token_index for row in rows], PAD_LEGEND)
    text = _joined([row.text for row in rows])
    return InterleavePrompt(
        text,
        torch.where(text.pad & (index == NO_ENTITY), PAD_LEGEND, index),
        _padded([row.query_index for row in rows], PAD_ENTITY),
        visual,
        MaskPrompt(masks),
    )


def _joined(rows: Sequence[TextTokens]) -> TextTokens:
    longest = max(row.tokens.shape[1] for row in rows)
    tokens = torch.cat([F.pad(row.tokens, (0, 0, 0, longest - row.tokens.shape[1])) for row in rows])
    return TextTokens(tokens, torch.cat([F.pad(row.pad, (0, longest - row.pad.shape[1]), value=True) for row in rows]))


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    longest = max(row.shape[1] for row in rows)
    return torch.cat([F.pad(row, (0, longest - row.shape[1]), value=value) for row in rows])
