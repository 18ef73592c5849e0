"""One image of a batch with everything that FIND learns from it, for both recipes, and the prompts of a batch.

See docs/find-interface.md, sections 5.2 and 5.6.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..interface.find.prompter import Prompter, Sentence
from ..interface.find.prompts import PAD_QUERY, MaskPrompt, Prompts, SpatialPrompt, VisualTokens

NOTHING = "nothing"  # asked of an image without expression, caption or sentence; no loss is taken of it
TASKS = ("grounding", "spatial", "interleave")  # beside generic masks and retrieval by captions


@dataclass(slots=True, kw_only=True)
class Example:
    """One image; all masks are of one size.

    Attributes:
        masks: (T, h, w) of everything, bool or coverage in 0..1; labels: (T,) int64 numbers of their classes, -1 for
            nameless ones.
        complete: whether the masks are all that is there.
        caption: or None.
        expressions: what is asked for; expression_masks: (T', h, w) what answers; answers: (T',) whose each is.
        prompts: (P, h, w) bool; prompted: (P,) the mask that each is drawn on.
        sentence: with entities, or None; targets: (E,) the mask of each entity, -1 where it has none.
    """

    masks: Tensor
    labels: Tensor
    complete: bool
    caption: str | None
    expressions: Sequence[str]
    expression_masks: Tensor
    answers: Tensor
    prompts: Tensor
    prompted: Tensor
    sentence: Sentence | None
    targets: Tensor


def prompts_of(
    examples: Sequence[Example],
    prompter: Prompter,
    visual: MaskPrompt | VisualTokens | None = None,
    tasks: Collection[str] = TASKS,
) -> Prompts:
    """All prompts of a batch; a task that no image takes part in is left out.

    Args:
        visual: the visual entities of the sentences.
    """
    prompts = Prompts(caption=prompter.captions([example.caption or NOTHING for example in examples]))
    if "grounding" in tasks and any(example.expressions for example in examples):
        prompts.grounding = prompter.expressions([example.expressions or (NOTHING,) for example in examples])
    if "spatial" in tasks and any(len(example.prompts) for example in examples):
        index = [torch.arange(len(example.prompts), device=example.prompts.device) for example in examples]
        masks = MaskPrompt([at_least_one(example.prompts) for example in examples])
        prompts.spatial = SpatialPrompt(masks, pad_sequence(index, batch_first=True, padding_value=PAD_QUERY))
    if "interleave" in tasks and any(example.sentence for example in examples):
        sentences = [example.sentence or Sentence(NOTHING) for example in examples]
        prompts.interleave = prompter.sentences(sentences, visual)
    return prompts


def name_expressions(
    names: Sequence[str | None], templates: Sequence[str], most: int, rng: np.random.Generator
) -> tuple[list[str], NDArray[np.int64]]:
    """Some names of an image's masks in sentences, and (T,) the one that each mask answers, -1 for none."""
    distinct = [name for name in dict.fromkeys(names) if name]
    rng.shuffle(distinct)
    number = {name: n for n, name in enumerate(distinct[:most])}
    answers = np.array([number.get(name or "", -1) for name in names], np.int64)
    return [str(rng.choice(templates)).format(name) for name in number], answers


def at_least_one(masks: Tensor) -> Tensor:
    """(n, h, w) masks, or an empty one where there are none."""
    return masks if len(masks) else masks.new_zeros((1, *masks.shape[1:]))
