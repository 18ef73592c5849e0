"""Every present file of every photo, with what tells whether two photos look the same."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from ..records.duplicates import Copy
from .names import is_copy, real_path
from .tables import LocationRow, PhotoRow


@dataclass(frozen=True, slots=True)
class PhotoCopies:
    """One photo: its present files, the one that is shown first, and its perceptual hash (None: it has none)."""

    copies: tuple[Copy, ...]
    phash: int | None


def present(connection: Connection) -> list[PhotoCopies]:
    """Photos with a present file, by id."""
    rows = connection.execute(
        select(LocationRow.path, LocationRow.bytes, PhotoRow.id, PhotoRow.width, PhotoRow.height, PhotoRow.phash)
        .join(PhotoRow, PhotoRow.id == LocationRow.photo_id)
        .where(LocationRow.state == "present")
        .order_by(PhotoRow.id)
    )
    files: dict[int, list[tuple[bool, str, int]]] = {}
    facts: dict[int, tuple[int, int, int | None]] = {}
    for path, size, photo_id, width, height, phash in rows:
        files.setdefault(photo_id, []).append((is_copy(path), path, size))
        facts[photo_id] = (width, height, None if phash is None else phash % (1 << 64))
    found = []
    for photo_id, its_files in files.items():
        width, height, phash = facts[photo_id]
        copies = (Copy(photo_id, real_path(path), size, width, height) for _, path, size in sorted(its_files))
        found.append(PhotoCopies(tuple(copies), phash))
    return found
