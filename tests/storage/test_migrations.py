"""Migrations lead to the very tables of the models."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from interleave_index.storage import database, schema, words
from interleave_index.storage.store import Store
from interleave_index.storage.tables import Base


def dump(folder: Path) -> list[tuple[Any, ...]]:
    """Every table and index with its columns and constraints, in an order of their own."""
    with sqlite3.connect(folder / database.CATALOG) as connection:
        names = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        found: list[tuple[Any, ...]] = []
        for kind, name in sorted(names):
            about = [
                connection.execute(f"PRAGMA {pragma}('{name}')").fetchall()
                for pragma in ("table_info", "index_info", "foreign_key_list")
            ]
            sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            found.append((kind, name, about, sorted(part.strip(", ") for part in sql.splitlines())))
    return found


def test_migrating_an_empty_catalog_gives_what_a_new_one_has(tmp_path: Path) -> None:
    migrated, made = tmp_path / "migrated", tmp_path / "made"
    migrated.mkdir()
    engine = database.connect(migrated)
    schema.upgrade(engine)
    engine.dispose()
    Store.open(made, create=True).close()
    assert dump(migrated) == dump(made)
    with sqlite3.connect(migrated / database.CATALOG) as connection:
        assert connection.execute("SELECT id, change FROM catalog").fetchall() == [(1, 0)]


def test_nothing_is_left_for_a_migration_to_do(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store, store.reading() as connection:
        full_text = tuple(words.TABLES.values())  # with the tables that SQLite keeps behind them
        options = {"compare_type": True, "include_name": lambda name, *_: not str(name).startswith(full_text)}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_a_migrated_catalog_opens_and_can_be_written_to(tmp_path: Path) -> None:
    engine = database.connect(tmp_path)
    schema.upgrade(engine)
    assert schema.is_current(engine, tmp_path)
    engine.dispose()
    with Store.open(tmp_path) as store:
        assert store.status()["locations"] == 0


NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0008", "0007"


def upgrade():
    with op.batch_alter_table("photo", recreate="always") as photo:
        photo.add_column(sa.Column("stars", sa.Integer(), nullable=True))
"""


def test_an_older_catalog_is_brought_up_to_date_when_it_is_opened_and_keeps_its_rows(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.add("a", "b")
    library.store.close()
    newer = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    (newer / "versions" / "v0008_stars.py").write_text(NEXT)
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, "0008"))
    library.reopen()
    with library.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT sha256, stars FROM photo").all() == [
            (library.facts("a").sha256, None),
            (library.facts("b").sha256, None),
        ]
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    assert library.names_of_checks_that_fail() == []
    library.check(library.vectors(2), 3)
