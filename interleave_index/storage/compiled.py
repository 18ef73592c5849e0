"""The loops of `kernel`, compiled by numba when this module is imported, which takes half a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.cgutils import get_item_pointer
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from .kernel import COLUMNS

ROWS_AT_ONCE = 1024  # rows of 512 bytes that stay in the second-level cache while further queries pass over them
FETCHED_BYTES = 512  # of each row; what lies behind is in order, and read ahead anyway
PHOTOS_AHEAD = 3  # whose rows are fetched while one photo is scored
REORDERED = {"contract", "reassoc", "nsz"}  # sums may be added in any order, which lets a processor add many at once


def jitted(function: Callable[..., Any]) -> Any:
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


@intrinsic
def fetch_ahead(_context: Any, array: Any, row: Any) -> Any:
    """Have the processor fetch one row of a (n, D) array into its caches, and go on meanwhile.

    It reads ahead by itself only what lies in order; without this each jump to another photo waits for memory.
    """
    zero, line = ir.Constant(ir.IntType(64), 0), 64  # bytes

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        rows = make_array(kind)(context, builder, arguments[0])  # type: ignore[no-untyped-call]
        start = builder.bitcast(
            get_item_pointer(context, builder, kind, rows, [arguments[1], zero]),  # type: ignore[no-untyped-call]
            ir.IntType(8).as_pointer(),
        )
        hint = ir.IntType(32)
        fetch = builder.module.declare_intrinsic(
            "llvm.prefetch", [start.type], ir.FunctionType(ir.VoidType(), [start.type, hint, hint, hint])
        )
        for place in range(0, FETCHED_BYTES, line):
            there = builder.gep(start, [ir.Constant(ir.IntType(64), place)])
            builder.call(fetch, [there, *(ir.Constant(hint, value) for value in (0, 3, 1))])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, row), generate


@jitted
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
                    if group == 0 and one + PHOTOS_AHEAD < high:
                        coming = first[one + PHOTOS_AHEAD] + row - first[one]
                        if coming < past[one + PHOTOS_AHEAD]:
                            fetch_ahead(halves, coming)  # type: ignore[call-arg]
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


@jitted
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
                v0, v1 = tables[line, group], tables[line, group + 1]
                v2, v3 = tables[line, group + 2], tables[line, group + 3]
                b0 = v0 if v0 > b0 else b0  # `max` takes longer, since it heeds what is no number
                b1 = v1 if v1 > b1 else b1
                b2 = v2 if v2 > b2 else b2
                b3 = v3 if v3 > b3 else b3
            best[photo, group] = b0
            best[photo, group + 1] = b1
            best[photo, group + 2] = b2
            best[photo, group + 3] = b3
