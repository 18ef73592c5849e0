"""The loop of `kernel`, compiled by numba when this module is imported, which takes half a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

COLUMNS = 4  # queries in one pass: as many sums as stay in registers
ROWS_AT_ONCE = 1024  # rows of 512 bytes that stay in the second-level cache while further queries pass over them
REORDERED = {"contract", "reassoc", "nsz"}  # sums may be added in any order, which lets a processor add many at once


def _jit(function: Callable[..., None]) -> Any:
    """The function compiled, and kept on disk where numba finds a folder that may be written."""
    try:
        return njit(fastmath=REORDERED, nogil=True, cache=True)(function)
    except RuntimeError:  # there is none
        return njit(fastmath=REORDERED, nogil=True)(function)


@intrinsic
def widened(_context: Any, _bits: Any) -> Any:
    """The float of a half's bits: one conversion instruction, which the loop below does for 8 or 16 at once."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.int16), generate


@_jit
def best_of_photos(halves: Any, first: Any, past: Any, queries: Any, best: Any, low: int, high: int) -> None:
    """Fill `best` for the photos `low` to `high`.

    Args:
        halves: (n, D) int16, the bits of fp16 rows.
        first, past: (N,) int64, where each photo's rows begin and end.
        queries: (Q, D) float32, Q a multiple of `COLUMNS`.
        best: (N, Q) float32, the best product of each photo with each query; -inf for a photo without rows.
    """
    dim = queries.shape[1]
    photo = low
    while photo < high:
        end, rows = photo, 0
        while end < high and (rows == 0 or rows + past[end] - first[end] <= ROWS_AT_ONCE):
            rows += past[end] - first[end]
            end += 1
        for group in range(0, len(queries), COLUMNS):
            q0, q1, q2, q3 = queries[group], queries[group + 1], queries[group + 2], queries[group + 3]
            for one in range(photo, end):
                b0 = b1 = b2 = b3 = np.float32(-np.inf)
                for row in range(first[one], past[one]):
                    s0 = s1 = s2 = s3 = np.float32(0)
                    for d in range(dim):
                        value: Any = widened(halves[row, d])  # type: ignore[call-arg]
                        s0 += value * q0[d]
                        s1 += value * q1[d]
                        s2 += value * q2[d]
                        s3 += value * q3[d]
                    b0, b1, b2, b3 = max(b0, s0), max(b1, s1), max(b2, s2), max(b3, s3)
                best[one, group] = b0
                best[one, group + 1] = b1
                best[one, group + 2] = b2
                best[one, group + 3] = b3
        photo = end


@_jit
def best_of_tables(lists: Any, first: Any, past: Any, tables: Any, best: Any, low: int, high: int) -> None:
    """Fill `best` for the photos `low` to `high` with the largest table entries of their rows.

    Args:
        lists: (n,) uint16, by row the line of the tables.
        first, past: (N,) int64, where each photo's rows begin and end.
        tables: (L, Q) float32, Q a multiple of `COLUMNS`.
        best: (N, Q) float32.
    """
    for group in range(0, tables.shape[1], COLUMNS):
        for photo in range(low, high):
            b0 = b1 = b2 = b3 = np.float32(-np.inf)
            for row in range(first[photo], past[photo]):
                line = lists[row]
                b0 = max(b0, tables[line, group])
                b1 = max(b1, tables[line, group + 1])
                b2 = max(b2, tables[line, group + 2])
                b3 = max(b3, tables[line, group + 3])
            best[photo, group] = b0
            best[photo, group + 1] = b1
            best[photo, group + 2] = b2
            best[photo, group + 3] = b3
