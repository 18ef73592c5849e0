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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .rows import Ids

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
    from .compiled import COLUMNS, best_of_photos

    padded = np.zeros((-(-len(queries) // COLUMNS) * COLUMNS, codes.shape[1] // 2), np.float32)
    padded[: len(queries)] = queries
    return _over_photos(best_of_photos, codes.view("<i2"), first, past, padded, len(padded))[:, : len(queries)]


def best_of_tables(lists: NDArray[np.uint16], first: Ids, past: Ids, tables: Floats) -> Floats:
    """For every photo the largest entry of each table among its rows' lines.

    Args:
        lists: (n,) uint16, by row the line of the tables.
        first, past: as above.
        tables: (L, Q) float32.
    Returns:
        (N, Q) float32.
    """
    from .compiled import COLUMNS, best_of_tables

    queries = tables.shape[1]
    padded = np.zeros((len(tables), -(-queries // COLUMNS) * COLUMNS), np.float32)
    padded[:, :queries] = tables
    return _over_photos(best_of_tables, lists, first, past, padded, padded.shape[1])[:, :queries]


def _over_photos(
    loop: Callable[..., None], rows: NDArray[Any], first: Ids, past: Ids, asked: Floats, columns: int
) -> Floats:
    """What a compiled loop finds for the photos, in runs that threads share where there is much to do."""
    count = len(first)
    best = np.empty((columns, count), np.float32).T  # what is done with the scores of each query is done in order
    if int((past - first).sum()) < WORTH_THREADS:
        loop(rows, first, past, asked, best, 0, count)
        return best
    step = max(1, -(-count // (4 * _threads())))
    in_threads(
        lambda start: loop(rows, first, past, asked, best, start, min(start + step, count)), range(0, count, step)
    )
    return best


def in_threads(run: Callable[[int], None], starts: Iterable[int]) -> None:
    """Have the threads of the exact scan share runs of work that hold no lock of Python, and wait for all."""
    for done in [_pool().submit(run, start) for start in starts]:
        done.result()


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), "exact scan")
