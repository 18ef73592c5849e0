"""Makes a bundle of a trained network: class table, vocabulary, rating of regions, what they share, calibration."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..interface.bundle import save_bundle
from ..interface.find import tasks
from ..interface.find.alike import Alike, quietest
from ..interface.find.model import FindModel
from ..interface.find.readings import Vocabulary
from .calibrate import calibrate, encode_samples
from .rate import fit_rating
from .samples import Samples, held_out

TABLE_NAMES = 200  # most frequent label names of the masks, for the class table
BATCH = 256  # names


def finish(model: FindModel, train: Samples, folder: Path, trained_on: dict[str, object], *, seed: int) -> None:
    """Write the bundle of a network in eval mode on the CPU.

    Args:
        train: photos; those held out by their key calibrate.
        trained_on: what config.json says of the training.
        seed: of what is drawn.
    """
    counts = Counter(r.label for regions in train.regions for r in regions if r.label and r.kind != "pseudo")
    names = [name for name, _ in counts.most_common(TABLE_NAMES)]
    with torch.inference_mode():
        table = tasks.encode_names(model, [*names, "background"])
        vocabulary = _vocabulary(model, words(train))
    rows = train.where(lambda n: held_out(train.keys[n]))
    alike = _alike(model, table, train, rows, vocabulary)
    calibration = calibrate(model, table, train, rows, alike, seed=seed)
    rating = fit_rating(model, table, train, seed=seed)
    facts = {"name": "find-mini", "class_names": [*names, "background"], "trained_on": trained_on}
    save_bundle(folder, model, table, calibration, facts, vocabulary, rating, alike)


def words(train: Samples) -> tuple[str, ...]:
    """Every name of a training photo or of a part of one, sorted."""
    names = {name for photo in train.labels for name in photo}
    return tuple(sorted(names | {region.label for photo in train.regions for region in photo if region.label}))


def _vocabulary(model: FindModel, names: tuple[str, ...]) -> Vocabulary | None:
    if not names:
        return None
    batches = (names[start : start + BATCH] for start in range(0, len(names), BATCH))
    return Vocabulary(names, torch.cat([tasks.encode_phrases(model, some) for some in batches]))


@torch.inference_mode()
def _alike(
    model: FindModel, table: torch.Tensor, train: Samples, rows: NDArray[np.int64], vocabulary: Vocabulary | None
) -> Alike | None:
    """Where neither regions of some photos nor names say anything; None where towers do not speak for themselves."""
    if vocabulary is None or not len(rows) or not model.interface.config.towers:
        return None
    regions = encode_samples(model, table, train, rows).regions
    return quietest(torch.as_tensor(regions), vocabulary.vectors)
