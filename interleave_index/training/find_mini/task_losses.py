"""Losses of one task's proposals: which of them answers, how well they lie, what they are called."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find.outputs import Output
from ...interface.find_mini.blend import blend
from ..losses import Matches, choice_loss, mask_losses, match, overlaps, score_contrast
from .batches import Batch


def choice_and_masks(
    name: str,
    logits: Tensor,
    scores: Tensor,
    masks: list[Tensor],
    queries: list[Tensor],
    quality: Tensor | None = None,
) -> tuple[dict[str, Tensor], Matches]:
    """Which proposals answer each query, the losses of that choice and of their masks, and the pairs themselves.

    Args:
        logits: (B, Q, h, w); scores: (B, Q, E) of every proposal for every query.
        masks: (T_i, h, w) an image; queries: (T_i,) the query that each mask answers.
        quality: (B, Q) logits of how good each proposal is, or None; with it their blend is trained too.
    """
    odds = scores.detach().softmax(1)
    pairs = match(logits, masks, [odds[n][:, rows] for n, rows in enumerate(queries)])
    bce, dice = mask_losses(logits, masks, pairs)
    overlap = [overlaps(logits[n], own) for n, own in enumerate(masks)]
    choice = choice_loss(scores, pairs, queries, overlap)
    losses = {f"{name}_choice": choice, f"{name}_bce": bce, f"{name}_dice": dice}
    if quality is not None:
        losses[f"{name}_blend"] = blend_loss(blend(logits, scores, quality.detach()), masks, queries)
    return losses, pairs


def blend_loss(chances: Tensor, masks: Sequence[Tensor], queries: Sequence[Tensor]) -> Tensor:
    """Mean dice of (B, E, h, w) blends with all masks that answer each query, over the queries that have any."""
    losses = []
    for row, (own, asked) in enumerate(zip(masks, queries, strict=True)):
        for query in asked.unique().tolist():
            if query >= 0:
                wanted, found = own[asked == query].amax(0).float(), chances[row, query]
                losses.append(1 - (2 * (found * wanted).sum() + 1) / (found.sum() + wanted.sum() + 1))
    return torch.stack(losses).mean() if losses else chances.sum() * 0.0


def score_loss(batch: Batch, output: Output, scale: Tensor) -> Tensor:
    """True sentences with their entities, over the images of the batch."""
    own = batch.true_sentence.nonzero()[:, 0]
    counts = torch.tensor([len(targets) for targets in batch.entity_targets])[own]
    entities = output["pred_entity_class"][own]
    there = torch.arange(entities.shape[1]) < counts[:, None]
    legends = output["pred_interleave_image"][own, 0]
    images, objects = output["pred_retrievals"][:, 0], output["pred_captions"]
    return score_contrast(legends, entities, there, images, objects, own, scale)


def name_loss(vectors: Tensor, pairs: Matches, labels: Sequence[Tensor], table: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of matched proposals over a table of name vectors."""
    if not len(pairs) or not len(table):
        return vectors.sum() * 0.0
    label = torch.stack([labels[i][t] for i, t in zip(pairs.image.tolist(), pairs.target.tolist(), strict=True)])
    mine = vectors[pairs.image, pairs.proposal][label >= 0].float()
    if not len(mine):
        return vectors.sum() * 0.0
    logits = scale * F.normalize(mine, dim=-1) @ F.normalize(table.float(), dim=-1).T
    return F.cross_entropy(logits, label[label >= 0])
