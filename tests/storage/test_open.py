"""Opening an index: where it may lie, which version it may have."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from interleave_index.errors import ConfigError, IndexDamaged, IndexNotFound, SchemaTooNew, StorageError
from interleave_index.records import Space
from interleave_index.storage import database, schema
from interleave_index.storage.store import Store


def test_a_folder_without_an_index_is_not_made_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFound, match="no index in"):
        Store.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    Store.open(tmp_path / "nothing", create=True).close()
    Store.open(tmp_path / "nothing").close()


def test_an_unknown_url_is_refused() -> None:
    with pytest.raises(ConfigError, match="mysql"):
        Store.open("mysql://host/photos")


def test_a_sqlite_url_names_a_folder(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/index", create=True) as store:
        assert store.folder == tmp_path / "index"


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / database.CATALOG) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = (tmp_path / database.CATALOG).read_bytes()
    with pytest.raises(SchemaTooNew, match="schema 9999"):
        Store.open(tmp_path)
    assert (tmp_path / database.CATALOG).read_bytes() == before


def test_a_file_that_is_no_catalog_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / database.CATALOG).write_bytes(b"not a database, just some text that is long enough" * 100)
    with pytest.raises(IndexDamaged, match="cannot be read"):
        Store.open(tmp_path)


def test_a_catalog_that_another_program_holds_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_MS", 10)
    with Store.open(tmp_path, create=True) as store:
        other = sqlite3.connect(tmp_path / database.CATALOG, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="database is locked"):
            store.ensure_space(Space("toy", "0", "none", 4))
        other.close()
        store.ensure_space(Space("toy", "0", "none", 4))


def test_a_catalog_that_cannot_be_opened_just_now_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.open(tmp_path, create=True).close()

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(database, "_set_up", refuse)
    with pytest.raises(StorageError, match="readonly database") as caught:
        Store.open(tmp_path)
    assert not isinstance(caught.value, IndexDamaged)


def test_tables_without_a_version_are_called_damaged(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / database.CATALOG) as connection:
        connection.execute("CREATE TABLE photo (id INTEGER)")
    with pytest.raises(IndexDamaged, match="no schema version"):
        Store.open(tmp_path)


def test_an_empty_file_left_by_a_crash_becomes_a_catalog(tmp_path: Path) -> None:
    (tmp_path / database.CATALOG).touch()
    with Store.open(tmp_path) as store:
        assert store.status()["photos"] == 0


MOUNTS = r"""
/dev/root / ext4 rw 0 0
server:/export /mnt/photos nfs4 rw 0 0
//nas/share /mnt/photo\040album cifs rw 0 0
tmpfs /mnt/photos/cache tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me/index", "ext4"),
        ("/mnt/photos/index", "nfs4"),
        ("/mnt/photo album/index", "cifs"),
        ("/mnt/photos/cache/index", "tmpfs"),
        ("/mnt/photosphere", "ext4"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(folder: str, kind: str) -> None:
    assert database.filesystem_of(Path(folder), MOUNTS) == kind


def test_a_network_file_system_is_refused_with_a_word() -> None:
    with pytest.raises(ConfigError, match=r"network file system \(nfs4\)"):
        database.refuse_network(Path("/mnt/photos/index"), MOUNTS)
    database.refuse_network(Path("/mnt/photos/cache/index"), MOUNTS)


def test_the_catalog_is_in_write_ahead_mode_with_foreign_keys(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store, store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == database.BUSY_MS


def test_opening_a_current_index_imports_neither_alembic_nor_faiss(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    code = (
        "import sys; from interleave_index.storage.store import Store; "
        "store = Store.open(sys.argv[1]); store.status(); store.spaces(); store.close(); "
        "print(sorted({'alembic', 'faiss', 'torch'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_the_head_of_the_code_is_the_last_migration() -> None:
    found = sorted(path.stem for path in (schema.MIGRATIONS / "versions").glob("v*.py"))
    assert [name[1:5] for name in found] == list(schema.REVISIONS)
