"""Absence: whether relevance tells photos with a label from those without, and whether nothing can be the answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..interface.protocol import Calibration, Interface
from ..query import relevance
from ..records import BoolMask, Entity, Floats, ResolvedQuery
from .library import Library, Progress, asked, totals
from .outcome import Outcome
from .packs import PackPhoto

_CLOSED = re.compile(r"\ball \d+\b")  # a scope such as "all 80 thing classes (boxes)" leaves no name of its list open
_THINGS = ("instance", "box")


def vocabularies(photos: Sequence[PackPhoto]) -> dict[str, tuple[list[str], list[int]]]:
    """Closed lists of names: per list its names, sorted, and the positions of the photos annotated by it.

    A photo is annotated by a list when its `regions_scope` says ``all N``; the names are those of the things
    (instances and boxes) in all photos with the same ``all N``.
    """
    names: dict[str, set[str]] = defaultdict(set)
    members: dict[str, list[int]] = defaultdict(list)
    for position, photo in enumerate(photos):
        scope = _CLOSED.search(photo.regions_scope or "")
        if scope:
            members[scope.group()].append(position)
            names[scope.group()].update(_things(photo))
    return {scope: (sorted(names[scope]), members[scope]) for scope in sorted(members)}


def absence(library: Library, interface: Interface, progress: Progress) -> Outcome:
    """Relevance of photos with and without a label, each label asked as a bracketed phrase and as plain text.

    Returns:
        For the phrase ``auc`` over all (label, photo) pairs, ``auc_by_label`` as macro-average, ``chance`` 50, and
        ``false_answers``: share of labels whose best hit among the photos without it passes the default cut-off;
        ``n`` labels, ``pairs``, ``cutoff`` (0 to 1); ``plain_text`` holds the first two and ``false_answers`` for
        plain text. Arrays, one row a (label, photo) pair: ``absence_relevance`` float32, ``absence_plain_relevance``,
        ``absence_present`` bool, ``absence_labels``, ``absence_keys``.
    """
    lists = vocabularies(library.photos)
    calibration = interface.calibration
    found = [_List(library, names, members) for names, members in lists.values()]
    forms: dict[str, Callable[[str], ResolvedQuery]] = {
        "absence": lambda name: asked(Entity(name)), "absence plain text": lambda name: asked(name)}
    tables = {what: [part.relevances(interface, calibration, form, what, progress) for part in found]
              for what, form in forms.items()}
    figures = {what: _figures(found, some, calibration.cutoff) for what, some in tables.items()}
    arrays = {"absence_relevance": _flat(tables["absence"], np.float32),
              "absence_plain_relevance": _flat(tables["absence plain text"], np.float32),
              "absence_present": _flat([part.present for part in found], bool),
              "absence_labels": np.concatenate([np.zeros(0, "U1"), *(np.repeat(part.names, len(part.library.photos))
                                                                     for part in found)]),
              "absence_keys": np.concatenate([np.zeros(0, "U1"), *(np.tile(part.keys, len(part.names))
                                                                   for part in found)])}
    return Outcome({**figures["absence"], "chance": 50.0, "n": sum(len(part.names) for part in found),
                    "pairs": len(arrays["absence_present"]), "cutoff": calibration.cutoff,
                    "plain_text": figures["absence plain text"]}, arrays)


class _List:
    """One closed list of names and the photos annotated by it."""

    def __init__(self, library: Library, names: list[str], members: list[int]) -> None:
        chosen = np.zeros(len(library.photos), bool)
        chosen[members] = True
        self.library, self.names = library.only(chosen), names
        self.keys = np.array([photo.key for photo in self.library.photos], str)
        self.present: BoolMask = np.array(
            [[name in _things(photo) for photo in self.library.photos] for name in names], bool
        ).reshape(len(names), len(members))

    def relevances(self, interface: Interface, calibration: Calibration, form: Callable[[str], ResolvedQuery],
                   what: str, progress: Progress) -> Floats:
        """(names, photos) float32, 0 to 1."""
        queries = [form(name) for name in self.names]
        scores = totals(self.library, interface, queries, what, progress)
        nulls = relevance.Nulls(self.library, calibration)
        for row, query in enumerate(queries):
            z = nulls.standardise(scores[row], query)
            scores[row] = relevance.relevance(z, query, calibration)
        return scores


def _figures(lists: Sequence[_List], tables: Sequence[Floats], cutoff: float) -> dict[str, float]:
    pairs = [(scores[known], scores[~known]) for part, table in zip(lists, tables, strict=True)
             for scores, known in zip(table, part.present, strict=True)]
    with_, without = (np.concatenate([np.zeros(0, np.float32), *(pair[side] for pair in pairs)]) for side in (0, 1))
    single = [metrics.auc_percent(*pair) for pair in pairs if len(pair[0]) and len(pair[1])]
    best = np.array([scores.max() for _, scores in pairs if len(scores)])
    return {"auc": metrics.auc_percent(with_, without), "auc_by_label": float(np.mean(single)) if single else 50.0,
            "false_answers": 100.0 * float((best >= cutoff).mean()) if len(best) else 0.0}


def _things(photo: PackPhoto) -> set[str]:
    return {region.label for region in photo.regions if region.label is not None and region.kind in _THINGS}


def _flat(tables: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *(table.ravel() for table in tables)])
