"""Labels: the class name of a photo among all class names of the pack, split by whether training saw the name."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .. import metrics
from .annotations import classes
from .library import Library, asked
from .outcome import Figures, Outcome
from .progress import Progress


def labels(library: Library, train_names: Collection[str], progress: Progress) -> Outcome:
    """Every class name of the pack is asked as plain text; a photo is right when its own name scores best for it.

    Args:
        library: the pack; photos without a class name are left out.
        train_names: label names that occur in the training packs.
    Returns:
        ``seen`` and ``unseen``, each ``top1``, ``top5``, chance, ``n`` photos; ``classes``. Arrays:
        ``label_scores`` (photos, classes) float32, ``label_keys`` and ``label_own`` (photos,), ``label_names``
        (classes,) sorted, ``label_ranks`` (photos,) from 1.
    """
    positions, own = classes(library.photos)
    gallery, names = library.only(positions), np.unique(own)
    scores = gallery.totals([asked(name) for name in names.tolist()], len(names), "labels", progress).T
    ranks = metrics.first_ranks(scores, own[:, None] == names)
    seen = np.array([name in train_names for name in own.tolist()], bool)
    return Outcome(
        {
            "seen": _figures(ranks[seen], len(names)),
            "unseen": _figures(ranks[~seen], len(names)),
            "classes": len(names),
        },
        {
            "label_scores": scores,
            "label_ranks": ranks,
            "label_own": own,
            "label_names": names,
            "label_keys": gallery.keys(),
        },
    )


def _figures(ranks: metrics.Counts, count: int) -> Figures:
    chance = {k: 100.0 * min(k, count) / count if count else 0.0 for k in (1, 5)}
    return {
        "top1": metrics.recall_at(ranks, 1),
        "top5": metrics.recall_at(ranks, 5),
        "chance": chance[1],
        "chance_top1": chance[1],
        "chance_top5": chance[5],
        "n": len(ranks),
    }
