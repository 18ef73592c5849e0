"""Samples into the prompts of one pass: the texts and drawn masks of a batch, padded and numbered.

See docs/find-interface.md, sections 5.2 and 5.6.
"""

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
from .data import Masks, Sample

NOTHING = "nothing"  # asked of a photo without expression or caption; no loss is taken of it
NO_SENTENCE = "N/A"


def prompts_of(samples: Sequence[Sample], prompter: Prompter, device: torch.device) -> Prompts:
    """All prompts of a batch; a task that no sample takes part in is left out."""
    prompts = Prompts(caption=prompter.captions([sample.caption or NOTHING for sample in samples]))
    if any(sample.expressions for sample in samples):
        rows = [prompter.expressions(sample.expressions or (NOTHING,)) for sample in samples]
        prompts.grounding = GroundingPrompt(
            _joined([row.text for row in rows]),
            _padded([row.token_index for row in rows], PAD_DESCRIPTION),
            _padded([row.query_index for row in rows], PAD_QUERY),
        )
    if any(len(sample.prompts) for sample in samples):
        index = [torch.arange(len(s.prompts), device=device)[None] for s in samples]
        masks = [_masks(sample.prompts, sample, device) for sample in samples]
        prompts.spatial = SpatialPrompt(MaskPrompt(masks), _padded(index, PAD_QUERY))
    if any(sample.sentence is not None for sample in samples):
        prompts.interleave = _interleave(samples, prompter, device)
    return prompts


def _interleave(samples: Sequence[Sample], prompter: Prompter, device: torch.device) -> InterleavePrompt:
    rows = []
    for sample in samples:
        own = sample.sentence
        rows.append(
            prompter.sentence(Sentence(NO_SENTENCE) if own is None else Sentence(own.text, own.spans, own.visual))
        )
    text, index = _joined([row.text for row in rows]), _padded([row.token_index for row in rows], PAD_LEGEND)
    return InterleavePrompt(
        text,
        torch.where(text.pad & (index == NO_ENTITY), PAD_LEGEND, index),
        _padded([row.query_index for row in rows], PAD_ENTITY),
        _padded([row.visual for row in rows], 0),
        MaskPrompt([_masks(sample.shown, sample, device) for sample in samples]),
    )


def _masks(masks: Masks, sample: Sample, device: torch.device) -> Tensor:
    """(n, S, S) masks of a sample, one empty one where there are none."""
    drawn = torch.as_tensor(masks) if len(masks) else torch.zeros((1, *sample.real.shape), dtype=torch.bool)
    return drawn.to(device)


def _joined(rows: Sequence[TextTokens]) -> TextTokens:
    longest = max(row.tokens.shape[1] for row in rows)
    tokens = torch.cat([F.pad(row.tokens, (0, 0, 0, longest - row.tokens.shape[1])) for row in rows])
    return TextTokens(tokens, torch.cat([F.pad(row.pad, (0, longest - row.pad.shape[1]), value=True) for row in rows]))


def _padded(rows: Sequence[Tensor], value: int) -> Tensor:
    longest = max(row.shape[1] for row in rows)
    return torch.cat([F.pad(row, (0, longest - row.shape[1]), value=value) for row in rows])
