"""The losses of FIND (docs/find-interface.md, section 7) on tensors, for both recipes.

They work on any device and over several processes: what a mask loss is divided by is a mean over the processes, and
contrasts see the rows of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..interface.find.nms import pairwise_iou
from .distributed import gather_rows, mean_over_processes
from .matcher import Assignment, hungarian_match, sample_at

BACKGROUND_WEIGHT = 0.1  # of a proposal that nothing was matched to
OVERSAMPLED, UNCERTAIN = 3, 0.75  # random points for each that is kept, and the share kept for being uncertain
LEAST_IOU, SHARPNESS = 0.3, 6  # of proposals that share a choice with the best: (IoU / best IoU) ** sharpness
FORTH, BACK = 0.7, 0.3  # of the fine contrast: image to tokens, tokens to image


# --- masks ------------------------------------------------------------------------------------


def mask_losses(
    logits: Tensor,
    targets: Sequence[Tensor],
    assignment: Assignment,
    *,
    points: int | None = None,
    over: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and dice of matched masks, scalars.

    Args:
        logits: (B, Q, h, w).
        targets: one (T_i, H, W) mask in 0..1 an image.
        points: take the losses at so many points, most of them where the prediction is uncertain; None at every pixel.
        over: what the sums over masks are divided by; None takes the number of pairs, as a mean over the processes.
    Source: Mask2Former (arXiv 2112.01527), eq. 2 and section 3.3; points of PointRend (arXiv 1912.08193), section 3.1.
    """
    count = mean_over_processes(len(assignment), logits.device) if over is None else over
    if not len(assignment):
        zero = logits.sum() * 0.0
        return zero, zero
    predicted, true = assignment.of_proposals(logits).float(), assignment.of_targets(targets).float()
    if points is None:
        predicted, true = predicted.flatten(1), true.flatten(1)
    else:
        places = uncertain_points(predicted, points)
        predicted, true = sample_at(predicted, places), sample_at(true, places)
    bce = F.binary_cross_entropy_with_logits(predicted, true, reduction="none").mean(1)
    return bce.sum() / count, dice_losses(predicted.sigmoid(), true).sum() / count


def dice_losses(predicted: Tensor, true: Tensor) -> Tensor:
    """(N,) dice losses of (N, P) probabilities and truths: 1 - (2 sum p t + 1) / (sum p + sum t + 1).

    Source: V-Net (arXiv 1606.04797), eq. 1, with 1 added to both sides of the fraction, as in DETR.
    """
    return 1 - (2 * (predicted * true).sum(1) + 1) / (predicted.sum(1) + true.sum(1) + 1)


@torch.no_grad()
def uncertain_points(logits: Tensor, points: int) -> Tensor:
    """(N, points, 2) places x, y in 0..1 on (N, h, w) logits: three quarters where |logit| is least among three times
    as many random ones, the rest at random. Source: PointRend (arXiv 1912.08193), section 3.1.
    """
    drawn = torch.rand((len(logits), points * OVERSAMPLED, 2), device=logits.device)
    uncertain = (-sample_at(logits, drawn).abs()).topk(int(UNCERTAIN * points), 1).indices
    kept = drawn.gather(1, uncertain[..., None].expand(-1, -1, 2))
    others = torch.rand((len(logits), points - kept.shape[1], 2), device=logits.device)
    return torch.cat([kept, others], 1)


@torch.no_grad()
def mask_ious(logits: Tensor, masks: Tensor) -> Tensor:
    """(Q, T) IoU of (Q, h, w) mask logits with (T, h, w) coverages, both cut at one half."""
    return pairwise_iou((logits > 0).flatten(1).float(), (masks > 0.5).flatten(1).float())[0]


# --- classes and choices among proposals ------------------------------------------------------


def class_loss(
    logits: Tensor, assignment: Assignment, labels: Sequence[Tensor], annotated: Tensor | None = None
) -> Tensor:
    """Weighted cross-entropy over classes and background (last), which unmatched proposals are.

    Args:
        logits: (B, Q, K + 1).
        labels: one (T_i,) int64 an image; -1 for a target without a name, which only has to be no background.
        annotated: (B,) bool, images whose masks may be taken for all that is there, so that other proposals are
            background; None for all.
    Source: DETR (arXiv 2005.12872), section 3.1.
    """
    log_probabilities = logits.float().log_softmax(-1)
    background = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], background, device=logits.device)
    wanted[assignment.image, assignment.proposal] = assignment.of_targets(labels)
    weight = torch.where(wanted == background, BACKGROUND_WEIGHT, 1.0)
    if annotated is not None:
        weight = torch.where((wanted == background) & ~annotated[:, None], 0.0, weight)
    chosen = log_probabilities.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
    any_class = log_probabilities[..., :-1].logsumexp(-1)
    loss = -torch.where(wanted < 0, any_class, chosen)
    return (loss * weight).sum() / weight.sum().clamp(min=BACKGROUND_WEIGHT)


def choice_loss(
    scores: Tensor, assignment: Assignment, query_of: Sequence[Tensor], ious: Sequence[Tensor] | None = None
) -> Tensor:
    """Softmax over proposals for every query; the target is shared by all proposals matched to that query's masks.

    Args:
        scores: (B, Q, E) of every proposal for every query.
        query_of: one (T_i,) int64 an image, the query that each target answers.
        ious: one (Q, T_i) an image; then proposals that lie nearly as well as the best share the target too.
    """
    target = torch.zeros(scores.shape, device=scores.device)
    target[assignment.image, assignment.proposal, assignment.of_targets(query_of)] = 1
    for image, (iou, queries) in enumerate(zip(ious or (), query_of, strict=False)):
        near = (iou / iou.amax(0, keepdim=True).clamp(min=LEAST_IOU)) ** SHARPNESS
        for mask, query in enumerate(queries.tolist()):
            target[image, :, query] = torch.maximum(target[image, :, query], near[:, mask])
    total = target.sum(1, keepdim=True)
    asked = (total > 0).squeeze(1)
    loss = -(target / total.clamp(min=1) * scores.float().log_softmax(1)).sum(1)
    return (loss * asked).sum() / asked.sum().clamp(min=1)


def answer_losses(
    name: str,
    logits: Tensor,
    scores: Tensor,
    masks: Sequence[Tensor],
    queries: Sequence[Tensor],
    *,
    points: int | None = None,
    share_choice: bool = False,
) -> tuple[dict[str, Tensor], Assignment]:
    """Losses of the proposals of one task that answers queries: which of them answers, and its mask.

    Args:
        name: of the task, before the names of its losses: `_choice`, `_bce`, `_dice`.
        logits: (B, Q, h, w); scores: (B, Q, E) of every proposal for every query.
        masks: (T_i, h, w) an image; queries: (T_i,) the query that each mask answers.
        points: as for `mask_losses`.
        share_choice: proposals that lie nearly as well as the best share the choice.
    """
    odds = scores.detach().float().softmax(1)
    probabilities = [own[:, rows] for own, rows in zip(odds, queries, strict=True)]
    assignment = hungarian_match(logits, masks, probabilities, points=points)
    bce, dice = mask_losses(logits, masks, assignment, points=points)
    ious = [mask_ious(own, true) for own, true in zip(logits, masks, strict=True)] if share_choice else None
    choice = choice_loss(scores, assignment, queries, ious)
    return {f"{name}_choice": choice, f"{name}_bce": bce, f"{name}_dice": dice}, assignment


def blend_loss(blended: Tensor, masks: Sequence[Tensor], queries: Sequence[Tensor]) -> Tensor:
    """Mean dice of (B, E, h, w) blends with all masks that answer each query, over the queries that have any."""
    losses = []
    for own_blends, own_masks, own_queries in zip(blended, masks, queries, strict=True):
        for query in own_queries.unique().tolist():
            true = own_masks[own_queries == query].amax(0).float()
            losses.append(dice_losses(own_blends[query].flatten()[None], true.flatten()[None])[0])
    return torch.stack(losses).mean() if losses else blended.sum() * 0.0


# --- contrasts --------------------------------------------------------------------------------


def contrastive_loss(
    one: Tensor,
    other: Tensor,
    scale: Tensor | float,
    *,
    more_one: Tensor | None = None,
    more_other: Tensor | None = None,
) -> Tensor:
    """Symmetric InfoNCE of (N, D) rows that belong together in order, over the rows of all processes.

    Args:
        more_one, more_other: (M, D) unit vectors of earlier batches that serve as further negatives.
    Source: CLIP (arXiv 2103.00020), figure 3.
    """
    one, other = F.normalize(one.float(), dim=-1), F.normalize(other.float(), dim=-1)
    every_one, first = gather_rows(one)
    every_other, _ = gather_rows(other)
    if not len(one):
        return (one.sum() + other.sum()) * 0.0
    target = torch.arange(first, first + len(one), device=one.device)
    if more_one is not None and more_other is not None:
        every_one, every_other = torch.cat([every_one, more_one]), torch.cat([every_other, more_other])
    forth = F.cross_entropy(scale * one @ every_other.T, target)
    back = F.cross_entropy(scale * other @ every_one.T, target)
    return (forth + back) / 2


def fine_contrastive_loss(objects: Tensor, tokens: Tensor, pad: Tensor, scale: Tensor) -> Tensor:
    """Images against the single tokens of captions, a scalar.

    With s the similarity of every image with every token, averaged over the image's objects, and y the target of an
    image, spread over the tokens of its own caption in proportion to their rank:

        0.7 * mean over images of -sum over tokens of y log softmax over tokens of s
      + 0.3 * mean over tokens of -sum over images of y log softmax over images of s

    Each direction is a mean over what is asked: images, then tokens. The target is not normalised again for the second.

    Args:
        objects: (N, Q, D) object vectors.
        tokens: (N, T, D) caption tokens, pad: (N, T) bool.
    Source: FIND (arXiv 2312.07532), retrieval loss as released; docs/find-interface.md, section 7.
    """
    if not len(objects):
        return objects.sum() * 0.0
    image = F.normalize(objects.float(), dim=-1).mean(1)
    keep = ~pad
    words = F.normalize(tokens.float(), dim=-1)[keep]
    owner = torch.arange(len(objects), device=pad.device)[:, None].expand_as(keep)[keep]
    rank = torch.arange(1, keep.shape[1] + 1, device=pad.device).float().expand_as(keep)[keep]
    target = F.one_hot(owner, len(objects)).T.float() * rank
    target = target / target.sum(1, keepdim=True)
    scores = scale * image @ words.T
    forth = -(target * scores.log_softmax(1)).sum(1).mean()
    back = -(target * scores.log_softmax(0)).sum(0).mean()
    return FORTH * forth + BACK * back
