"""What a search sees of one space: per kind its generations, and an exact delta of all that came after the last.

Objects here never change once made; the store replaces them when the catalog has moved on. Knows no SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ..errors import ShapeError
from ..records import Floats
from .files import Generation, Kind
from .fp16 import ScanBlock, top
from .near import Near, joined
from .outline import Outline
from .recipes import FLAT
from .rows import Ids
from .segment import Segment
from .selection import Selection
from .vectors import Halves

NONE = np.empty(0, np.int64)


class Tier(NamedTuple):
    """One generation: its file's vectors, its row, and the photos whose rows in it no longer hold, ascending."""

    segment: Segment
    info: Generation
    dead: Ids


class VectorIndex:
    """The vectors of one kind: generations and a delta. A photo that was encoded again is dead in all but one.

    Args:
        kind: ``image`` (ids are photo ids), ``region`` (region ids) or ``text`` (passage ids, which then stand where
            this class says photo).
        dim: D.
        tiers: by mark.
        delta: vectors written since.
    """

    def __init__(self, kind: Kind, dim: int, tiers: Sequence[Tier], delta: Segment) -> None:
        self.kind, self.dim, self.delta, self.tiers = kind, dim, delta, tuple(tiers)
        self._segments = [(tier.segment, tier.dead) for tier in tiers if len(tier.segment)]
        if len(delta) or not self._segments:
            self._segments.append((delta, NONE))
        for segment, _ in self._segments:
            segment.rows_beside = self.rows - len(segment)
        self._last: tuple[Ids, list[Selection]] | None = None
        self._outlines: dict[bool, tuple[Ids | None, Outline]] = {}  # of all photos, and of the last filter's

    @property
    def rows(self) -> int:
        """Rows that are held, dead ones included."""
        return sum(len(segment) for segment, _ in self._segments)

    @property
    def mark(self) -> int:
        """Counter of the space up to which the files hold everything; 0 where there are none."""
        return self.tiers[-1].info.mark if self.tiers else 0

    @property
    def recipe(self) -> str:
        """FAISS factory string of the first generation."""
        return self.tiers[0].info.recipe.factory if self.tiers else FLAT

    @property
    def is_exact(self) -> bool:
        """Whether no part of it has inverted lists."""
        return not any(segment.recipe.coarse for segment, _ in self._segments)

    def search(self, queries: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """The k nearest rows of each query by inner product.

        Args:
            queries: (Q, D) float32.
            k: at least 1.
            allowed: (n,) int64 photo ids, ascending, of the photos that may be found; None is all.
        Returns:
            Scores (Q, k) float32, falling, and ids (Q, k) int64: photo ids, or region ids for the region index. Where
            fewer than k rows are left, scores end in -inf and ids in -1. Ties are in order of id.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim or k < 1:
            raise ShapeError(f"queries have shape {queries.shape} and k is {k}, expected (Q, {self.dim}) and k >= 1")
        found = [
            segment.search(queries, k, chosen)
            for (segment, _), chosen in zip(self._segments, self._chosen(allowed), strict=True)
        ]
        if len(found) == 1:
            return found[0]
        return top(np.hstack([scores for scores, _ in found]), np.hstack([ids for _, ids in found]), k)

    def scan(self, allowed: Ids | None = None) -> Iterator[ScanBlock]:
        """Every vector of the allowed photos (ascending ids; None is all), in blocks of whole photos.

        Photo ids ascend within each generation and then again within the delta; a photo is in one block only.
        Photos without a row of this kind do not occur.
        """
        for (segment, _), chosen in zip(self._segments, self._chosen(allowed), strict=True):
            yield from segment.scan(chosen)

    def best(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """For every allowed photo its best inner product with each query, over all its rows, exactly.

        Returns:
            Photo ids (n,) int64, ascending; scores (n, Q) float32. Photos without a row of this kind do not occur.
        """
        return self._every_photo(Segment.best, queries, allowed)

    def rough(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """As `best`, with scores that are near the true ones only where there are inverted lists: `Segment.rough`."""
        return self._every_photo(Segment.rough, queries, allowed)

    def outline(self, allowed: Ids | None = None) -> Outline:
        """The allowed photos in outline; kept for the next query, as `_chosen` keeps what a filter chooses."""
        kept = self._outlines.get(allowed is None)
        if kept is None or kept[0] is not allowed or not kept[1].holds:
            pairs = zip(self._segments, self._chosen(allowed), strict=True)
            kept = (allowed, Outline([(segment, chosen) for (segment, _), chosen in pairs]))
            if allowed is None or not allowed.flags.writeable:
                self._outlines[allowed is None] = kept
        return kept[1]

    def _every_photo(
        self,
        score: Callable[[Segment, Floats, Selection], tuple[Ids, Floats]],
        queries: Floats,
        allowed: Ids | None,
    ) -> tuple[Ids, Floats]:
        queries = np.ascontiguousarray(queries, np.float32)
        found = [
            score(segment, queries, chosen)
            for (segment, _), chosen in zip(self._segments, self._chosen(allowed), strict=True)
        ]
        ids, scores = found[0]
        for more in found[1:]:
            ids, scores = _inserted(ids, scores, *more)
        return ids, scores

    def nearest_photos(self, queries: Floats, count: int, allowed: Ids | None = None) -> list[Near]:
        """For each query the `count` photos with the nearest rows, ties by id; more of inverted lists.

        Inverted lists give many more than `count`. Beside them other segments give all that reaches as far down as
        those of the largest do, and no more: what came lately is then found as well as the rest. See
        `Segment.nearest_photos`.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        pairs = [(segment, rows) for (segment, _), rows in zip(self._segments, self._chosen(allowed), strict=True)]
        coarse = sorted((pair for pair in pairs if pair[0].recipe.coarse), key=lambda pair: -len(pair[0]))
        flat = [pair for pair in pairs if not pair[0].recipe.coarse]
        if not coarse:
            found = [segment.nearest_photos(queries, count, rows) for segment, rows in flat]
            return [joined(lists, count) for lists in zip(*found, strict=True)]
        found = [segment.nearest_photos(queries, count, rows) for segment, rows in coarse]
        down_to = np.array([near.least for near in found[0]], np.float32)
        found[1:] = [[near.down_to(least) for near, least in zip(more, down_to, strict=True)] for more in found[1:]]
        found += [segment.nearest_photos(queries, count, rows, down_to) for segment, rows in flat]
        return [joined(lists) for lists in zip(*found, strict=True)]

    def _chosen(self, allowed: Ids | None) -> list[Selection]:
        """The allowed and living rows of each segment; what a filter chooses is kept for the next query.

        A filter's ids come from the store, which keeps them and lets nobody write to them; candidates are never kept.
        """
        if allowed is None:
            return self._living
        kept = self._last
        if kept is not None and kept[0] is allowed:
            return kept[1]
        made = [segment.select(allowed, dead) for segment, dead in self._segments]
        if not allowed.flags.writeable:
            self._last = (allowed, made)
        return made

    @cached_property
    def _living(self) -> list[Selection]:
        """The rows of each segment that still hold."""
        return [segment.select(None, dead) for segment, dead in self._segments]


def _inserted(ids: Ids, scores: Floats, more: Ids, their_scores: Floats) -> tuple[Ids, Floats]:
    """Both ascending runs of ids as one, with the rows of their scores; those that come later are mostly the larger."""
    if not len(more):
        return ids, scores
    if not len(ids) or ids[-1] < more[0]:
        return np.concatenate([ids, more]), np.concatenate([scores, their_scores])
    places = np.searchsorted(ids, more)
    return np.insert(ids, places, more), np.insert(scores, places, their_scores, axis=0)


@dataclass(frozen=True, slots=True)
class SpaceIndexes:
    """The indexes of one space as of one moment.

    Attributes:
        space_id, seq: the space and the value of its counter that this reflects.
        mark: the delta holds everything above it.
        image, region, text: the indexes.
        pending: photos in the delta, their vectors as stored.
        lost: kinds whose file could not be used and whose rows are served from the delta.
        rows: ids of the generation rows that were live.
        identity: interface, checkpoint and preprocessing of the space.
        damaged_texts: passages that are left out since their stored vectors are damaged.
    """

    space_id: int
    seq: int
    mark: int
    image: VectorIndex
    region: VectorIndex
    text: VectorIndex
    pending: Halves
    lost: tuple[Kind, ...] = ()
    rows: frozenset[int] = frozenset()
    identity: tuple[str, ...] = ()
    damaged_texts: frozenset[int] = frozenset()

    def of(self, kind: Kind) -> VectorIndex:
        """The index of this kind."""
        return {"image": self.image, "region": self.region, "text": self.text}[kind]

    @property
    def version(self) -> tuple[int, set[int]]:
        """By which a change of the catalog is noticed: the counter and the live generation rows."""
        return self.seq, set(self.rows)
