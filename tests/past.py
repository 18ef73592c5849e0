"""Indexes of past schemas, as the versions that wrote them left them, for tests and for the scripts that kill.

`tests/data/schemas` holds one index a schema: the same nine files taken in with the toy interface, then one removed
from the disk, one added, one forgotten.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from sqlalchemy import MetaData, delete, insert, select, text

from interleave_index.storage import database as sqlite
from interleave_index.storage import schema, text_writes, words
from interleave_index.storage.postgres import PostgresCatalog

PAST = Path(__file__).parent / "data" / "schemas"


def unpack(revision: str, folder: Path) -> Path:
    """The index of a past schema in a new folder."""
    with tarfile.open(PAST / f"{revision}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    return folder


def fill_database(name: str, revision: str, folder: Path) -> None:
    """Make the tables of an empty database as the migrations made them then, with the rows of an unpacked index.

    Args:
        name: URL of the database.
        folder: holds the index of this revision.
    """
    catalog = PostgresCatalog(name)
    schema.upgrade(catalog.engine, revision)
    old, past = sqlite.connect(folder), MetaData()
    with old.connect() as source, catalog.engine.connect() as target, target.begin():
        past.reflect(target)
        for table in past.sorted_tables:
            if table.name.endswith("_words") or table.name == "alembic_version":
                continue
            target.execute(delete(table))
            rows = [dict(row) for row in source.execute(select(table)).mappings()]
            if rows:
                target.execute(insert(table), rows)
            if "id" in table.c and table.name != "catalog":
                last = f"(SELECT max(id) FROM {table.name})"
                target.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {last})"))
        if revision >= schema.WITH_WORDS:  # words of passages are kept as each database keeps them
            words.put_all_names(target)
            text_writes.put_all_words(target)
    old.dispose()
    catalog.engine.dispose()
