"""Photos of one index with a line of a table in the place of each vector, for passes over a whole library.

A row of a segment with inverted lists has the line of its list, whose table entries are the products with the centre of
that list; of other segments each photo has a line of its own, whose entries are its exact best products. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .rows import Ids

if TYPE_CHECKING:
    from .segment import Segment
    from .selection import Selection

LINES = 1 << 16  # in one table at most, for two bytes tell the line of a row
Places = NDArray[np.int32]


class Run(NamedTuple):
    """Photos whose rows are lines of one table.

    Attributes:
        places: (m,) positions of the photos among those of the pass.
        lines: (rows,) uint16.
        first, past: (m,) int64, where the rows of each photo begin and end in `lines`.
        table: (L, Q) float32.
    """

    places: Places
    lines: NDArray[np.uint16]
    first: Ids
    past: Ids
    table: Floats


class Outline:
    """The chosen photos of one index; made once for a choice, and asked by many queries.

    Args:
        parts: its segments, with the photos that are chosen of each; no photo is chosen of two.
    """

    def __init__(self, parts: Sequence[tuple[Segment, Selection]]) -> None:
        self._parts = [(segment, chosen) for segment, chosen in parts if len(chosen.photo_ids)]
        self._listed = [segment.has_outline for segment, _ in self._parts]
        self._placed: tuple[Ids, list[Places]] | None = None

    @property
    def holds(self) -> bool:
        """Whether it is as if it were made now: segments may have gone to a GPU meanwhile."""
        return self._listed == [segment.has_outline for segment, _ in self._parts]

    @cached_property
    def photo_ids(self) -> Ids:
        """The chosen photos that have a row, ascending."""
        if len(self._parts) == 1:
            return self._parts[0][1].photo_ids
        return np.sort(np.concatenate([np.empty(0, np.int64), *(chosen.photo_ids for _, chosen in self._parts)]))

    def _places(self, among: Ids) -> list[Places]:
        """Where the photos of each part stand among some ascending ids; kept for the next query."""
        kept = self._placed
        if kept is None or kept[0] is not among:
            found = [_places(among, chosen.photo_ids) for _, chosen in self._parts]
            self._placed = kept = (among, found)
        return kept[1]

    @cached_property
    def _lines(self) -> Places:
        lines, base = np.empty(len(self.photo_ids), np.int32), 0
        for (segment, chosen), listed, places in zip(
            self._parts, self._listed, self._places(self.photo_ids), strict=True
        ):
            own = segment.list_of_row[chosen.first] if listed else np.arange(len(chosen.photo_ids))
            lines[places] = own.astype(np.int32) + base
            base += segment.recipe.lists if listed else len(own)
        return lines

    def lines(self, queries: Floats) -> tuple[Places, Floats]:
        """Of an index with one row a photo: the line of each photo (n,), and the table (L, Q)."""
        tables = [np.empty((0, len(queries)), np.float32)]
        for (segment, chosen), listed in zip(self._parts, self._listed, strict=True):
            tables.append(segment.centre_products(queries) if listed else segment.best(queries, chosen)[1])
        return self._lines, np.concatenate(tables)

    def exact(self, queries: Floats, places: Places) -> Floats:
        """(m, Q) exact best products of the photos at these positions, ascending."""
        if len(self._parts) == 1:
            segment, chosen = self._parts[0]
            return segment.best_at(queries, chosen, places)
        scores = np.empty((len(queries), len(places)), np.float32).T
        for (segment, chosen), own in zip(self._parts, self._places(self.photo_ids), strict=True):
            low, high = np.searchsorted(places, own[[0, -1]]).tolist()
            at = np.searchsorted(own, places[low : high + 1])
            there = own[np.minimum(at, len(own) - 1)] == places[low : high + 1]
            scores[low : high + 1][there] = segment.best_at(queries, chosen, at[there])
        return scores

    def runs(self, queries: Floats, among: Ids) -> list[Run]:
        """All photos `among` some ids, ascending, that those of this outline are part of; others have no rows there."""
        runs = []
        for (segment, chosen), listed, places in zip(self._parts, self._listed, self._places(among), strict=True):
            if listed:
                table = np.ascontiguousarray(segment.centre_products(queries))
                runs.append(Run(places, segment.list_of_row, chosen.first, chosen.past, table))
                continue
            exact = np.ascontiguousarray(segment.best(queries, chosen)[1])
            for start in range(0, len(places), LINES):
                table = exact[start : start + LINES]
                own = np.arange(len(table) + 1)
                runs.append(Run(places[start : start + LINES], own.astype(np.uint16), own[:-1], own[1:], table))
        if sum(len(run.places) for run in runs) < len(among):
            bare = np.ones(len(among), np.bool_)
            for run in runs:
                bare[run.places] = False
            runs.append(_without_rows(np.flatnonzero(bare).astype(np.int32), len(queries)))
        return runs


def without_regions(photos: int) -> Run:
    """So many photos for a query that asks no region."""
    return _without_rows(np.arange(photos, dtype=np.int32), 0)


def _without_rows(places: Places, queries: int) -> Run:
    none = np.zeros(len(places), np.int64)
    return Run(places, np.zeros(1, np.uint16), none, none, np.zeros((1, queries), np.float32))


def _places(among: Ids, ids: Ids) -> Places:
    """Where ids stand among others, both ascending, all of which are there."""
    first, last = np.searchsorted(among, ids[[0, -1]]).tolist()
    if last - first + 1 == len(ids):
        return np.arange(first, last + 1, dtype=np.int32)
    return np.searchsorted(among, ids).astype(np.int32)
