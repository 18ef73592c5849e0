"""Losses of what find-mini adds to FIND: qualities of masks, names, the score of a search."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..losses import mask_ious
from ..matcher import Assignment

ENTITY_WEIGHT = 0.5  # w of the interleaved score, as published


def quality_loss(quality: Tensor, logits: Tensor, masks: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of (B, Q) quality logits with the best IoU of each (B, Q, h, w) mask with any true one."""
    losses = []
    for own_quality, own_logits, own_masks in zip(quality, logits, masks, strict=True):
        if len(own_masks):
            best = mask_ious(own_logits, own_masks).amax(1)
            losses.append(F.binary_cross_entropy_with_logits(own_quality.float(), best))
    return torch.stack(losses).mean() if losses else quality.sum() * 0.0


def name_loss(
    vectors: Tensor, assignment: Assignment, labels: Sequence[Tensor], names: Tensor, scale: Tensor | float
) -> Tensor:
    """Cross-entropy of matched proposals over (K, D) vectors of names; labels (T_i,) an image, -1 for nameless ones."""
    label = assignment.of_targets(labels)
    named = label >= 0
    if not len(names) or not named.any():
        return vectors.sum() * 0.0
    own = F.normalize(assignment.of_proposals(vectors)[named].float(), dim=-1)
    return F.cross_entropy(scale * own @ F.normalize(names.float(), dim=-1).T, label[named])


def search_score_loss(
    legends: Tensor, entities: Tensor, there: Tensor, images: Tensor, objects: Tensor, own: Tensor, scale: Tensor
) -> Tensor:
    """Cross-entropy of sentences with entities over the images of a batch, by the score that searches use.

    Args:
        legends: (N, D), entities: (N, E, D), there: (N, E) bool, which entities there are.
        images: (B, D), objects: (B, Q, D).
        own: (N,) int64, the image of each sentence.
    The score is cos(legend, image) + 0.5 x mean over entities of the best object's cosine.
    Source: docs/find-interface.md, section 6.
    """
    if not len(legends):
        return legends.sum() * 0.0
    legends, entities, images, objects = (
        F.normalize(rows.float(), dim=-1) for rows in (legends, entities, images, objects)
    )
    best = torch.einsum("ned,bqd->nebq", entities, objects).amax(-1)
    mean = (best * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
    return F.cross_entropy(scale * (legends @ images.T + ENTITY_WEIGHT * mean), own)


def place_loss(vectors: Tensor, places: Tensor) -> Tensor:
    """1 - cosine of (N, D) vectors with the unit positions that they should have."""
    return (1 - (F.normalize(vectors.float(), dim=-1) * places).sum(1)).mean()


def caption_place_loss(texts: Tensor, places: Tensor, rows: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of (M, D) captions over the positions (N, D) of all photos, of which `rows` (M,) are their own."""
    if not len(texts):
        return texts.sum() * 0.0
    return F.cross_entropy(scale * F.normalize(texts.float(), dim=-1) @ places.T, rows)
