"""Proposals: how many of the annotated masks one of a photo's stored regions covers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry import encode_rle, resize_mask
from ..records import Floats, Rle
from .library import Library
from .outcome import Outcome, percent

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
            tables.append(pairwise_iou(truths, masks))
            keys += [photo.key] * len(truths)
    figures, arrays = {}, {"proposal_keys": np.array(keys, str)}
    for name, most in ((str(FEW), FEW), ("all", None)):
        best = [table[:, :most].max(1, initial=0.0) for table in tables]
        ious = arrays[f"proposal_best_iou_{name}"] = np.concatenate([np.zeros(0, np.float32), *best])
        figures[f"recall@{name}"] = percent(ious >= THRESHOLD)
    return Outcome({**figures, "n": len(keys)}, arrays)


def pairwise_iou(truths: Sequence[Rle], masks: Sequence[Rle]) -> Floats:
    """(T, P) float32 IoU of every annotated mask with every region, all of one photo."""
    from pycocotools import mask as coco

    size = truths[0].size
    fitted = [mask if mask.size == size else encode_rle(resize_mask(mask.decode(), size)) for mask in masks]
    ious = coco.iou([truth.to_json() for truth in truths], [mask.to_json() for mask in fitted], [0] * len(fitted))
    return np.asarray(ious, np.float32).reshape(len(truths), -1)
