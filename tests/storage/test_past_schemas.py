"""Indexes of every past schema, made by the versions that wrote them, open, and keep all that they held."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import SchemaTooNew, StorageError
from interleave_index.interface.toy import ToyInterface
from interleave_index.storage import database as sqlite
from interleave_index.storage import schema, session
from interleave_index.storage.backup import restore_backup, write_backup
from interleave_index.storage.store import Store

from ..past import PAST, fill_database, unpack

ODD = "/photos/caf\udce9.png"  # a name that is not UTF-8


def held(store: Store) -> dict[str, Any]:
    """What an index holds, whatever its schema."""
    known = store.known_locations([Path("/photos")])
    vectors = store.vectors(1, store.encoded(1))
    return {
        "locations": {path: (row.photo_id, row.state, row.bytes) for path, row in known.items()},
        "photos": {photo_id: (photo.sha256, photo.phash) for photo_id, photo in store.photos(range(1, 9)).items()},
        "image": vectors.image.tolist(),
        "masks": [store.masks(1, photo_id) for photo_id in vectors.photo_ids.tolist()],
        "best": store.indexes(1).image.search(np.eye(16, dtype=np.float32)[:4], 6)[1].tolist(),
    }


def failing(store: Store) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in store.verify() if not check.ok]


def named(store: Store, phrase: str) -> list[int]:
    """Photos with these words in the names of their files."""
    ids = store.texts.holding("photo", phrase, 9)
    return [] if ids is None else ids.tolist()


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the index of the first schema holds, read by SQL alone."""
    folder = unpack("0001", tmp_path_factory.mktemp("first"))
    with closing(sqlite3.connect(folder / sqlite.CATALOG)) as connection:
        places = connection.execute("SELECT path, photo_id, state, bytes FROM location").fetchall()
        photos = connection.execute("SELECT id, sha256 FROM photo").fetchall()
    return {"places": places, "photos": photos}


def test_a_large_catalog_says_that_it_is_brought_up_to_date(tmp_path, monkeypatch, caplog):
    for photos, told in ((9999, 0), (1, 1)):
        monkeypatch.setattr(session, "LONG_UPGRADE", photos)
        folder = unpack("0005", tmp_path / str(photos))
        Store.open(folder).close()
        assert caplog.text.count("is brought up to date for this version, once") == told
    caplog.clear()
    Store.open(folder).close()
    assert not caplog.text


def test_there_is_an_index_of_every_past_schema():
    assert sorted(path.name for path in PAST.iterdir()) == [f"{name}.tar.xz" for name in schema.REVISIONS[:-1]]


@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
def test_an_index_of_a_past_schema_opens_with_all_that_it_held(revision, tmp_path, newest):
    with Store.open(unpack(revision, tmp_path / "index")) as store:
        now = held(store)
        assert failing(store) == [] and store.status()["photos"] == len(newest["photos"]) == 6
        assert now["photos"].keys() == {row[0] for row in newest["photos"]}
        states = sorted(state for _, state, _ in now["locations"].values())
        assert states == ["failed", "missing", *["present"] * 7] and now["locations"][ODD][1] == "present"
        assert named(store, "green and red") == [now["locations"]["/photos/green and red.png"][0]]
        assert len(store.texts.every()) == (3 if revision >= "0004" else 0)
        assert store.ensure_space(ToyInterface.space) == 1
        assert len(store.exclusions()) == (0 if revision == "0001" else 1)
    with Store.open(tmp_path / "index") as store:
        assert held(store) == now


@pytest.mark.parametrize("revision", schema.REVISIONS[:-1])
def test_a_catalog_in_postgresql_of_a_past_schema_is_brought_up_to_date(revision, postgres, tmp_path):
    """Its tables as the migrations made them then, with the rows of the index of that schema."""
    folder = unpack(revision, tmp_path / "index")
    name = postgres.url(postgres.new_database(), tmp_path / "other")
    fill_database(name, revision, folder)
    with Store.open(name) as store, Store.open(folder) as here:
        assert failing(store) == [] and held(store) == held(here)
        assert named(store, "green and red") == named(here, "green and red") != []


@pytest.mark.parametrize("revision", ["0001", "0004"])
def test_a_past_index_moves_into_postgresql_by_its_backup(revision, postgres, tmp_path):
    folder = unpack(revision, tmp_path / "index")
    write_backup(folder, tmp_path / "b.tar", sqlite.SqliteCatalog(folder).copy_to)  # no migration has touched it
    name = postgres.url(postgres.new_database(), tmp_path / "other")
    assert restore_backup(tmp_path / "b.tar", name).revision == revision
    with Store.open(name) as store, Store.open(folder) as here:
        assert failing(store) == [] and held(store) == held(here)


BROKEN = """
from alembic import op

revision, down_revision = "0008", "0007"


def upgrade():
    op.execute("CREATE TABLE halfway (id INTEGER)")
    op.execute("INSERT INTO nowhere VALUES (1)")
"""


@pytest.fixture
def with_migration(tmp_path, monkeypatch):
    """Puts one more migration behind those that there are."""
    newer = shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    every = (*schema.REVISIONS, "0008")

    def put(source: str) -> None:
        monkeypatch.setattr(schema, "MIGRATIONS", newer)
        monkeypatch.setattr(schema, "REVISIONS", every)
        (newer / "versions" / "v0008_next.py").write_text(source)

    return put


def test_a_migration_that_fails_leaves_the_old_catalog(tmp_path, with_migration):
    folder = unpack("0002", tmp_path / "index")

    def everything() -> list[str]:
        with closing(sqlite3.connect(folder / sqlite.CATALOG)) as connection:
            return list(connection.iterdump())

    before = everything()
    with_migration(BROKEN)
    with pytest.raises(StorageError, match=r"from schema 0002 to 0008 \(no such table: nowhere\); it is as it was"):
        Store.open(folder)
    assert everything() == before
    with_migration(BROKEN.replace('    op.execute("INSERT INTO nowhere VALUES (1)")\n', ""))
    with Store.open(folder) as store:
        assert failing(store) == []


def test_a_migration_that_fails_leaves_the_old_catalog_in_postgresql(postgres, tmp_path, with_migration):
    name = postgres.url(postgres.new_database(), tmp_path / "other")
    Store.open(name, create=True).close()
    with_migration(BROKEN)
    with pytest.raises(StorageError, match=r'from schema 0007 to 0008 \(relation "nowhere" does not exist'):
        Store.open(name)
    left = postgres.sql("SELECT version_num, to_regclass('halfway') FROM alembic_version", postgres.last)
    assert left == [("0007", None)]
    with_migration(BROKEN.replace('    op.execute("INSERT INTO nowhere VALUES (1)")\n', ""))
    with Store.open(name) as store:
        assert failing(store) == []


def test_names_are_not_taken_in_again_by_a_later_migration(tmp_path):
    folder = unpack("0004", tmp_path / "index")
    with closing(sqlite3.connect(folder / sqlite.CATALOG)) as connection:
        connection.execute("DELETE FROM photo_words WHERE rowid = 1")
        connection.commit()
    with Store.open(folder) as store:
        assert [said.split(":")[0] for said in failing(store)] == ["words"]


@pytest.mark.parametrize("revision", ["0008", "0099", "later"])
def test_a_newer_schema_is_refused_in_words(revision, tmp_path):
    folder = unpack("0004", tmp_path / "index")
    with closing(sqlite3.connect(folder / sqlite.CATALOG)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.commit()
    before = (folder / sqlite.CATALOG).read_bytes()
    with pytest.raises(SchemaTooNew, match=f"schema {revision}, this version knows up to 0007; install a newer"):
        Store.open(folder)
    assert (folder / sqlite.CATALOG).read_bytes() == before
