"""Relevance feedback: what one round of photos called right and wrong is worth to a label as a query."""

from __future__ import annotations

import numpy as np

from .. import metrics
from ..query.feedback import with_feedback
from ..query.score import score
from ..records import Entity, Floats
from .annotations import RIGHT, WRONG, Positions, class_names, sha1_number, things
from .library import Library, asked
from .outcome import Outcome, percent
from .progress import Progress, tracked

SHOWN = 10  # hits among which the target is looked for
LIKED, UNLIKED = 3, 2
FEWEST = 5  # photos of a label
MOST_TARGETS = 6  # of a label, by the hash of their keys


def feedback(library: Library, *, seed: int, progress: Progress) -> Outcome:
    """Labels as queries, `[a label]`, each with some of its photos as targets.

    A round is three other photos of the label, drawn by the hash of their keys, called right, and the best two photos
    that surely lack it called wrong. The liked ones leave both rankings, so that only the target can gain.

    Returns:
        ``before`` and ``after``: IR@10 of the targets; ``gain``, the mean over labels, with its 95 % interval; ``n``
        targets and ``labels``. Arrays: ranks from 1, and the labels.
    """
    before: list[int] = []
    after: list[int] = []
    names: list[str] = []
    every = [*things(library.photos), *class_names(library.photos)]
    for _, named in tracked(every, "feedback", progress):
        right, wrong = named.photos[named.truth == RIGHT], named.photos[named.truth == WRONG]
        if len(right) < FEWEST or len(wrong) < SHOWN:
            continue
        ranks = _ranks(library, named.name, named.photos, right, wrong)
        before += [first for first, _ in ranks]
        after += [second for _, second in ranks]
        names += [named.name] * len(ranks)
    found = np.array([before, after], np.int64).reshape(2, -1) <= SHOWN
    labels = np.unique(np.array(names, str), return_inverse=True)[1]
    gains = 100.0 * (found[1].astype(float) - found[0])
    interval = metrics.bootstrap_interval(gains, labels, seed=seed)
    return Outcome(
        {
            "before": percent(found[0]),
            "after": percent(found[1]),
            "gain": metrics.macro(gains, labels),
            "interval": list(interval),
            "n": len(gains),
            "labels": len(set(names)),
        },
        {
            "feedback_ranks": np.array([before, after], np.int64).reshape(2, -1),
            "feedback_labels": np.array(names, str),
        },
    )


def _ranks(library: Library, name: str, photos: Positions, right: Positions, wrong: Positions) -> list[tuple[int, int]]:
    """Ranks of some targets among the photos of a table, before and after a round."""
    scoring = library.scoring(asked(Entity(f"a {name}")))
    total = score(library.block, scoring).total
    unliked = wrong[np.argsort(-total[wrong], kind="stable")[:UNLIKED]]
    by_hash = sorted(right.tolist(), key=lambda place: sha1_number(f"{name} {library.photos[place].key}"))
    ranks = []
    for target in by_hash[:MOST_TARGETS]:
        liked = [place for place in by_hash if place != target][-LIKED:]
        moved = with_feedback(scoring, library.calibration, library, 0, liked, unliked.tolist())
        gallery = photos[~np.isin(photos, liked)]
        rows = (total, score(library.block, moved).total)
        ranks.append((_rank(rows[0], gallery, target), _rank(rows[1], gallery, target)))
    return ranks


def _rank(total: Floats, gallery: Positions, target: int) -> int:
    above = (total[gallery] > total[target]) | ((total[gallery] == total[target]) & (gallery < target))
    return 1 + int(above.sum())
