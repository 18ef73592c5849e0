"""The losses of one prediction of a FIND pass over all tasks with masks, for both recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..interface.find.outputs import Output
from ..interface.find.tasks import entity_scores
from ..interface.find_mini.blend import blend
from .distributed import mean_over_processes
from .losses import answer_losses, blend_loss, class_loss, mask_losses
from .matcher import Assignment, hungarian_match


@dataclass(frozen=True, slots=True)
class Targets:
    """What the predictions of a batch are compared with; lists are of one entry an image.

    Attributes:
        masks: (T, h, w) of everything; labels: (T,) numbers of their classes, -1 for nameless ones.
        complete: (B,) bool, images whose masks are all that is there; None for all.
        expression_masks: (T', h, w) and answers: (T',) the expression that each answers.
        prompted: (P, h, w) masks that the prompts are on, in their order.
        entity_masks: (E', h, w) of entities of the sentence; entities: (E',) numbers of those.
        visual: of every entity whether it is shown and not said.
    """

    masks: Sequence[Tensor]
    labels: Sequence[Tensor]
    complete: Tensor | None
    expression_masks: Sequence[Tensor]
    answers: Sequence[Tensor]
    prompted: Sequence[Tensor]
    entity_masks: Sequence[Tensor]
    entities: Sequence[Tensor]
    visual: Sequence[Sequence[bool]]


def prediction_losses(
    output: Output,
    targets: Targets,
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
    probabilities = []  # a nameless mask is as likely as anything that is no background
    for own, label in zip(logits.detach().float().softmax(-1), targets.labels, strict=True):
        probabilities.append(torch.where(label < 0, 1 - own[:, -1:], own[:, label.clamp(min=0)]))
    assignment = hungarian_match(masks, targets.masks, probabilities, points=points)
    count = mean_over_processes(sum(map(len, targets.masks)), masks.device)
    losses = {"class": class_loss(logits, assignment, targets.labels, targets.complete)}
    losses["bce"], losses["dice"] = mask_losses(masks, targets.masks, assignment, points=points, over=count)
    assignments = {"object": assignment}
    if "pred_gmasks" in output:
        texts = F.normalize(output["pred_gtexts"].float(), dim=-1)
        expressions = F.normalize(output["pred_grounding_query"].float(), dim=-1)
        scores = scale * texts @ expressions.transpose(1, 2)
        task = output["pred_gmasks"], scores, targets.expression_masks, targets.answers
        own_losses, assignments["ground"] = answer_losses("ground", *task, points=points, share_choice=share_choice)
        losses |= own_losses | _blend_losses("ground", *task, output.get("pred_gquality"))
    if "pred_smasks" in output:
        scores = output["pred_smaskembs"].float() @ output["pred_pspatials"].float().transpose(1, 2)
        numbers = [torch.arange(len(own), device=scores.device) for own in targets.prompted]
        task = output["pred_smasks"], scores, targets.prompted, numbers
        own_losses, assignments["spatial"] = answer_losses("spatial", *task, points=points, share_choice=share_choice)
        losses |= own_losses
    if "pred_imasks" in output:
        scores = entity_scores(output, targets.visual, cosine_factor)
        task = output["pred_imasks"], scores, targets.entity_masks, targets.entities
        own_losses, assignments["entity"] = answer_losses("entity", *task, points=points, share_choice=share_choice)
        losses |= own_losses | _blend_losses("entity", *task, output.get("pred_iquality"))
    return losses, assignments


def _blend_losses(
    name: str,
    logits: Tensor,
    scores: Tensor,
    masks: Sequence[Tensor],
    queries: Sequence[Tensor],
    quality: Tensor | None,
) -> dict[str, Tensor]:
    """The loss of the blend of all proposals, where they predict their quality."""
    if quality is None:
        return {}
    return {f"{name}_blend": blend_loss(blend(logits, scores, quality.detach()), masks, queries)}
