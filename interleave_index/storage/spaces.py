"""Rows of `space`, as functions on a connection."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection, delete, func, insert, select, update

from ..errors import NotInIndex, StorageError
from ..records import Space
from .rows import SpaceRow, SpaceState
from .statements import raise_change
from .tables import (
    CalibrationChecksumRow,
    CalibrationRow,
    ChecksumRow,
    EncodingRow,
    GenerationFolderRow,
    GenerationRow,
    PartChecksumRow,
    PassageChecksumRow,
    PassageEncodingRow,
    PassageRemovalRow,
    RegionMaskRow,
    RemovalRow,
    SpaceTable,
)

# Every table with rows of one space, in an order that no foreign key forbids.
OF_A_SPACE = (
    CalibrationChecksumRow,
    CalibrationRow,
    PartChecksumRow,
    ChecksumRow,
    RegionMaskRow,
    EncodingRow,
    RemovalRow,
    PassageChecksumRow,
    PassageEncodingRow,
    PassageRemovalRow,
    GenerationRow,
)


def find(connection: Connection, space: Space) -> int | None:
    """Id of this very space, or None."""
    return connection.execute(
        select(SpaceTable.id).where(
            SpaceTable.interface == space.interface,
            SpaceTable.checkpoint == space.checkpoint,
            SpaceTable.preprocessing == space.preprocessing,
            SpaceTable.dim == space.dim,
        )
    ).scalar()


def ensure(connection: Connection, space: Space) -> int:
    """Id of this space, made when it is new; it becomes active when no other is."""
    found = find(connection, space)
    if found is not None:
        return found
    connection.execute(
        insert(SpaceTable).values(
            interface=space.interface,
            checkpoint=space.checkpoint,
            preprocessing=space.preprocessing,
            dim=space.dim,
            state="active" if active_id(connection) is None else "building",
            seq=0,
        )
    )
    raise_change(connection)
    return int(connection.execute(select(func.max(SpaceTable.id))).scalar_one())


def active_id(connection: Connection) -> int | None:
    """Id of the active space, or None."""
    return connection.execute(select(SpaceTable.id).where(SpaceTable.state == "active")).scalar()


def activate(connection: Connection, space_id: int) -> None:
    """Make one space active and retire the one that was."""
    known = connection.execute(select(SpaceTable.id)).scalars().all()
    if space_id not in known:
        raise NotInIndex(f"space {space_id} is not in the catalog; `interleave-index spaces` lists them")
    connection.execute(
        update(SpaceTable).where(SpaceTable.state == "active", SpaceTable.id != space_id).values(state="retired")
    )
    connection.execute(update(SpaceTable).where(SpaceTable.id == space_id).values(state="active"))
    raise_change(connection)


def all_spaces(connection: Connection) -> list[SpaceRow]:
    """Every space, oldest first, with the number of its encodings."""
    encoded = connection.execute(select(EncodingRow.space_id, func.count()).group_by(EncodingRow.space_id))
    counts = {int(row[0]): int(row[1]) for row in encoded}
    return [
        SpaceRow(
            row.id,
            Space(row.interface, row.checkpoint, row.preprocessing, row.dim),
            cast(SpaceState, row.state),
            counts.get(row.id, 0),
        )
        for row in connection.execute(select(SpaceTable.__table__).order_by(SpaceTable.id))
    ]


def drop(connection: Connection, space_id: int) -> None:
    """Take a space out with all its vectors; photos and texts stay.

    Raises:
        NotInIndex: there is no such space.
        StorageError: it is the one that searches use.
    """
    state = connection.execute(select(SpaceTable.state).where(SpaceTable.id == space_id)).scalar()
    if state is None:
        raise NotInIndex(f"space {space_id} is not in the catalog; `interleave-index spaces` lists them")
    if state == "active":
        raise StorageError(f"space {space_id} is the one that searches use; activate another one first")
    own = select(GenerationRow.id).where(GenerationRow.space_id == space_id)
    connection.execute(delete(GenerationFolderRow).where(GenerationFolderRow.generation_id.in_(own)))
    for row in OF_A_SPACE:
        connection.execute(delete(row).where(row.space_id == space_id))
    connection.execute(delete(SpaceTable).where(SpaceTable.id == space_id))
    raise_change(connection)
