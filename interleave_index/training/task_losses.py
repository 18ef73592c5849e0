"""The losses of one prediction of a FIND pass over all tasks with masks, for both recipes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..interface.find.outputs import Output
from ..interface.find.tasks import entity_scores
from ..interface.find_mini.blend import blend
from .distributed import mean_over_processes
from .examples import Example
from .losses import answer_losses, blend_loss, class_loss, mask_losses
from .matcher import Assignment, hungarian_match


def prediction_losses(
    output: Output,
    examples: Sequence[Example],
    scale: Tensor,
    *,
    cosine_factor: Tensor | None = None,
    points: int | None = None,
    share_choice: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Assignment]]:
    """Losses of generic masks, and of the tasks that took part in the pass: ground, spatial, entity.

    Args:
        scale: of the cosines between expressions and proposals.
        cosine_factor: as `entity_scores` takes it.
        points, share_choice: as `answer_losses` takes them.
    Returns:
        losses by name, not weighted; and by task which proposal stands for which mask, ``object`` for generic masks.
    Source: docs/find-interface.md, section 7.
    """
    logits, masks = output["pred_logits"], output["pred_masks"]
    true, labels = [example.masks for example in examples], [example.labels for example in examples]
    probabilities = []  # a nameless mask is as likely as anything that is no background
    for own, label in zip(logits.detach().float().softmax(-1), labels, strict=True):
        probabilities.append(torch.where(label < 0, 1 - own[:, -1:], own[:, label.clamp(min=0)]))
    assignment = hungarian_match(masks, true, probabilities, points=points)
    count = mean_over_processes(sum(map(len, true)), masks.device)
    complete = torch.tensor([example.complete for example in examples], device=masks.device)
    losses = {"class": class_loss(logits, assignment, labels, complete)}
    losses["bce"], losses["dice"] = mask_losses(masks, true, assignment, points=points, over=count)
    assignments = {"object": assignment}

    def add(task: str, letter: str, scores: Tensor, masks: Sequence[Tensor], queries: Sequence[Tensor]) -> None:
        """The losses of a task whose proposals answer queries, and of the blend of all where they predict quality."""
        proposals, quality = output[f"pred_{letter}masks"], output.get(f"pred_{letter}quality")
        own, assignments[task] = answer_losses(
            task, proposals, scores, masks, queries, points=points, share_choice=share_choice
        )
        losses.update(own)
        if quality is not None and task != "spatial":
            losses[f"{task}_blend"] = blend_loss(blend(proposals, scores, quality.detach()), masks, queries)

    if "pred_gmasks" in output:
        texts = F.normalize(output["pred_gtexts"].float(), dim=-1)
        expressions = F.normalize(output["pred_grounding_query"].float(), dim=-1)
        answers, masks_of_answers = [e.answers for e in examples], [e.expression_masks for e in examples]
        add("ground", "g", scale * texts @ expressions.transpose(1, 2), masks_of_answers, answers)
    if "pred_smasks" in output:
        scores = output["pred_smaskembs"].float() @ output["pred_pspatials"].float().transpose(1, 2)
        numbers = [torch.arange(len(e.prompted), device=scores.device) for e in examples]
        add("spatial", "s", scores, [e.masks[e.prompted] for e in examples], numbers)
    if "pred_imasks" in output:
        scores = entity_scores(output, [e.sentence.visual if e.sentence else () for e in examples], cosine_factor)
        entities = [(e.targets >= 0).nonzero()[:, 0] for e in examples]
        entity_masks = [e.masks[e.targets[own]] for e, own in zip(examples, entities, strict=True)]
        add("entity", "i", scores, entity_masks, entities)
    return losses, assignments
