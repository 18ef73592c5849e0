"""One immutable run of vectors: dense positions in a FAISS index, and the ids they stand for. Knows no SQL.

Every segment holds its vectors as flat fp16 codes in the order of their ids, which makes exact scoring possible
whatever the recipe; a large one has a coarse index in front of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import REGIONS_PER_PHOTO, Floats
from . import gpu, kernel
from .backend import load_faiss
from .fp16 import BLOCK_ROWS, ScanBlock, scan_codes, top, widen
from .near import Near, first_of
from .outline import LINES
from .recipes import NEARLY_ALL, ROWS_A_PHOTO, Recipe, new_index
from .rows import Ids
from .selection import Selection

MOST_ROUNDS = 3  # each asks for four times as many rows: near-equal regions of one photo crowd others out
LIST_BY_LIST = 11  # FAISS' way through product codes that takes half as long for few queries; it finds the same
FEW_QUERIES = 8
IMAGE_REACH = 2  # times as many lists of images: a photo has one row there, and a missed list loses it
SUBSET_SHARE = 16  # with at most one row in so many left, those rows are gathered and scored exactly


class Segment:
    """Vectors of one kind, sorted by id.

    Args:
        ids: (n,) int64, ascending: photo ids, or region ids for regions.
        index: the FAISS index over the same rows, its position i standing for ids[i].
        recipe: how the index was built and is to be searched.
        regions: whether ids are region ids.
        codes: (n, 2 * D) uint8, the exact codes where they are not in the index yet.
    Attributes:
        rows_beside: rows of other segments that are searched with this one: the compiled loop is loaded for all of them
            or for none.
    """

    def __init__(
        self, ids: Ids, index: Any, recipe: Recipe, *, regions: bool, codes: NDArray[np.uint8] | None = None
    ) -> None:
        faiss = load_faiss()
        self.ids, self.index, self.recipe, self.regions = ids, index, recipe, regions
        self.rows_beside = 0
        self._buried: tuple[Ids, NDArray[np.bool_]] | None = None
        if codes is not None:
            self.codes = codes
            return
        flat = faiss.downcast_index(index.refine_index) if recipe.coarse else index
        size = 2 * index.d
        if len(ids):
            self.codes = faiss.rev_swig_ptr(flat.codes.data(), len(ids) * size).reshape(-1, size)
        else:
            self.codes = np.empty((0, size), np.uint8)

    @staticmethod
    def of(ids: Ids, vectors: NDArray[np.float16], *, regions: bool) -> Segment:
        """A flat segment in memory over fp16 vectors (n, D)."""
        index = new_index(Recipe(), vectors.shape[1])
        if len(ids):
            index.add_sa_codes(np.ascontiguousarray(vectors, "<f2").view(np.uint8), None)
        return Segment(ids, index, Recipe(), regions=regions)

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

    @cached_property
    def _is_dense(self) -> bool:
        """Whether no id is left out between the first photo and the last, so that places need no search."""
        return len(self.photo_ids) == int(self.photo_ids[-1] - self.photo_ids[0]) + 1

    def select(self, allowed: Ids | None, dead: Ids) -> Selection:
        """The rows of those photos that are allowed (ascending ids; None is all) and not dead."""
        if allowed is None and not len(dead):
            return Selection(self, None, filtered=False)
        places = np.arange(len(self.photo_ids)) if allowed is None else self._places(allowed)
        if len(dead):
            places = places[~self._gone(dead)[places]]
        everything = len(places) == len(self.photo_ids)
        return Selection(self, None if everything else places, filtered=allowed is not None)

    def _gone(self, dead: Ids) -> NDArray[np.bool_]:
        """(photos,) whether each is dead; kept for the next call, for candidates are selected several times a query."""
        kept = self._buried
        if kept is None or kept[0] is not dead:
            gone = np.zeros(len(self.photo_ids), np.bool_)
            gone[self._places(dead)] = True
            self._buried = kept = (dead, gone)
        return kept[1]

    def _places(self, photo_ids: Ids) -> Ids:
        if not len(self.photo_ids):
            return np.empty(0, np.int64)
        if self._is_dense:
            places = photo_ids - self.photo_ids[0]
            return np.asarray(places[(places >= 0) & (places < len(self.photo_ids))])
        places = np.minimum(np.searchsorted(self.photo_ids, photo_ids), len(self.photo_ids) - 1)
        found: Ids = places[self.photo_ids[places] == photo_ids]
        return found

    def search(self, queries: Floats, k: int, chosen: Selection) -> tuple[Floats, Ids]:
        """The k best of the chosen rows: scores (Q, k), ids (Q, k), padded with -inf and -1."""
        if not chosen.count:
            return top(np.empty((len(queries), 0), np.float32), np.empty(0, np.int64), k)
        few = chosen.count * SUBSET_SHARE <= len(self) or (self.recipe.coarse and chosen.count <= 4 * k)
        if not chosen.everything and few:
            return self.exact(queries, k, chosen.rows)
        return self._through_faiss(queries, k, chosen)

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

    def nearest_photos(
        self, queries: Floats, count: int, chosen: Selection, down_to: Floats | None = None
    ) -> list[Near]:
        """For each query the `count` nearest of the chosen photos, by the best row of each.

        A coarse segment ranks by product codes: it gives every photo of as many rows as hold the nearest ones at its
        recall, which are more than `count`. The others are exact.

        Args:
            down_to: (Q,) of a segment without lists also every photo that has as much.
        """
        photos = len(chosen.photo_ids)
        few = not chosen.everything and (chosen.count * SUBSET_SHARE <= len(self) or photos <= 4 * count)
        flat = not self.recipe.coarse and (self._compiled or down_to is not None)
        if few or flat or self._is_on_gpu:
            ids, best = self.best(queries, chosen)
            counts = np.full(len(queries), count)
            if down_to is not None:
                counts = np.maximum(counts, (best >= down_to).sum(0))
            orders = [leading(*asked) for asked in zip(best.T, counts.tolist(), strict=True)]
            return [
                first_of(ids[order], best[order, q], all_of_them=len(order) == len(ids))
                for q, order in enumerate(orders)
            ]
        rows = count
        if self.regions:
            rows = ROWS_A_PHOTO * count
        if self.recipe.coarse:
            rows = self.recipe.photo_effort(count, chosen.share).candidates
        for _ in range(MOST_ROUNDS):
            rows = min(rows, chosen.count)
            scores, places = self._nearest_rows(queries, count, rows, chosen)
            held = (places >= 0) & chosen.holds(places)
            found = [
                self._grouped(line[there], at[there], count, photos)
                for line, at, there in zip(scores, places, held, strict=True)
            ]
            if rows == chosen.count or all(len(near.photo_ids) >= min(count, photos) for near in found):
                break
            rows *= 4
        return found

    def _nearest_rows(self, queries: Floats, count: int, rows: int, chosen: Selection) -> tuple[Floats, Ids]:
        """Scores and positions (Q, n) of at least so many rows, nearest first; -1 where no more were found.

        They are ranked by product codes if there are any. Without a filter lists give rows of dead photos too: to try
        every row takes longer than to ask for as many more as there may be dead ones.
        """
        if not self.recipe.coarse:
            parameters = self.recipe.parameters(rows, len(self), 1.0, chosen.bits)
            scores, places = self.index.search(queries, rows, params=parameters)
            return scores, places
        faiss = load_faiss()
        effort = self.recipe.photo_effort(count, chosen.share)
        given = {}
        if chosen.filtered and chosen.bits is not None:
            given["sel"] = faiss.IDSelectorBitmap(len(self), faiss.swig_ptr(chosen.bits))
        else:
            rows = min(len(self), ceil(rows / max(chosen.share, 1e-6)))
        reach = effort.nprobe if self.regions else IMAGE_REACH * effort.nprobe
        parameters = faiss.SearchParametersIVF(nprobe=min(reach, self.recipe.lists), **given)
        lists = self._lists
        lists.implem = LIST_BY_LIST if len(queries) <= FEW_QUERIES else 0
        scores, places = lists.search(queries, rows, params=parameters)
        return scores, places

    def _grouped(self, scores: Floats, places: Ids, count: int, photos: int) -> Near:
        """The first `count` different photos of some rows, in their order, and with lists all; `photos` is the most."""
        ids = self.ids[places]
        if self.regions:
            ids = ids // REGIONS_PER_PHOTO
        first = np.sort(np.unique(ids, return_index=True)[1])
        if not self.recipe.coarse:
            first = first[:count]
        return first_of(ids[first], scores[first], all_of_them=len(first) == photos)

    @property
    def _lists(self) -> Any:
        """The inverted lists of a coarse segment."""
        return load_faiss().downcast_index(self.index.base_index)

    @cached_property
    def _outline(self) -> tuple[NDArray[np.uint16], NDArray[np.float16]]:
        """The inverted list of every row (n,) and the centre of every list (L, D), of a coarse segment."""
        faiss, lists = load_faiss(), self._lists
        of_row = np.empty(len(self), np.uint16)
        inverted = lists.invlists
        for number in range(lists.nlist):
            size = inverted.list_size(number)
            if size:
                held = inverted.get_ids(number)
                of_row[faiss.rev_swig_ptr(held, size)] = number
                inverted.release_ids(number, held)
        centres = faiss.downcast_index(lists.quantizer).reconstruct_n(0, lists.nlist)
        return of_row, np.ascontiguousarray(centres, "<f2")

    @property
    def has_outline(self) -> bool:
        """Whether `list_of_row` and `centre_products` are there: it has inverted lists, and is not on a GPU."""
        return self.recipe.coarse and self.recipe.lists <= LINES and not self._is_on_gpu

    @property
    def list_of_row(self) -> NDArray[np.uint16]:
        """(n,) the inverted list of every row."""
        return self._outline[0]

    def centre_products(self, queries: Floats) -> Floats:
        """(L, Q) products of the centre of every inverted list with each query."""
        centres = self._outline[1]
        if kernel.is_there():
            # not by a matrix product: numpy's threads would go on waiting for work on the processors of these
            lines = np.arange(len(centres) + 1)
            return kernel.best_products(centres.view(np.uint8), lines[:-1], lines[1:], queries)
        return centres.astype(np.float32) @ queries.T

    def rough(self, queries: Floats, chosen: Selection) -> tuple[Ids, Floats]:
        """As `best`, with the centre of its inverted list in the place of every row; exact where there are no lists.

        It reads two bytes a row.
        """
        if not self.has_outline:
            return self.best(queries, chosen)
        of_row, tables = self.list_of_row, self.centre_products(queries)
        if kernel.is_there():
            return chosen.photo_ids, self._in_one_pass(
                lambda first, past: kernel.best_of_tables(of_row, first, past, tables), chosen
            )
        counts = chosen.past - chosen.first
        return chosen.photo_ids, np.maximum.reduceat(tables[of_row[chosen.rows]], np.cumsum(counts) - counts)

    def _through_faiss(self, queries: Floats, k: int, chosen: Selection) -> tuple[Floats, Ids]:
        parameters = self.recipe.parameters(k, len(self), chosen.share, chosen.bits)
        if self.recipe.coarse:
            self._lists.implem = LIST_BY_LIST if len(queries) <= FEW_QUERIES else 0
        scores, places = self.index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        if (places >= 0).all() and (scores[:, 1:] < scores[:, :-1]).all():  # nothing is lacking, and nothing ties
            return scores, self.ids[places]
        scores = np.where(places < 0, -np.inf, scores).astype(np.float32)
        found, names = top(scores, np.where(places < 0, -1, self.ids[np.maximum(places, 0)]), k)
        if self.recipe.coarse:  # the lists that were probed may hold fewer than k of the chosen rows
            short = np.flatnonzero((names < 0).sum(1) > max(0, k - chosen.count))
            if len(short):
                found[short], names[short] = self.exact(queries[short], k, chosen.rows)
        return found, names

    @cached_property
    def _on_gpu(self) -> gpu.DeviceCodes | None:
        """Its exact codes on the GPUs; None where there are none."""
        return gpu.held(self.codes, self.starts)

    @property
    def _is_on_gpu(self) -> bool:
        return self._on_gpu is not None and self._on_gpu.is_filled

    @property
    def _compiled(self) -> bool:
        """Whether its exact scans are compiled."""
        return len(self) + self.rows_beside >= kernel.WORTH_COMPILING and kernel.is_there()

    def best(self, queries: Floats, chosen: Selection) -> tuple[Ids, Floats]:
        """Best inner product of every chosen photo with each query, exactly: photo ids (n,), scores (n, Q)."""
        many = len(chosen.photo_ids) * SUBSET_SHARE > len(self.photo_ids)
        everyone = self._on_gpu.best(queries) if many and self._on_gpu is not None else None
        if everyone is not None:
            return chosen.photo_ids, everyone if chosen.photos is None else everyone[chosen.photos]
        if self._compiled:
            return chosen.photo_ids, self._in_one_pass(
                lambda first, past: kernel.best_products(self.codes, first, past, queries), chosen
            )
        turned = np.ascontiguousarray(queries.T)
        names, scores = [np.empty(0, np.int64)], [np.empty((0, len(queries)), np.float32)]
        for block in self.scan(chosen):
            products = block.vectors @ turned
            names.append(block.photo_ids)
            scores.append(np.maximum.reduceat(products, block.offsets[:-1]) if self.regions else products)
        return np.concatenate(names), np.concatenate(scores)

    def best_at(self, queries: Floats, chosen: Selection, places: NDArray[np.integer]) -> Floats:
        """(m, Q) what `best` gives of those of the chosen photos that stand at these positions, ascending."""
        if self._compiled and not self._is_on_gpu:
            return kernel.best_products(self.codes, chosen.first[places], chosen.past[places], queries)
        photos = np.asarray(places if chosen.photos is None else chosen.photos[places], np.int64)
        return self.best(queries, Selection(self, photos, filtered=True))[1]

    def _in_one_pass(self, score: Callable[[Ids, Ids], Floats], chosen: Selection) -> Floats:
        """What a compiled scan gives of the chosen photos.

        Where nearly all are chosen all are scored: memory is read ahead in order, so that to pass over a row takes
        several times as long as to score it.

        Args:
            score: gives (n, Q) float32 of photos by where the rows of each begin and end.
        """
        if chosen.photos is None or chosen.share < NEARLY_ALL:
            return score(chosen.first, chosen.past)
        every = score(self.starts[:-1], self.starts[1:])
        return every.T.take(chosen.photos, axis=1, mode="clip").T  # which does not try each position

    def scan(self, chosen: Selection) -> Iterator[ScanBlock]:
        """The vectors of the chosen photos, in blocks, photo ids ascending."""
        yield from scan_codes(self.codes, self.photo_ids, self.starts, chosen.photos)


def leading(scores: Floats, count: int) -> Ids:
    """Positions of the `count` largest of (n,) scores, largest first.

    >>> leading(np.array([1, 3, 2], np.float32), 2).tolist()
    [1, 2]
    """
    if count < len(scores):
        best = np.argpartition(-scores, count - 1)[:count]
        return np.asarray(best[np.argsort(-scores[best], kind="stable")])
    return np.argsort(-scores, kind="stable")
