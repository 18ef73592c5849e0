"""What was forgotten for good: rows of `exclusion`, and the question whether a file is among it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, delete, insert, inspect, select

from .names import real_path
from .rows import Exclusion, ExclusionKind, now
from .statements import chunks, raise_change, table
from .tables import ExclusionRow, ForgottenPixelsRow, PhotoRow, PixelsRow


@dataclass(frozen=True, slots=True)
class Exclusions:
    """All that an ingest leaves out because it was forgotten.

    Attributes:
        files, folders: paths.
        contents: by sha256, where each lay.
    """

    files: frozenset[str]
    folders: frozenset[str]
    contents: dict[str, str]

    @classmethod
    def of(cls, rows: Iterable[Exclusion]) -> Exclusions:
        """Sorts rows by kind."""
        named: dict[ExclusionKind, dict[str, str]] = {"file": {}, "folder": {}, "content": {}}
        for row in rows:
            named[row.kind][row.name] = row.shown
        return cls(frozenset(named["file"]), frozenset(named["folder"]), named["content"])

    def cover(self, path: str) -> bool:
        """Whether a file was forgotten by its path, or with a folder above it."""
        return path in self.files or self.cover_folder(os.path.dirname(path))

    def cover_folder(self, folder: str) -> bool:
        """Whether a folder was forgotten, or one above it."""
        while self.folders:
            if folder in self.folders:
                return True
            above = os.path.dirname(folder)
            if above == folder:
                break
            folder = above
        return False

    @property
    def places(self) -> frozenset[str]:
        """Where forgotten contents lay: what is there now is hashed before anything else is done with it."""
        return frozenset(self.contents.values())


def read(connection: Connection) -> list[Exclusion]:
    """Every exclusion, by kind and name; none in an older catalog, which may only be read."""
    if not inspect(connection).has_table("exclusion"):
        return []
    columns = (ExclusionRow.kind, ExclusionRow.name, ExclusionRow.shown)
    found = []
    for kind, name, shown in connection.execute(select(*columns).order_by(*columns[:2])):
        plain = name if kind == "content" else real_path(name)
        found.append(Exclusion(cast(ExclusionKind, kind), plain, plain if shown is None else real_path(shown)))
    return found


def forgotten_pixels(connection: Connection) -> frozenset[str]:
    """Hashes of the pixels of forgotten contents, as far as they are kept; none in an older catalog."""
    if not inspect(connection).has_table("forgotten_pixels"):
        return frozenset()
    return frozenset(connection.execute(select(ForgottenPixelsRow.pixels)).scalars())


def add(connection: Connection, rows: Sequence[tuple[ExclusionKind, str, str | None]]) -> None:
    """Keep exclusions: kind, stored name or sha256, and for a content the stored path where it lay."""
    distinct = {(kind, name): shown for kind, name, shown in rows}
    if distinct:
        _delete(connection, list(distinct))
        made_at = now()
        values = [
            {"kind": kind, "name": name, "shown": shown, "made_at": made_at} for (kind, name), shown in distinct.items()
        ]
        connection.execute(insert(table(ExclusionRow)), values)
        raise_change(connection)


def keep_pixels(connection: Connection, photo_ids: Sequence[int]) -> None:
    """Keep the hashes of pixels of photos that are about to be forgotten as contents; older photos have none."""
    rows: dict[str, str] = {}
    for some in chunks(photo_ids):
        found = connection.execute(
            select(PhotoRow.sha256, PixelsRow.sha256)
            .join(PixelsRow, PixelsRow.photo_id == PhotoRow.id)
            .where(PhotoRow.id.in_(some))
        )
        rows.update((content, pixels) for content, pixels in found)
    for names in chunks(list(rows)):
        connection.execute(delete(ForgottenPixelsRow).where(ForgottenPixelsRow.content.in_(names)))
    if rows:
        values = [{"content": content, "pixels": pixels} for content, pixels in rows.items()]
        connection.execute(insert(table(ForgottenPixelsRow)), values)


def remove(connection: Connection, rows: Sequence[tuple[ExclusionKind, str]]) -> None:
    """Lift exclusions by kind and stored name or sha256; the pixels of a content are lifted with it."""
    if rows:
        _delete(connection, rows)
        for contents in chunks([name for kind, name in rows if kind == "content"]):
            connection.execute(delete(ForgottenPixelsRow).where(ForgottenPixelsRow.content.in_(contents)))
        raise_change(connection)


def _delete(connection: Connection, rows: Sequence[tuple[ExclusionKind, str]]) -> None:
    by_kind: dict[ExclusionKind, list[str]] = {}
    for kind, name in rows:
        by_kind.setdefault(kind, []).append(name)
    for kind, names in by_kind.items():
        for some in chunks(names):
            connection.execute(delete(ExclusionRow).where(ExclusionRow.kind == kind, ExclusionRow.name.in_(some)))
