"""Pieces that statements of every kind are made of, on a connection inside a transaction. Knows no photo facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, insert, or_, select, update

from ..errors import NotInIndex
from .names import folder_range
from .tables import CatalogRow, DocumentRow, GenerationFolderRow, GenerationRow, LocationRow, SpaceTable

T = TypeVar("T")
CHUNK = 500  # values in one IN list


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """The values in runs of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


def table(model: type[Any]) -> Table:
    """The Core table of a model; bulk statements go past the ORM."""
    found: Table = model.__table__
    return found


def raise_change(connection: Connection) -> None:
    """Tell every cache that the catalog has changed; part of each writing transaction."""
    connection.execute(update(CatalogRow).values(change=CatalogRow.change + 1))


def raise_seq(connection: Connection, space_id: int, by: int) -> int:
    """Raise the counter of a space and return its first new value; the row lock orders the commits."""
    connection.execute(update(SpaceTable).where(SpaceTable.id == space_id).values(seq=SpaceTable.seq + by))
    now = connection.execute(select(SpaceTable.seq).where(SpaceTable.id == space_id)).scalar()
    if now is None:
        raise NotInIndex(f"space {space_id} is not in the catalog; ensure_space makes one")
    return int(now) - by + 1


def folder_key(connection: Connection) -> str | None:
    """The key of the index folder of the connection; None for a catalog in SQLite, which has one folder only."""
    place = connection.get_execution_options().get("interleave_folder")
    return None if place is None else str(place[0])


def in_this_folder(connection: Connection) -> list[Any]:
    """SQL conditions: the file of the generation lies in the index folder of the connection.

    None at all for a catalog in SQLite, which has one folder only.
    """
    key = folder_key(connection)
    if key is None:
        return []
    here = select(GenerationFolderRow.generation_id).where(GenerationFolderRow.folder == key)
    return [GenerationRow.id.in_(here)]


def put_in_this_folder(connection: Connection, generation_id: int) -> None:
    """Keep that the file of a new generation lies in the index folder of the connection."""
    place = connection.get_execution_options().get("interleave_folder")
    if place is not None:
        values = {"generation_id": generation_id, "folder": place[0], "place": place[1]}
        connection.execute(insert(table(GenerationFolderRow)).values(values))


def below_stored(names: Iterable[str], row: type[LocationRow] | type[DocumentRow] = LocationRow) -> Any:
    """SQL condition: the location (or text source) is one of these stored paths or lies below one."""
    tests = []
    for stored in names:
        low, high = folder_range(stored)
        tests += [row.path == stored, (row.path >= low) & (row.path < high)]
    return or_(False, *tests)
