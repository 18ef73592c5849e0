"""Banks and constants behind the relevance of a hit, fitted on photos that training never drew.

For every label of the held-out photos the model is asked for it as a caption, as an entity and by a region of
another photo. Photos with and without the label tell how steeply relevance rises; it passes one half, the cut-off,
where two labels in five find a photo that does not have it; on other photos, and in smaller libraries, fewer do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..geometry import unit
from ..interface.find import tasks
from ..interface.find.alike import Alike
from ..interface.find.model import FindModel
from ..interface.protocol import Calibration
from ..models.vision import to_side
from ..query.relevance import fit_constants, standardised
from ..query.score import score, want
from ..records import Floats, QueryEncoding, ResolvedPart
from .generic import generic_captions
from .samples import Samples

PICTURES = 256
ABSENT_PER_LABEL = 60
FALSE_ANSWERS = 0.4  # share of labels whose best photo without them reaches relevance one half, among those fitted on
UNFITTED = (2.0, -6.0)  # slope and offset where too few photos are held out: relevance one half at three deviations


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of n photos, as the score takes them; `first` is the best region of each photo."""

    image: Floats
    regions: Floats
    offsets: NDArray[np.int64]


def encode_samples(
    model: FindModel, table: torch.Tensor, samples: Samples, rows: NDArray[np.int64], alike: Alike | None = None
) -> Vectors:
    """Image vectors and all proposals of some samples, in order, with what regions have alike."""
    images, regions = [], []
    for start in range(0, len(rows), 32):
        some = rows[start : start + 32]
        pixels = torch.as_tensor(samples.pixels[some]).permute(0, 3, 1, 2).float()
        segments = tasks.segment(model, model.pyramid(to_side(pixels, model.config.side)), table)
        images.append(segments.image.numpy())
        best = segments.quality.argsort(1, descending=True)
        regions.append(torch.gather(segments.vectors, 1, best[..., None].expand_as(segments.vectors)).numpy())
    stacked = np.concatenate(regions)
    count = stacked.shape[1]
    flat = unit(stacked.reshape(-1, stacked.shape[2]))
    return Vectors(
        unit(np.concatenate(images)),
        flat if alike is None else alike.regions(torch.as_tensor(flat)).numpy(),
        np.arange(0, len(rows) * count + 1, count),
    )


@torch.inference_mode()
def calibrate(
    model: FindModel,
    table: torch.Tensor,
    samples: Samples,
    rows: NDArray[np.int64],
    alike: Alike | None = None,
    *,
    seed: int = 0,
) -> Calibration:
    """Banks from generic captions and held-out photos, constants from their labels.

    Args:
        rows: positions of held-out photos; those used as a bank of pictures are not used for fitting.
        alike: what regions have in common, or None.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(rows)
    bank_rows, fit_rows = order[: min(PICTURES, len(order) // 2)], order[min(PICTURES, len(order) // 2) :]
    generic = generic_captions()
    bank = encode_samples(model, table, samples, bank_rows, alike)
    blank = Calibration(
        captions=unit(tasks.encode_text(model, generic).numpy()),
        phrases=unit(tasks.encode_phrases(model, generic).numpy()),
        pictures=bank.image,
        regions=bank.regions[bank.offsets[:-1]],
        slope=dict.fromkeys(("caption", "entity", "picture"), 1.0),
        offset=dict.fromkeys(("caption", "entity", "picture"), 0.0),
    )
    photos = encode_samples(model, table, samples, fit_rows, alike)
    names = [{*samples.labels[n], *(r.label for r in samples.regions[n] if r.label)} for n in fit_rows]
    slope, offset = {}, {}
    for kind in ("caption", "entity", "picture"):
        z, present, strangers = _pairs(model, blank, photos, names, kind, rng)
        slope[kind], offset[kind] = UNFITTED
        if present.any():
            slope[kind], _ = fit_constants(z, present)
            offset[kind] = -slope[kind] * float(np.quantile(strangers, 1 - FALSE_ANSWERS))
    return replace(blank, slope=slope, offset=offset)


def _pairs(
    model: FindModel,
    blank: Calibration,
    photos: Vectors,
    names: Sequence[set[str]],
    kind: str,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """z of pairs of a label and a photo, whether the photo has it, and the best z of each label among those without."""
    values, flags, strangers = [], [], []
    for label in sorted({name for found in names for name in found}):
        there = np.array([label in found for found in names])
        if there.sum() < 2 or there.all():
            continue
        source = int(rng.choice(np.flatnonzero(there)))
        part, encoding = _question(model, photos, label, kind, source)
        wanted = want([part], encoding, photos)
        z = standardised(score(photos, wanted).total, photos, [part], blank)
        there_too = there.copy()
        there_too[source] = False
        chosen = there_too if kind == "picture" else there
        absent = rng.permutation(np.flatnonzero(~there))[:ABSENT_PER_LABEL]
        values += [z[chosen], z[absent]]
        flags += [np.ones(int(chosen.sum()), bool), np.zeros(len(absent), bool)]
        strangers.append(float(z[~there].max()))
    if not values:
        return np.zeros(0), np.zeros(0, bool), np.zeros(0)
    return np.concatenate(values).astype(np.float64), np.concatenate(flags), np.array(strangers)


def _question(
    model: FindModel, photos: Vectors, label: str, kind: str, source: int
) -> tuple[ResolvedPart, QueryEncoding]:
    nothing = np.zeros((0, photos.image.shape[1]), np.float32)
    if kind == "picture":
        vector = photos.image[source]
        return ResolvedPart("entity", "picture", label, vector=vector), QueryEncoding(vector, vector[None], nothing)
    legend = unit(tasks.encode_text(model, [label]).numpy())[0]
    if kind == "caption":
        return ResolvedPart("caption", "text", label), QueryEncoding(legend, nothing, nothing)
    phrase = unit(tasks.encode_phrases(model, [label]).numpy())
    return ResolvedPart("entity", "text", label), QueryEncoding(legend, phrase, nothing)
