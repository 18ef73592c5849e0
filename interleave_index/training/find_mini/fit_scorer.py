"""Fits what masks are worth as regions: a logistic regression over the evidence of `interface.find.rating`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...interface.find import tasks
from ...interface.find.model import FindModel
from ...interface.find_mini.candidates import candidates
from ...interface.find_mini.region_scorer import EVIDENCE, Rating
from ...models.vision.tower import to_side
from ..losses import overlaps
from .batches import COMPLETE
from .samples import MASK_SIDE, Samples

PHOTOS = 1000  # with masks that people drew, enough of each to take them for all that is there
MET = 0.5  # IoU from which a mask counts as met
STEPS, RIDGE = 20, 1e-3  # of Newton's method; pull towards zero, a candidate


@torch.inference_mode()
def fit_rating(model: FindModel, table: Tensor, samples: Samples, *, seed: int = 0) -> Rating | None:
    """The rating of a trained network by the masks of training photos; None without cells or without masks.

    A candidate should be worth half its IoU with the mask that it meets best, and half more where that is `MET`.

    Args:
        table: (K + 1, C) class vectors.
    """
    rows = samples.where(lambda n: sum(r.kind != "pseudo" for r in samples.regions[n]) >= COMPLETE)
    rows = np.random.default_rng(seed).permutation(rows)[:PHOTOS]
    if not len(rows) or not model.interface.config.seeds:
        return None
    figures, wanted = [], []
    for start in range(0, len(rows), 32):
        some = rows[start : start + 32]
        pixels = torch.as_tensor(samples.pixels[some]).permute(0, 3, 1, 2).float()
        segments = tasks.segment(model, model.pyramid(to_side(pixels, model.config.side)), table)
        for place, row in enumerate(some):
            drawn = tasks.drawn_by_cells(model, segments, place)
            found = candidates(segments.masks[place], segments.quality[place], drawn, None)
            if found.figures is None:
                return None
            truth = torch.as_tensor(np.stack([r.mask for r in samples.regions[row] if r.kind != "pseudo"])) / 255
            grown = F.interpolate(found.masks[None], size=(MASK_SIDE, MASK_SIDE), mode="bilinear")[0]
            best = overlaps(grown, truth).amax(1)
            figures.append(found.figures.double().numpy())
            wanted.append(((best + (best >= MET)) / 2).double().numpy())
    return Rating(torch.as_tensor(logistic(np.concatenate(figures), np.concatenate(wanted)), dtype=torch.float32))


def logistic(figures: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """(F + 1,) weights, the constant last, of a logistic regression towards (N,) shares, by Newton's method."""
    mean, spread = figures.mean(0), figures.std(0) + 1e-6
    inputs = np.column_stack([(figures - mean) / spread, np.ones(len(figures))])
    pull = RIDGE * len(inputs) * np.diag([*np.ones(len(EVIDENCE)), 0.0])
    weights = np.zeros(inputs.shape[1])
    for _ in range(STEPS):
        said = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (wanted - said) - pull @ weights
        bend = (inputs * (said * (1 - said))[:, None]).T @ inputs + pull
        weights += np.linalg.solve(bend, slope)
    scaled = weights[:-1] / spread
    return np.append(scaled, weights[-1] - scaled @ mean)
