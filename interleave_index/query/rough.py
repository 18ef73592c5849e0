"""The best photos of a library by rough scores: the whole formula, with lines of tables in the place of vectors.

Every allowed photo is scored with the centre of its inverted list in the place of each vector (`storage.outline`), in
runs that threads share. What the best score about is told by a sample of them, so that only those are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..records import Floats
from ..storage import kernel
from ..storage.outline import Places, Run, without_regions
from .candidates import Ids, asked_of_images, asked_of_regions, joined_cosines, whole_parts
from .score import NO_EVIDENCE, ScoringQuery, totals

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes

NONE = np.empty(0, np.float32)
IMAGES_EXACT = 13  # times as many as are wanted get their exact image scores
IMAGES_KNOWN = 2  # times as many are kept where these are exact already
SAMPLED = 64  # every so manieth photo tells what the best score
AT_A_TIME, FEWEST_TAKEN = 1 << 17, 1 << 13  # photos that a thread takes at most, and at least
BLOCK = 1 << 15  # photos whose arrays stay in the cache of a processor


class Kept(NamedTuple):
    """Photos that reached a bar: their positions (m,), rough scores (m,), and best products of regions (m, P)."""

    places: Places
    scores: Floats
    best: Floats


class RoughlyBest(NamedTuple):
    """Photos that are the best by rough scores.

    Attributes:
        photo_ids: (m,) ascending.
        scores: (m,) float32, rough.
        images: (m, 1 + P + W) exact cosines of their images, as `image_cosines` gives them; None where they are not
            known.
    """

    photo_ids: Ids
    scores: Floats
    images: Floats | None


def best_by_rough_scores(
    indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, count: int, added: Callable[[Ids], Floats]
) -> RoughlyBest:
    """The `count` best of the allowed photos by rough scores.

    All are scored by rough cosines, then the best again by the exact ones of their images. Of the ten best of a million
    photos, asked by two regions without a third, 99 % are among the first 156,000 by the former and, of these, among
    the first 12,000 by the latter; of those that are lost, nearly all are beyond the first bound.
    """
    outline = indexes.image.outline(allowed)
    ids = outline.photo_ids
    if len(ids) <= count:
        return RoughlyBest(ids, np.zeros(len(ids), np.float32), None)
    scored = RoughPass(indexes, query, allowed, added(ids))
    kept = scored.best((IMAGES_KNOWN if indexes.image.is_exact else IMAGES_EXACT) * count, count)
    scores, images = kept.scores, None
    if not indexes.image.is_exact:
        images = outline.exact(asked_of_images(query), kept.places)
        scores = many_totals(query, images, kept.best) + scored.beside[kept.places]
    best = np.sort(np.argpartition(scores, len(scores) - count)[-count:])
    if images is not None:
        images = images.T.take(best, axis=1).T
    return RoughlyBest(ids[kept.places[best]], scores[best], images)


class RoughPass:
    """One query's look at every allowed photo.

    Args:
        beside: (n,) what is added to the score of each, in the order of their ids.
    """

    def __init__(self, indexes: SpaceIndexes, query: ScoringQuery, allowed: Ids | None, beside: Floats) -> None:
        images, parts = indexes.image.outline(allowed), asked_of_regions(query)
        self._query, self._columns, self.beside = query, len(parts), beside
        self._lines, self._images = images.lines(asked_of_images(query))
        if len(parts):
            padded = np.zeros((kernel.columns(len(parts)), parts.shape[1]), np.float32)
            padded[: len(parts)] = parts
            self._runs = indexes.region.outline(allowed).runs(padded, images.photo_ids)
        else:
            self._runs = [without_regions(len(images.photo_ids))]

    def best(self, wanted: int, least: int) -> Kept:
        """About so many of the best, positions ascending; no fewer than `least` of them."""
        sample = np.concatenate([kept.scores for kept in self.above(-np.inf, SAMPLED)])
        place = len(sample) - wanted // SAMPLED
        bar = float(np.partition(sample, place)[place]) if 0 < place < len(sample) else -np.inf
        kept = joined(self.above(bar))
        return kept if len(kept.places) >= least else joined(self.above(-np.inf))

    def above(self, bar: float, step: int = 1) -> list[Kept]:
        """Those of every `step`-th photo that reach the bar, by blocks."""
        size = AT_A_TIME if kernel.is_there() else BLOCK
        blocks = []
        for run in self._runs:
            places = np.ascontiguousarray(run.places[::step])
            first, past = np.ascontiguousarray(run.first[::step]), np.ascontiguousarray(run.past[::step])
            taken = min(size, max(FEWEST_TAKEN, len(places) // 8))
            for start in range(0, len(places), taken):
                rows = slice(start, start + taken)
                blocks.append(run._replace(places=places[rows], first=first[rows], past=past[rows]))
        keep = self._compiled() if kernel.is_there() else self._by_numpy
        return kernel.in_threads(lambda number: keep(blocks[number], bar), range(len(blocks)))

    def _by_numpy(self, run: Run, bar: float) -> Kept:
        best = _best_of_lines(run)[:, : self._columns]
        cosines = joined_cosines(self._query, self._images[self._lines[run.places]], best)
        scores = totals(cosines, self._query)[0] + self.beside[run.places]
        kept = np.flatnonzero(scores >= bar)
        return Kept(run.places[kept], scores[kept], best[kept])

    def _compiled(self) -> Callable[[Run, float], Kept]:
        from .fused import keep_above

        query, entities = self._query, self._query.entities
        gains = np.float32(query.entity_weight) * entities.weights / entities.weights.sum() if len(entities) else NONE
        whole = np.full(self._columns, -1)
        whole[whole_parts(query)] = 1 + self._columns + np.arange(len(whole_parts(query)))
        negatives = np.column_stack([query.penalties, query.slopes, query.middles])
        own_images = 1 + len(entities) + np.arange(len(query.negatives))
        formula = (gains.astype(np.float32), whole, negatives.astype(np.float32), own_images, np.float32(query.offset))

        def keep(run: Run, bar: float) -> Kept:
            photos = len(run.places)
            places, scores = np.empty(photos, np.int32), np.empty(photos, np.float32)
            best = np.empty((photos, self._columns), np.float32)
            tables = np.ascontiguousarray(run.table.reshape(len(run.table), -1, kernel.COLUMNS).swapaxes(0, 1))
            of_run = (run.places, run.lines, run.first, run.past, tables, self.beside)
            given = (self._lines, self._images, *of_run, *formula, np.float32(bar))
            count = keep_above(*given, places, scores, best)
            return Kept(places[:count], scores[:count], best[:count])

        return keep


def _best_of_lines(run: Run) -> Floats:
    """(m, Q) largest entry of each column of the table among the lines of each photo; -inf for one without rows."""
    counts = run.past - run.first
    best = np.full((len(counts), run.table.shape[1]), NO_EVIDENCE, np.float32)
    filled = np.flatnonzero(counts)
    if len(filled) and best.shape[1]:
        counts = counts[filled]
        starts = np.cumsum(counts) - counts
        rows = np.repeat(run.first[filled] - starts, counts) + np.arange(int(counts.sum()))
        best[filled] = np.maximum.reduceat(run.table[run.lines[rows]], starts)
    return best


def joined(some: list[Kept]) -> Kept:
    """All of them, by position."""
    places = np.concatenate([kept.places for kept in some])
    scores, best = np.concatenate([kept.scores for kept in some]), np.concatenate([kept.best for kept in some])
    if (np.diff(places) > 0).all():
        return Kept(places, scores, best)
    order = np.argsort(places, kind="stable")
    return Kept(places[order], scores[order], best[order])


def many_totals(query: ScoringQuery, images: Floats, regions: Floats) -> Floats:
    """`totals` of many photos, in blocks that stay in the cache and that threads share."""
    scores = np.empty(len(images), np.float32)

    def fill(start: int) -> None:
        rows = slice(start, start + BLOCK)
        scores[rows] = totals(joined_cosines(query, images[rows], regions[rows]), query)[0]

    kernel.in_threads(fill, range(0, len(images), BLOCK))
    return scores
