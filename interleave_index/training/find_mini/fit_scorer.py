"""Fits what masks are worth as regions: a logistic regression over the evidence of `find_mini.region_scorer`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...interface.find import tasks
from ...interface.find.model import FindModel
from ...interface.find_mini.candidates import candidates
from ...interface.find_mini.region_scorer import Rating
from ...models.vision.tower import to_side
from ..logistic import logistic_regression
from ..losses import mask_ious
from .samples import COMPLETE, MASK_SIDE, Samples

PHOTOS, BATCH = 1000, 32  # with masks that people drew, enough of each to take them for all that is there
MET = 0.5  # IoU from which a mask counts as met
RIDGE = 3e-4  # against evidence that is nearly the same


@torch.inference_mode()
def fit_scorer(model: FindModel, table: Tensor, samples: Samples, *, seed: int = 0) -> Rating | None:
    """The scorer of a trained network by the masks of training photos; None without cells or without masks.

    A candidate should be worth half its IoU with the mask that it meets best, and half more where that is `MET`.

    Args:
        table: (K + 1, C) class vectors.
    """
    rows = samples.where(lambda n: sum(region.by_hand for region in samples.regions[n]) >= COMPLETE)
    rows = np.random.default_rng(seed).permutation(rows)[:PHOTOS]
    if not len(rows) or not model.interface.config.seeds:
        return None
    evidence, worth = [], []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        pixels = to_side(samples.tensor(batch), model.config.side)
        segments = tasks.segment(model, model.pyramid(pixels), table)
        for place, row in enumerate(batch):
            drawn = tasks.drawn_by_cells(model, segments, place)
            of_photo = candidates(segments.masks[place], segments.quality[place], drawn, None)
            if of_photo.figures is None:
                return None
            masks = np.stack([region.mask for region in samples.regions[row] if region.by_hand])
            resized = F.interpolate(of_photo.masks[None], size=(MASK_SIDE, MASK_SIDE), mode="bilinear")[0]
            best = mask_ious(resized, torch.as_tensor(masks) / 255).amax(1)
            evidence.append(of_photo.figures.double().cpu().numpy())
            worth.append(((best + (best >= MET)) / 2).double().cpu().numpy())
    weights = logistic_regression(np.concatenate(evidence), np.concatenate(worth), ridge=RIDGE)
    return Rating(torch.as_tensor(weights, dtype=torch.float32))
