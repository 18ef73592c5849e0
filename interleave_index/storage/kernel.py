"""The exact inner products of many stored vectors in one pass over their codes, by a loop that numba compiles.

A half is widened by the processor's own instruction as it is read, multiplied with up to four queries at once, and the
best product of each photo is kept: nothing is written but the answer, so that a scan takes little longer than reading
the codes. A scan is cut into runs of photos, which threads share; the compiled code holds no lock of Python.

numba takes half a second to load and to compile, so that small collections go through `fp16.widen` instead, and all of
them do where it is not installed (extra `cpu`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .rows import Ids

T = TypeVar("T")
COLUMNS = 4  # queries in one pass: as many sums as stay in registers
WORTH_COMPILING = 100_000  # rows of a collection from which the compiled loop is used
WORTH_THREADS = 5_000  # rows of one scan


@cache
def is_there() -> bool:
    """Whether numba is installed and halves lie in memory as this processor reads them."""
    return sys.byteorder == "little" and find_spec("numba") is not None


def best_products(codes: NDArray[np.uint8], first: Ids, past: Ids, queries: Floats) -> Floats:
    """For every photo its best inner product with each query.

    Args:
        codes: (n, 2 * D) uint8, rows of little-endian fp16.
        first, past: (N,) int64, where the rows of each photo begin and end.
        queries: (Q, D) float32.
    Returns:
        (N, Q) float32.
    """
    from .compiled import best_of_photos

    padded = np.zeros((columns(len(queries)), codes.shape[1] // 2), np.float32)
    padded[: len(queries)] = queries
    halves, rows, photos = codes.view("<i2"), int((past - first).sum()), len(first)

    def loop(best: Floats, low: int, high: int) -> None:
        best_of_photos(halves, first, past, padded, best, low, high)

    return _over_photos(loop, rows, photos, len(padded))[:, : len(queries)]


def best_of_tables(lists: NDArray[np.uint16], first: Ids, past: Ids, tables: Floats) -> Floats:
    """For every photo the largest entry of each table among its rows' lines.

    Args:
        lists: (n,) uint16, by row the line of the tables.
        first, past: as above.
        tables: (L, Q) float32.
    Returns:
        (N, Q) float32.
    """
    from .compiled import best_of_tables as best_of_lines

    queries = tables.shape[1]
    padded = np.zeros((len(tables), columns(queries)), np.float32)
    padded[:, :queries] = tables

    def loop(best: Floats, low: int, high: int) -> None:
        best_of_lines(lists, first, past, padded, best, low, high)

    return _over_photos(loop, int((past - first).sum()), len(first), padded.shape[1])[:, :queries]


def _over_photos(loop: Callable[[Floats, int, int], None], rows: int, photos: int, queries: int) -> Floats:
    """What a compiled loop finds for so many photos, in runs that threads share where there is much to do."""
    best = np.empty((queries, photos), np.float32).T  # what is done with the scores of each query is done in order
    if rows < WORTH_THREADS:
        loop(best, 0, photos)
        return best
    step = max(1, -(-photos // (4 * _threads())))
    in_threads(lambda start: loop(best, start, min(start + step, photos)), range(0, photos, step))
    return best


def columns(queries: int) -> int:
    """Columns that a compiled loop takes for so many queries."""
    return -(-queries // COLUMNS) * COLUMNS


def in_threads(run: Callable[[int], T], starts: Iterable[int]) -> list[T]:
    """Have the threads of the exact scan share runs of work that hold no lock of Python; what each gives, in order."""
    return [done.result() for done in [_pool().submit(run, start) for start in starts]]


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), "exact scan")
