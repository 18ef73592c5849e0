"""FAISS files on disk: writing one so that no crash can leave half of it, opening one, telling a damaged one.

A file is what FAISS writes, with inverted lists that are empty; then the lists (`mapped_lists`); then the ids of the
positions (int64, ascending, at a multiple of 64 bytes), then a footer of 64 bytes. Codes, lists and ids are mapped into
memory. Older files (`FIRST_MAGIC`) have their lists inside of what FAISS wrote, which reads them into memory. Knows no
SQL.
"""

from __future__ import annotations

import os
import shutil
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np

from ..errors import IndexDamaged
from ..regular import sha256_of
from . import checked as checked_files
from . import mapped_lists
from .backend import load_faiss
from .recipes import Recipe, flat_head, new_index
from .rows import Ids
from .segment import Segment

Kind = Literal["image", "region", "text"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PHOTO_KINDS: tuple[Kind, ...] = ("image", "region")  # both are made from the encodings of photos
# magic, kind, space, dim, rows, mark, where the ids begin, bytes of all, after (0 in the first form)
FOOTER = struct.Struct("<8sIIqqqqqq")
FIRST_MAGIC, MAGIC = b"IIFAISS1", b"IIFAISS2"
TEMPORARY = ".part"
CHECKED_BYTES = 1 << 30
K_FACTOR_BYTES = 4  # what FAISS writes of a refined index after its exact part: one float


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of `generation`: a FAISS file and what it must hold.

    Attributes:
        after, mark: the file holds what was encoded with ``after < seq <= mark``. In the catalog `after` is the mark of
            the file before it.
        rows: photos, regions or passages in it.
    """

    id: int
    space_id: int
    kind: Kind
    file: str
    sha256: str
    bytes: int
    rows: int
    mark: int
    dim: int
    recipe: Recipe
    after: int = 0


def write_file(folder: Path, made: Generation, ids: Ids, codes: IO[bytes], lists: Any = None) -> Generation:
    """Write an index and its ids to a new file of the folder, all of it or nothing.

    Args:
        made: what the file holds; its file, sha256 and bytes are filled in.
        codes: open at its start, fp16 codes of all rows.
        lists: an index of a coarse recipe whose lists are filled and whose exact part is empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{uuid.uuid4().hex}{TEMPORARY}"
    try:
        with temporary.open("wb+") as file:
            after_codes = b"" if lists is None else _write_lists(temporary, file, lists, len(ids), made.dim)
            file.write(flat_head(len(ids), made.dim))
            shutil.copyfileobj(codes, file, 1 << 20)
            file.write(after_codes)
            if lists is not None:
                mapped_lists.write(file, lists)
            _finish(file, made, ids)
            file.flush()
            os.fsync(file.fileno())
        size, digest = temporary.stat().st_size, sha256_of(temporary)
        name = f"{made.kind}-{made.space_id}-{made.mark}-{uuid.uuid4().hex[:12]}.faiss"
        publish(temporary, folder / name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return replace(made, file=name, sha256=digest, bytes=size, rows=len(ids))


def _write_lists(path: Path, file: IO[bytes], index: Any, rows: int, dim: int) -> bytes:
    """Write the part of an index that stands before its exact codes, and return what stands after them.

    FAISS writes the whole with lists and an exact part that are empty; the caller writes both where they belong.
    """
    index.ntotal = rows
    with mapped_lists.taken_out(index), _name_for_faiss(path, file.fileno()) as name:
        load_faiss().write_index(index, name)
    empty = len(load_faiss().serialize_index(new_index(Recipe(), dim)))
    file.seek(-K_FACTOR_BYTES, os.SEEK_END)
    after_codes = file.read()
    file.seek(-K_FACTOR_BYTES - empty, os.SEEK_END)
    file.truncate()
    return after_codes


def _finish(file: Any, made: Generation, ids: Ids) -> None:
    file.write(b"\0" * (-file.seek(0, os.SEEK_END) % 64))
    start = file.tell()
    file.write(np.ascontiguousarray(ids, "<i8").tobytes())
    file.write(b"\0" * (-file.tell() % 64))
    size = file.tell() + FOOTER.size
    facts = (made.space_id, made.dim, len(ids), made.mark, start, size, made.after)
    file.write(FOOTER.pack(MAGIC, KINDS.index(made.kind), *facts))


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name, lastingly."""
    os.replace(temporary, final)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_whole(thumbnail: Path) -> bool:
    """Whether a file begins and ends as a JPEG does; FileNotFoundError when there is none."""
    with thumbnail.open("rb") as file:
        begins = file.read(2) == b"\xff\xd8"
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2))
        return begins and file.read(2) == b"\xff\xd9"


def open_file(folder: Path, row: Generation, *, checked: bool = True, remember: bool = False) -> Segment:
    """Open a generation's file, mapped into memory, once its size, footer and checksum are those of its row.

    Args:
        checked: compare the checksum, of files up to `CHECKED_BYTES`: reading a larger one through would make every
            command wait, so that only `verify` does it. A file that was found right before, and has not been touched
            since, is not read again; see `checked`.
        remember: keep that the file was found right, which writes to the folder.
    Raises:
        IndexDamaged: the file is gone, short, changed, or of something else than its row says.
    """
    path = folder / row.file
    try:
        if checked and row.bytes <= CHECKED_BYTES:
            _compare(path, row.sha256, remember=remember)
        magic, start = _footer(path, row)
        ids = np.memmap(path, "<i8", "r", start, (row.rows,)) if row.rows else np.empty(0, np.int64)
        index = _read_index(path, start if row.recipe.coarse and magic != FIRST_MAGIC else None)
    except (OSError, RuntimeError, ValueError, struct.error) as error:
        raise IndexDamaged(
            f"FAISS file {path} cannot be used ({error}); `interleave-index optimize` rebuilds it"
        ) from error
    if (index.ntotal, index.d) != (row.rows, row.dim):
        raise IndexDamaged(
            f"FAISS file {path} holds {index.ntotal} rows of {index.d}, expected {row.rows} of "
            f"{row.dim}; `interleave-index optimize` rebuilds it"
        )
    return Segment(np.asarray(ids), index, row.recipe, regions=row.kind == "region")


def open_trained(folder: Path, row: Generation) -> Any | None:
    """An index with the trained lists of a generation's file, and no rows; None where it has none that can be used."""
    path = folder / row.file
    if not row.recipe.coarse:
        return None
    try:
        magic, _ = _footer(path, row)
        if magic == FIRST_MAGIC:
            return None  # FAISS would read all of its lists
        whole = _read_index(path, None)
    except (OSError, RuntimeError, ValueError, struct.error):
        return None
    faiss = load_faiss()
    lists, flat = faiss.clone_index(whole.base_index), new_index(Recipe(), row.dim)
    lists.reset()
    index = faiss.IndexRefine(lists, flat)
    index.own_fields = index.own_refine_index = True
    lists.this.disown()  # they belong to the index now
    flat.this.disown()
    return index


def _compare(path: Path, sha256: str, *, remember: bool) -> None:
    state = checked_files.state_of(path)
    if checked_files.is_checked(path, sha256, state):
        return
    if sha256_of(path) != sha256:
        raise ValueError("its checksum is not the one that it was written with")
    if remember:
        checked_files.remember(path, sha256, state)


def is_as_written(folder: Path, row: Generation, *, anew: bool = False) -> bool:
    """Whether a generation's file has the checksum that it was written with.

    All of it is read, unless it was found right before and not touched since; `anew` reads it whatever was found.
    """
    try:
        if anew:
            return sha256_of(folder / row.file) == row.sha256
        _compare(folder / row.file, row.sha256, remember=True)
        _footer(folder / row.file, row)
    except (OSError, ValueError, struct.error):
        return False
    return True


def looks_right(folder: Path, row: Generation) -> bool:
    """Whether a generation's file is there, of the right size and with the right footer; loads no FAISS."""
    try:
        _footer(folder / row.file, row)
    except (OSError, ValueError, struct.error):
        return False
    return True


def _footer(path: Path, row: Generation) -> tuple[bytes, int]:
    """The form of a file, and where its ids begin; ValueError where it is not what its row says."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size != row.bytes:
            raise ValueError(f"{size} bytes, expected {row.bytes}")
        file.seek(size - FOOTER.size)
        magic, kind, space, dim, rows, mark, start, said, after = FOOTER.unpack(file.read(FOOTER.size))
    found = (kind, space, dim, rows, mark, said, after)
    expected = (KINDS.index(row.kind), row.space_id, row.dim, row.rows, row.mark, row.bytes, row.after)
    if magic not in (FIRST_MAGIC, MAGIC) or found != expected:
        raise ValueError(f"footer says {magic!r} {found}, expected {MAGIC!r} {expected}")
    return magic, int(start)


def _read_index(path: Path, lists_end: int | None) -> Any:
    """The index of a file; `lists_end` is where its mapped lists end, None where it has none."""
    faiss = load_faiss()
    with path.open("rb") as file, _name_for_faiss(path, file.fileno()) as name:
        index = faiss.read_index(name, faiss.IO_FLAG_MMAP_IFC)
        if lists_end is not None:
            mapped_lists.attach(index, file, name, lists_end)
        return index


@contextmanager
def _name_for_faiss(path: Path, descriptor: int) -> Iterator[str]:
    """A name of the file that FAISS can open: it takes UTF-8 only, so that other names go by their descriptor."""
    try:
        os.fspath(path).encode("utf-8")
        yield os.fspath(path)
    except UnicodeEncodeError:
        yield f"/proc/self/fd/{descriptor}"
