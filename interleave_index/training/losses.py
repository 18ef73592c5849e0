"""Losses and the matcher of find.md §7, on tensors alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

COST_CLASS, COST_BCE, COST_DICE = 2.0, 5.0, 5.0
ENTITY_WEIGHT = 0.5  # w of the interleaved score
LEAST_IOU, SHARPNESS = 0.3, 6  # of proposals that share a choice with the best: (IoU / best IoU) ** sharpness


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of proposals and targets over a batch, all (M,) int64: image, proposal, target of that image."""

    image: Tensor
    proposal: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.image)


def match(logits: Tensor, targets: Sequence[Tensor], chances: Sequence[Tensor]) -> Matches:
    """Hungarian matching of proposals and target masks, image by image.

    Args:
        logits: (B, Q, h, w) mask logits.
        targets: one (T_i, h, w) mask in 0..1 an image; T_i may be 0.
        chances: one (Q, T_i) probability an image that the proposal is that target, by its class or query.
    """
    from scipy.optimize import linear_sum_assignment

    images, proposals, chosen = [], [], []
    with torch.no_grad():
        flat = logits.detach().float().flatten(2)
        for number, (target, chance) in enumerate(zip(targets, chances, strict=True)):
            if not len(target):
                continue
            wanted = target.float().flatten(1)
            pixels = wanted.shape[1]
            bce = (F.softplus(flat[number]).sum(1, keepdim=True) - flat[number] @ wanted.T) / pixels
            soft = flat[number].sigmoid()
            dice = 1 - (2 * soft @ wanted.T + 1) / (soft.sum(1, keepdim=True) + wanted.sum(1) + 1)
            cost = COST_BCE * bce + COST_DICE * dice - COST_CLASS * chance.detach().float()
            rows, columns = linear_sum_assignment(cost.cpu().numpy())
            images += [number] * len(rows)
            proposals += rows.tolist()
            chosen += columns.tolist()
    return Matches(*(torch.tensor(values, dtype=torch.long) for values in (images, proposals, chosen)))


def mask_losses(logits: Tensor, targets: Sequence[Tensor], matches: Matches) -> tuple[Tensor, Tensor]:
    """Mean binary cross-entropy and dice of matched masks, over every cell of the map.

    The published recipe draws 12,544 points a mask; maps here have fewer cells than that, so all are taken.
    """
    if not len(matches):
        zero = logits.sum() * 0.0
        return zero, zero
    mine = logits[matches.image, matches.proposal].float().flatten(1)
    wanted = torch.stack([targets[i][t] for i, t in zip(matches.image.tolist(), matches.target.tolist(), strict=True)])
    wanted = wanted.float().flatten(1)
    bce = F.binary_cross_entropy_with_logits(mine, wanted)
    soft = mine.sigmoid()
    dice = 1 - (2 * (soft * wanted).sum(1) + 1) / (soft.sum(1) + wanted.sum(1) + 1)
    return bce, dice.mean()


def class_loss(
    logits: Tensor, matches: Matches, labels: Sequence[Tensor], annotated: Tensor, *, background_weight: float = 0.1
) -> Tensor:
    """Cross-entropy over classes and background (last); nameless targets only have to be no background.

    Args:
        logits: (B, Q, K + 1).
        labels: one (T_i,) int64 an image, -1 for a nameless target.
        annotated: (B,) bool, images whose masks may be taken for all that is there.
    """
    chances = logits.float().log_softmax(-1)
    background = chances.shape[-1] - 1
    named = torch.full(chances.shape[:2], background, dtype=torch.long)
    nameless = torch.zeros(chances.shape[:2], dtype=torch.bool)
    if len(matches):
        label = torch.stack(
            [labels[i][t] for i, t in zip(matches.image.tolist(), matches.target.tolist(), strict=True)]
        )
        named[matches.image, matches.proposal] = torch.where(label < 0, background, label)
        nameless[matches.image, matches.proposal] = label < 0
    empty = (named == background) & ~nameless
    weight = torch.where(empty, background_weight * annotated[:, None], 1.0)
    taken = chances.gather(-1, named[..., None])[..., 0]
    anything = chances[..., :-1].logsumexp(-1)
    loss = -torch.where(nameless, anything, taken)
    return (loss * weight).sum() / weight.sum().clamp(min=1)


def overlaps(logits: Tensor, masks: Tensor) -> Tensor:
    """(Q, T) IoU of (Q, h, w) mask logits with (T, h, w) coverages, both cut at one half; no gradient."""
    on, wanted = (logits.detach() > 0).flatten(1).float(), (masks > 0.5).flatten(1).float()
    shared = on @ wanted.T
    return shared / (on.sum(1, keepdim=True) + wanted.sum(1) - shared).clamp(min=1)


def choice_loss(
    scores: Tensor, matches: Matches, query_of: Sequence[Tensor], overlap: Sequence[Tensor] | None = None
) -> Tensor:
    """Softmax over proposals for every query; the target is shared by all proposals matched to that query's masks.

    Args:
        scores: (B, Q, E) of every proposal for every query.
        query_of: one (T_i,) int64 an image, the query that each target answers.
        overlap: one (Q, T_i) IoU an image; then proposals that lie nearly as well as the best share the target too.
    """
    target = torch.zeros(scores.shape, dtype=torch.float32)
    for image, proposal, chosen in zip(
        matches.image.tolist(), matches.proposal.tolist(), matches.target.tolist(), strict=True
    ):
        target[image, proposal, int(query_of[image][chosen])] = 1
    for image, (iou, queries) in enumerate(zip(overlap or (), query_of, strict=False)):
        near = (iou / iou.amax(0, keepdim=True).clamp(min=LEAST_IOU)) ** SHARPNESS
        for chosen, query in enumerate(queries.tolist()):
            if query >= 0:
                target[image, :, query] = torch.maximum(target[image, :, query], near[:, chosen])
    total = target.sum(1, keepdim=True)
    asked = (total > 0).squeeze(1)
    loss = -(target / total.clamp(min=1) * scores.float().log_softmax(1)).sum(1)
    return (loss * asked).sum() / asked.sum().clamp(min=1)


def contrast(
    one: Tensor, other: Tensor, scale: Tensor, *, more_one: Tensor | None = None, more_other: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE of (N, D) rows that belong together in order.

    Args:
        more_one, more_other: (M, D) unit vectors of earlier batches that serve as further negatives.
    """
    if not len(one):
        return one.sum() * 0.0
    one, other = F.normalize(one.float(), dim=-1), F.normalize(other.float(), dim=-1)
    target = torch.arange(len(one))
    there = other if more_other is None else torch.cat([other, more_other])
    back = one if more_one is None else torch.cat([one, more_one])
    return (F.cross_entropy(scale * one @ there.T, target) + F.cross_entropy(scale * other @ back.T, target)) / 2


def fine_contrast(objects: Tensor, tokens: Tensor, pad: Tensor, scale: Tensor) -> Tensor:
    """Images against single caption tokens (the published "fine" part of the retrieval loss).

    Args:
        objects: (N, Q, D) object vectors.
        tokens: (N, T, D) caption tokens, pad: (N, T) bool.
    Source: find.md §7: similarity averaged over the objects, soft target over the tokens of the own caption with a
        weight that grows with the token's rank, 0.7 of it plus 0.3 of its transpose.
    """
    if not len(objects):
        return objects.sum() * 0.0
    image = F.normalize(objects.float(), dim=-1).mean(1)
    keep = ~pad
    words = F.normalize(tokens.float(), dim=-1)[keep]
    owner = torch.arange(len(objects))[:, None].expand_as(keep)[keep]
    rank = torch.arange(1, keep.shape[1] + 1).float().expand_as(keep)[keep]
    target = F.one_hot(owner, len(objects)).T.float() * rank
    target = target / target.sum(1, keepdim=True)
    scores = scale * image @ words.T
    forth = -(target * scores.log_softmax(1)).sum(1).mean()
    back = -(target * scores.log_softmax(0)).sum(1).mean()
    return 0.7 * forth + 0.3 * back


def score_contrast(
    legends: Tensor, entities: Tensor, there: Tensor, images: Tensor, objects: Tensor, own: Tensor, scale: Tensor
) -> Tensor:
    """Cross-entropy of sentences with entities over the images of a batch, by the score that searches use.

    Args:
        legends: (N, D), entities: (N, E, D), there: (N, E) bool, which entities there are.
        images: (B, D), objects: (B, Q, D).
        own: (N,) int64, the image of each sentence.
    Source: find.md §6: cos(legend, image) + 0.5 x mean over entities of the best object's cosine.
    """
    if not len(legends):
        return legends.sum() * 0.0
    legends, entities, images, objects = (
        F.normalize(rows.float(), dim=-1) for rows in (legends, entities, images, objects)
    )
    best = torch.einsum("ned,bqd->nebq", entities, objects).amax(-1)
    named = (best * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
    return F.cross_entropy(scale * (legends @ images.T + ENTITY_WEIGHT * named), own)
