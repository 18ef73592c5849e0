"""Fits what masks are worth as regions: a logistic regression over the features of `find_mini.region_scorer`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from ...interface.find import tasks
from ...interface.find_mini.model import MiniModel
from ...interface.find_mini.region_scorer import RegionScorer, region_features
from ..logistic import logistic_regression
from ..losses import mask_ious
from .samples import COMPLETE, MASK_SIDE, Sample, photo_batches, where

PHOTOS = 1000  # with masks that people drew, enough of each to take them for all that is there
MET = 0.5  # IoU from which a mask counts as met
RIDGE = 3e-4  # against features that are nearly the same


@torch.inference_mode()
def fit_scorer(model: MiniModel, samples: Sequence[Sample], *, seed: int = 0) -> RegionScorer | None:
    """The scorer of a trained network by the masks of training photos; None without masks.

    A proposal should be worth half its IoU with the mask that it meets best, and half more where that is `MET`.
    """
    rows = where(samples, lambda sample: sum(region.by_hand for region in sample.regions) >= COMPLETE)
    if not len(rows):
        return None
    rows = np.random.default_rng(seed).permutation(rows)[:PHOTOS]
    features, worth = [], []
    for batch, pixels in photo_batches(samples, rows, model.config.side):
        proposals = tasks.propose(model, model.pyramid(pixels))
        for place, row in enumerate(batch):
            by_hand = torch.tensor([region.by_hand for region in samples[row].regions])
            resized = F.interpolate(proposals.masks[place][None], size=(MASK_SIDE, MASK_SIDE), mode="bilinear")[0]
            best = mask_ious(resized, samples[row].masks()[by_hand]).amax(1)
            features.append(region_features(proposals, place).double().cpu().numpy())
            worth.append(((best + (best >= MET)) / 2).double().cpu().numpy())
    weights = logistic_regression(np.concatenate(features), np.concatenate(worth), ridge=RIDGE)
    return RegionScorer(torch.as_tensor(weights, dtype=torch.float32))
