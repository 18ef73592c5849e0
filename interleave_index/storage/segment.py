"""One immutable run of vectors: dense positions in a FAISS index, and the ids they stand for. Knows no SQL.

Every segment holds its vectors as flat fp16 codes in the order of their ids, which makes exact scoring possible
whatever the recipe; a large one has a coarse index in front of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import REGIONS_PER_PHOTO, Floats
from .backend import load_faiss
from .halves import BLOCK_ROWS, ScanBlock, scan_codes, top, widen
from .recipes import FLAT, Recipe
from .rows import Ids

SUBSET_SHARE = 16  # with at most one row in so many left, those rows are gathered and scored exactly


class Segment:
    """Vectors of one kind, sorted by id.

    Args:
        ids: (n,) int64, ascending: photo ids, or region ids for regions.
        index: the FAISS index over the same rows, its position i standing for ids[i].
        recipe: how the index was built and is to be searched.
        regions: whether ids are region ids.
    """

    def __init__(self, ids: Ids, index: Any, recipe: Recipe, *, regions: bool) -> None:
        faiss = load_faiss()
        self.ids, self.index, self.recipe, self.regions = ids, index, recipe, regions
        flat = faiss.downcast_index(index.refine_index) if recipe.coarse else index
        size = 2 * index.d
        if len(ids):
            self.codes: NDArray[np.uint8] = faiss.rev_swig_ptr(flat.codes.data(), len(ids) * size).reshape(-1, size)
        else:
            self.codes = np.empty((0, size), np.uint8)

    @staticmethod
    def of(ids: Ids, vectors: NDArray[np.float16], *, regions: bool) -> Segment:
        """A flat segment in memory over fp16 vectors (n, D)."""
        faiss = load_faiss()
        index = faiss.IndexScalarQuantizer(vectors.shape[1], faiss.ScalarQuantizer.QT_fp16,
                                           faiss.METRIC_INNER_PRODUCT)
        if len(ids):
            index.add_sa_codes(np.ascontiguousarray(vectors, "<f2").view(np.uint8), None)
        return Segment(ids, index, Recipe(FLAT), regions=regions)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def starts(self) -> Ids:
        """(photos + 1,) first row of each photo, and the number of rows."""
        if not self.regions:
            return np.arange(len(self.ids) + 1)
        change = np.flatnonzero(np.diff(self.ids // REGIONS_PER_PHOTO)) + 1
        first = [0] if len(self.ids) else []
        return np.concatenate([first, change, [len(self.ids)]]).astype(np.int64)

    @cached_property
    def photo_ids(self) -> Ids:
        """Photos with at least one row here, ascending."""
        return np.asarray(self.ids[self.starts[:-1]] // REGIONS_PER_PHOTO if self.regions else self.ids, np.int64)

    def photos(self, allowed: Ids | None, dead: Ids) -> Ids | None:
        """Positions among `photo_ids` that are allowed and not dead, ascending; None when that is all of them."""
        if allowed is None and not len(dead):
            return None
        keep = np.full(len(self.photo_ids), allowed is None)
        if allowed is not None:
            keep[self._places(allowed)] = True
        keep[self._places(dead)] = False
        return None if keep.all() else np.flatnonzero(keep)

    def _places(self, photo_ids: Ids) -> Ids:
        if not len(self.photo_ids):
            return np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(self.photo_ids, photo_ids), len(self.photo_ids) - 1)
        found: Ids = places[self.photo_ids[places] == photo_ids]
        return found

    def rows_of(self, photos: Ids) -> NDArray[np.bool_]:
        """(n,) bool, True for the rows of the photos at these positions."""
        marked = np.zeros(len(self.photo_ids), np.bool_)
        marked[photos] = True
        return np.repeat(marked, np.diff(self.starts)) if self.regions else marked

    def search(self, queries: Floats, k: int, photos: Ids | None) -> tuple[Floats, Ids]:
        """The k best rows of the photos at these positions (None is all): scores (Q, k), ids (Q, k), padded."""
        if not len(self) or (photos is not None and not len(photos)):
            return top(np.empty((len(queries), 0), np.float32), np.empty(0, np.int64), k)
        if photos is None:
            return self._through_faiss(queries, k, None)
        rows = self.rows_of(photos)
        left = int(np.count_nonzero(rows))
        if left * SUBSET_SHARE <= len(self) or (self.recipe.coarse and left <= 4 * k):
            return self.exact(queries, k, np.flatnonzero(rows))
        return self._through_faiss(queries, k, rows)

    def exact(self, queries: Floats, k: int, rows: Ids) -> tuple[Floats, Ids]:
        """Brute force over these rows (ascending)."""
        best, names = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        buffer = np.empty((min(BLOCK_ROWS, len(rows)), queries.shape[1]), np.float32)
        for start in range(0, len(rows), BLOCK_ROWS):
            some = rows[start : start + BLOCK_ROWS]
            scores = queries @ widen(self.codes[some], buffer).T
            ids = np.broadcast_to(self.ids[some], scores.shape)
            best, names = top(np.hstack([best, scores]), np.hstack([names, ids]), k)
        return top(best, names, k)

    def _through_faiss(self, queries: Floats, k: int, rows: NDArray[np.bool_] | None) -> tuple[Floats, Ids]:
        share = 1.0 if rows is None else float(np.count_nonzero(rows)) / len(rows)
        bits = None if rows is None else np.packbits(rows, bitorder="little")
        parameters = self.recipe.parameters(k, len(self), share, bits)
        # A narrow pool of equals at the k-th place is cut by chance; the caller sees ties by id within what is found.
        scores, places = self.index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        scores = np.where(places < 0, -np.inf, scores).astype(np.float32)
        found, names = top(scores, np.where(places < 0, -1, self.ids[np.maximum(places, 0)]), k)
        if self.recipe.coarse:
            left = len(self) if rows is None else int(np.count_nonzero(rows))
            short = np.flatnonzero((names < 0).sum(1) > max(0, k - left))
            if len(short):  # the lists that were probed held too little
                every = np.arange(len(self)) if rows is None else np.flatnonzero(rows)
                found[short], names[short] = self.exact(queries[short], k, every)
        return found, names

    def scan(self, photos: Ids | None) -> Iterator[ScanBlock]:
        """The vectors of the photos at these positions (None is all), in blocks, photo ids ascending."""
        yield from scan_codes(self.codes, self.photo_ids, self.starts, photos)
