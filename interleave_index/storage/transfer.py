"""All rows of one catalog into another, whatever their databases: backup from PostgreSQL, and restore into it.

Ids stay. What belongs to FAISS files does not go along, for these are made anew; words are split anew as well.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError

from ..errors import StorageError
from . import database, schema, text_writes, words
from .statements import table
from .tables import (
    Base,
    CatalogRow,
    DocumentRow,
    GenerationFolderRow,
    GenerationRow,
    PassageRemovalRow,
    PassageRow,
    PhotoRow,
    RemovalRow,
    SpaceTable,
)

LEFT_OUT = {table(model) for model in (GenerationFolderRow, GenerationRow, RemovalRow, PassageRemovalRow)}
NEVER_AGAIN = (PhotoRow, DocumentRow, PassageRow)  # ids of deleted rows are not used again
NUMBERED = (*NEVER_AGAIN, SpaceTable)
ROWS = 500  # that are held at a time


def copy_to_file(source: Connection, target: Path) -> None:
    """Make a catalog of SQLite of all that a connection sees.

    Args:
        target: `catalog.sqlite` in a folder, which is not there yet.
    Raises:
        StorageError: it cannot be written.
    """
    engine = database.connect(target.parent)
    try:
        with engine.connect().execution_options(interleave_write=True) as connection, connection.begin():
            schema.create(connection)
            copy_rows(source, connection)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise StorageError(f"catalog cannot be copied to {target.parent.parent}: {error.orig}") from error
        raise
    finally:
        engine.dispose()


def copy_rows(source: Connection, target: Connection) -> None:
    """Copy every row, in the caller's transactions.

    Args:
        target: a catalog that has been created just now.
    """
    target.execute(delete(CatalogRow))
    for one in Base.metadata.sorted_tables:
        if one in LEFT_OUT:
            continue
        rows = source.execute(select(one), execution_options={"yield_per": ROWS}).mappings()
        for some in rows.partitions():
            target.execute(insert(one), [dict(row) for row in some])
    words.put_all_names(target)
    text_writes.put_all_words(target)
    _go_on_after(target, _last_ids(source))


def _last_ids(connection: Connection) -> dict[str, int]:
    """The last id that was given, by table; 0 where none was."""
    found: dict[str, int] = {}
    for model in NUMBERED:
        name = table(model).name
        if connection.dialect.name != "sqlite":
            sequence = connection.execute(text(f"SELECT pg_get_serial_sequence('{name}', 'id')")).scalar_one()
            last, is_used = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
            found[name] = int(last) if is_used else 0
        elif model in NEVER_AGAIN:
            row = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": name}).first()
            found[name] = int(row[0]) if row else 0
        else:
            found[name] = int(connection.execute(select(func.coalesce(func.max(model.id), 0))).scalar_one())
    return found


def _go_on_after(connection: Connection, last: Mapping[str, int]) -> None:
    """Let the numbering of new rows go on after these ids."""
    for name, value in last.items():
        values = {"name": name, "value": value}
        if connection.dialect.name != "sqlite":
            if value:
                connection.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :value)"), values)
        elif name in {table(model).name for model in NEVER_AGAIN}:
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :value)"), values)
