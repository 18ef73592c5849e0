"""What was forgotten for good: rows of `exclusion`, and the question whether a file is among it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Connection, delete, insert, inspect, select

from .names import real_path
from .rows import Exclusion, ExclusionKind, now
from .tables import ExclusionRow
from .writes import raise_change, table


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


def add(connection: Connection, rows: Sequence[tuple[ExclusionKind, str, str | None]]) -> None:
    """Keep exclusions: kind, stored name or sha256, and for a content the stored path where it lay."""
    for kind, name, shown in rows:
        connection.execute(delete(ExclusionRow).where(ExclusionRow.kind == kind, ExclusionRow.name == name))
        values = {"kind": kind, "name": name, "shown": shown, "made_at": now()}
        connection.execute(insert(table(ExclusionRow)).values(values))
    if rows:
        raise_change(connection)


def remove(connection: Connection, rows: Sequence[tuple[ExclusionKind, str]]) -> None:
    """Lift exclusions by kind and stored name or sha256."""
    for kind, name in rows:
        connection.execute(delete(ExclusionRow).where(ExclusionRow.kind == kind, ExclusionRow.name == name))
    if rows:
        raise_change(connection)
