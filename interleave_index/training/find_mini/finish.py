"""Makes a bundle of a trained network: vocabulary, scorer of regions, banks and curves of calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ...evaluation.annotations import closed_lists
from ...evaluation.progress import Progress
from ...geometry import unit
from ...interface.calibration import Calibration
from ...interface.find import tasks
from ...interface.find_mini.bundle import save_bundle, save_curves
from ...interface.find_mini.caption_expansion import Vocabulary
from ...interface.find_mini.interface import FindMini
from ...interface.find_mini.model import CELLS_IN_USE, MiniModel
from ...interface.find_mini.texts import encode_phrases, encode_texts
from ...interface.generic import generic_captions
from ..curves import calibrate
from ..data import held_out, training_photos
from .fit_scorer import fit_scorer
from .samples import Sample, photo_batches, where

TABLE_NAMES = 200  # most frequent label names of the masks, as class names
BATCH = 256  # names
PICTURES = 256  # of the banks


@torch.inference_mode()
def finish(
    model: MiniModel, train: Sequence[Sample], folder: Path, trained_on: dict[str, object], *, seed: int
) -> None:
    """Write the bundle of a network in eval mode on the CPU; `fit_curves` gives it the curves of its judgement.

    Args:
        train: photos; those held out by their key become the banks of pictures.
        trained_on: what config.json records of the training.
        seed: of what is drawn.
    """
    counts = Counter(r.label for sample in train for r in sample.regions if r.label and r.by_hand)
    class_names = [*(name for name, _ in counts.most_common(TABLE_NAMES)), "background"]
    names = all_names(train)
    vectors = [encode_phrases(model, names[n : n + BATCH]) for n in range(0, len(names), BATCH)]
    vocabulary = Vocabulary(names, torch.cat([torch.zeros(0, model.interface.config.width), *vectors]))
    scorer = fit_scorer(model, train, seed=seed)
    model.start_from(CELLS_IN_USE)  # not before: what it learns of fewer proposals ranks these as well
    banks = _banks(model, train, seed=seed)
    facts = {"name": "find-mini", "class_names": class_names, "trained_on": trained_on}
    save_bundle(folder, model, banks, facts, vocabulary, scorer)


def fit_curves(
    folder: Path,
    packs: Sequence[Path],
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Fit the curves of a bundle's judgement, through the interface that a search asks, and write them into it.

    Args:
        folder: a bundle.
        packs: training packs: of their photos those whose things are all known, and those held out by their key.
        limit: at most so many photos, for trials; no more of the packs is read then.
        seed: of the libraries that are drawn.
        progress: called with what is being done, how many are done, and of how many.
    Raises:
        ShapeError: the photos are too few to ask a kind of question; the bundle stays without curves.
    """
    usable = (photo for _, photo in training_photos(packs) if closed_lists([photo]) or held_out(photo.key))
    photos = list(islice(usable, limit))
    save_curves(folder, calibrate(FindMini(folder), photos, seed=seed, progress=progress))


def all_names(train: Sequence[Sample]) -> tuple[str, ...]:
    """Every name of a training photo or of a part of one, sorted."""
    names = {name for sample in train for name in sample.labels}
    return tuple(sorted(names | {region.label for sample in train for region in sample.regions if region.label}))


def _banks(model: MiniModel, train: Sequence[Sample], *, seed: int) -> Calibration:
    """Generic captions, and photos that training never drew, each with its best proposal."""
    held = where(train, lambda sample: sample.held_out)
    held = np.random.default_rng(seed).permutation(held)[:PICTURES]
    images, regions = [], []
    for _, pixels in photo_batches(train, held, model.config.side):
        proposals = tasks.propose(model, model.pyramid(pixels))
        best = proposals.quality().argmax(1)
        images.append(proposals.image.numpy())
        regions.append(proposals.vectors[torch.arange(len(best)), best].numpy())
    captions = unit(encode_texts(model, generic_captions()).numpy())
    return Calibration(captions, captions, unit(np.concatenate(images)), unit(np.concatenate(regions)))
