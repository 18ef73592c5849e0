"""What errors of PostgreSQL and of an index folder beside it become; no server is asked."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from interleave_index.errors import BackendMissing, IndexBusy, IndexDamaged, StorageError
from interleave_index.storage.postgres import PostgresCatalog, read_marker

errors = pytest.importorskip("psycopg.errors")


@pytest.fixture
def catalog(tmp_path) -> PostgresCatalog:
    """A catalog on a machine where no server listens."""
    return PostgresCatalog(f"postgresql+psycopg://ann:secret@127.0.0.1:1/photos?folder={tmp_path / 'photos.index'}")


def wrapped(kind: type[DBAPIError], original: Any) -> DBAPIError:
    """An error of psycopg as SQLAlchemy hands it on."""
    return kind("SELECT 1", {}, original)


@pytest.mark.parametrize(
    ("kind", "original", "becomes", "words"),
    [
        (ProgrammingError, errors.DataCorrupted("invalid page"), IndexDamaged, "is damaged (invalid page); restore"),
        (ProgrammingError, errors.IndexCorrupted("bad index"), IndexDamaged, "is damaged (bad index); restore"),
        (OperationalError, errors.AdminShutdown("going down"), StorageError, "cannot be reached just now (going down)"),
        (ProgrammingError, errors.UndefinedTable("no photo"), StorageError, "refused a statement (no photo); nothing"),
        (OperationalError, errors.LockNotAvailable("timeout"), IndexBusy, "another process is writing; wait for it"),
    ],
)
def test_an_error_of_the_server_says_what_it_means_and_no_password(catalog, kind, original, becomes, words):
    told = catalog.worded(wrapped(kind, original))
    assert type(told) is becomes and words in str(told) and "secret" not in str(told)


def test_a_folder_that_says_nothing_useful_of_its_catalog_is_damaged(tmp_path):
    for text in ("no JSON", "[]", '{"folder": "x"}'):
        (tmp_path / "catalog.json").write_text(text)
        with pytest.raises(IndexDamaged, match=r"catalog\.json cannot be read .*; remove it, and the folder's FAISS"):
            read_marker(tmp_path)


def test_without_its_driver_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(BackendMissing, match=r"psycopg cannot be imported .*install interleave-index\[postgres\]"):
        PostgresCatalog(f"postgresql+psycopg://ann@127.0.0.1:1/photos?folder={tmp_path / 'x'}")


def test_a_folder_that_may_not_be_written_makes_the_index_one_to_be_read(catalog, monkeypatch):
    catalog.folder.mkdir()
    monkeypatch.setattr("os.access", lambda *_: False)
    assert catalog.read_only
