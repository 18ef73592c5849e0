"""Proposals: how many of the annotated masks one of a photo's stored regions covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import metrics
from ..geometry import encode_rle, resize_mask
from ..records import Floats, Rle
from .library import Library
from .outcome import Outcome

THRESHOLD = 0.5  # IoU from which a mask counts as covered
FEW = 10


def proposals(library: Library) -> Outcome:
    """Recall of annotated masks at IoU 0.5 by the best 10 and by all stored regions (at most 32).

    Every annotated mask counts, named or not, except groups drawn as one.

    Returns:
        ``recall@10``, ``recall@all``, ``n`` masks. Arrays: ``proposal_keys`` (n,) and ``proposal_best_iou_10``,
        ``proposal_best_iou_all`` (n,) float32, per annotated mask.
    """
    tables, keys = [], []
    for photo, masks in zip(library.photos, library.masks, strict=True):
        truths = [region.rle for region in photo.regions if region.rle is not None and not region.crowd]
        if truths:
            tables.append(_ious(truths, masks))
            keys += [photo.key] * len(truths)
    best = {
        name: np.concatenate([np.zeros(0, np.float32), *(_best(table[:, :most]) for table in tables)])
        for name, most in (("10", FEW), ("all", None))
    }
    return Outcome(
        {
            f"recall@{FEW}": metrics.proposal_recall(tables, FEW, THRESHOLD),
            "recall@all": metrics.proposal_recall(tables, None, THRESHOLD),
            "n": len(keys),
        },
        {"proposal_keys": np.array(keys, str), **{f"proposal_best_iou_{name}": ious for name, ious in best.items()}},
    )


def _ious(truths: Sequence[Rle], masks: Sequence[Rle]) -> Floats:
    """(T, P) float32 IoU of every annotated mask with every region."""
    from pycocotools import mask as coco

    if not masks:
        return np.zeros((len(truths), 0), np.float32)
    size = truths[0].size
    fitted = [mask if mask.size == size else encode_rle(resize_mask(mask.decode(), size)) for mask in masks]
    found = coco.iou([mask.to_json() for mask in fitted], [truth.to_json() for truth in truths], [0] * len(truths))
    table: Floats = np.asarray(found, np.float32).reshape(len(masks), len(truths)).T
    return table


def _best(table: Floats) -> Floats:
    best: Floats = table.max(1, initial=0.0)
    return best
