"""The inverted lists of a coarse index in a file, mapped into memory instead of read: opening takes no time, processes
share them, and what no query looks at takes no memory. Knows FAISS and one file, no rows.

FAISS reads the lists of 4-bit product codes into memory, whatever its flags; but it searches any lists that lie as
`OnDiskInvertedLists` does. Of each list the file holds its codes, in blocks of 32 rows as FAISS packs them and as many
bytes a row as they come to, then its positions (int64). A table of all lists (rows, rows that its blocks can hold,
place in the file; three uint64 each) ends where the caller says.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .backend import load_faiss

ALIGNED = 64  # bytes, of the codes of a list
TABLE = 3  # numbers a list


def write(file: IO[bytes], index: Any) -> None:
    """Append the lists of a coarse index that is filled, and their table, which then ends at a multiple of 64 bytes."""
    faiss = load_faiss()
    held = _held(index)
    table = np.zeros((held.nlist, TABLE), np.uint64)
    file.seek(0, os.SEEK_END)
    for number in range(held.nlist):
        rows = held.list_size(number)
        blocks = -(-rows // held.n_per_block)
        file.write(b"\0" * (-file.tell() % ALIGNED))
        table[number] = rows, blocks * held.n_per_block, file.tell()
        if rows:
            file.write(faiss.rev_swig_ptr(held.get_codes(number), blocks * held.block_size))
            file.write(faiss.rev_swig_ptr(held.get_ids(number), rows))
    file.write(b"\0" * (-(file.tell() + table.nbytes) % ALIGNED))
    file.write(table.tobytes())


@contextmanager
def taken_out(index: Any) -> Iterator[None]:
    """Put empty lists in the place of those of a coarse index meanwhile."""
    faiss = load_faiss()
    lists, held = faiss.downcast_index(index.base_index), _held(index)
    empty = faiss.BlockInvertedLists(held.nlist, held.n_per_block, held.block_size)
    lists.own_invlists = False
    lists.replace_invlists(empty, False)
    try:
        yield
    finally:
        lists.replace_invlists(held, True)


def attach(index: Any, file: IO[bytes], name: str, end: int) -> None:
    """Give an index that was read with empty lists those of its file.

    Args:
        name: of the file, as FAISS can open it.
        end: where the table of the lists ends.
    Raises:
        ValueError: the table says what cannot be.
    """
    faiss = load_faiss()
    lists, empty = faiss.downcast_index(index.base_index), _held(index)
    row_bytes = empty.block_size // empty.n_per_block
    table = _table(file, lists.nlist, lists.ntotal, empty.n_per_block, row_bytes, end)
    if not hasattr(faiss, "OnDiskInvertedLists"):  # on Windows
        _read(empty, file, table)
        return
    mapped = faiss.OnDiskInvertedLists()
    mapped.nlist, mapped.code_size = lists.nlist, row_bytes
    mapped.filename, mapped.totsize, mapped.read_only, mapped.prefetch_nthread = name, end, True, 0
    mapped.lists.resize(lists.nlist)
    faiss.memcpy(mapped.lists.data(), faiss.swig_ptr(table), table.nbytes)
    mapped.do_mmap()
    lists.replace_invlists(mapped, True)
    mapped.this.disown()  # it belongs to the index now


def _held(index: Any) -> Any:
    faiss = load_faiss()
    return faiss.downcast_InvertedLists(faiss.downcast_index(index.base_index).invlists)


def _table(file: IO[bytes], lists: int, rows: int, block_rows: int, row_bytes: int, end: int) -> NDArray[np.uint64]:
    """The table of the lists, (L, 3); FAISS looks wherever it says, so that it is tried first."""
    start = end - 8 * TABLE * lists
    file.seek(start)
    table = np.frombuffer(file.read(end - start), np.uint64).reshape(lists, TABLE).copy()
    sizes, capacities, places = table.astype(np.int64).T
    past = places + capacities * row_bytes + 8 * sizes
    possible = (sizes >= 0) & (capacities == -(-sizes // block_rows) * block_rows) & (places >= 0) & (past <= start)
    if not possible.all() or int(sizes.sum()) != rows:
        raise ValueError(f"its {lists} inverted lists are said to have {int(sizes.sum())} rows, expected {rows}")
    return table


def _read(empty: Any, file: IO[bytes], table: NDArray[np.uint64]) -> None:
    """Read the lists into memory."""
    faiss = load_faiss()
    for number, (rows, capacity, place) in enumerate(table.tolist()):
        empty.resize(number, rows)
        if rows:
            file.seek(place)
            codes = np.frombuffer(file.read(capacity // empty.n_per_block * empty.block_size), np.uint8)
            faiss.memcpy(empty.get_codes(number), faiss.swig_ptr(codes), codes.nbytes)
            ids = np.frombuffer(file.read(8 * rows), np.int64)
            faiss.memcpy(empty.get_ids(number), faiss.swig_ptr(ids), ids.nbytes)
