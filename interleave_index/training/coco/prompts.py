"""Samples into the prompts of one pass: the texts and drawn masks of a batch, padded and numbered.

See docs/find-interface.md, sections 5.2 and 5.6.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...interface.find.prompter import Sentence
from ...interface.find.prompts import PAD_QUERY, MaskPrompt, Prompts, SpatialPrompt
from ...interface.published.text import PublishedPrompter
from .data import Masks, Sample

NOTHING = "nothing"  # asked of a photo without expression or caption; no loss is taken of it
NO_SENTENCE = "N/A"


def prompts_of(samples: Sequence[Sample], prompter: PublishedPrompter, device: torch.device) -> Prompts:
    """All prompts of a batch; a task that no sample takes part in is left out."""
    prompts = Prompts(caption=prompter.captions([sample.caption or NOTHING for sample in samples]))
    if any(sample.expressions for sample in samples):
        prompts.grounding = prompter.expressions([sample.expressions or (NOTHING,) for sample in samples])
    if any(len(sample.prompts) for sample in samples):
        index = [torch.arange(len(sample.prompts), device=device) for sample in samples]
        masks = [_masks(sample.prompts, sample, device) for sample in samples]
        prompts.spatial = SpatialPrompt(MaskPrompt(masks), pad_sequence(index, True, PAD_QUERY))
    if any(sample.sentence is not None for sample in samples):
        shown = MaskPrompt([_masks(sample.shown, sample, device) for sample in samples])
        prompts.interleave = prompter.sentences([_sentence(sample) for sample in samples], shown)
    return prompts


def _sentence(sample: Sample) -> Sentence:
    own = sample.sentence
    return Sentence(NO_SENTENCE) if own is None else Sentence(own.text, own.spans, own.visual)


def _masks(masks: Masks, sample: Sample, device: torch.device) -> Tensor:
    """(n, S, S) masks of a sample, one empty one where there are none."""
    drawn = torch.as_tensor(masks) if len(masks) else torch.zeros((1, *sample.real.shape), dtype=torch.bool)
    return drawn.to(device)
