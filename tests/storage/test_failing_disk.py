"""What the operating system refuses ends in one line of this program: what, why, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from interleave_index.errors import StorageError
from interleave_index.storage.backup import restore_backup
from interleave_index.storage.store import Store

BROKEN = OSError(errno.EIO, "Input/output error")
WORDS = "input/output error; see that its disk is there, whole and not full"


def refuse(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """Let a call of the system fail as on a disk that dies."""

    def fail(*_given: Any, **_named: Any) -> Any:
        raise BROKEN

    monkeypatch.setattr(owner, name, fail)


def test_a_folder_that_cannot_be_made(tmp_path, monkeypatch):
    refuse(monkeypatch, Path, "mkdir")
    with pytest.raises(StorageError, match=f"index folder {tmp_path}/new cannot be made: {WORDS}"):
        Store.open(tmp_path / "new", create=True)


def test_a_folder_that_cannot_be_read(library, monkeypatch):
    library.store.close()
    refuse(monkeypatch, Path, "is_dir")
    with pytest.raises(StorageError, match=f"index folder {library.folder} cannot be read: {WORDS}"):
        Store.open(library.name)


def test_a_lock_that_cannot_be_opened(library, monkeypatch):
    refuse(monkeypatch, os, "open")
    with pytest.raises(StorageError, match=rf"lock {library.folder}/writer.lock cannot be opened \(ingest\): {WORDS}"):
        library.add("a")
    monkeypatch.undo()
    library.add("a")
    assert library.names_of_checks_that_fail() == []


def test_an_orphan_that_cannot_be_removed(library, monkeypatch):
    library.add("a")
    orphan = library.folder / "thumbnails" / "ab" / f"{'ab' * 32}.jpg"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"\xff\xd8\xff\xd9")
    plan = library.store.repair_plan()
    assert plan and plan.orphans == (orphan,) and not plan.again
    refuse(monkeypatch, Path, "unlink")
    with pytest.raises(StorageError, match=f"thumbnail {orphan} cannot be removed: {WORDS}"):
        library.store.repair_files(plan)


@pytest.mark.parametrize("broken", ["mkdir", "replace"])
def test_a_backup_that_cannot_be_put_in_its_place_leaves_nothing(broken, library, tmp_path, monkeypatch):
    from interleave_index.storage.backup import write_backup

    library.add("a")
    write_backup(library.folder, tmp_path / "b.tar", library.store.copy_catalog)
    (tmp_path / "to").mkdir()
    refuse(monkeypatch, Path if broken == "mkdir" else os, broken)
    with pytest.raises(StorageError, match=f"backup cannot be restored to {tmp_path}/to/again: {WORDS}"):
        restore_backup(tmp_path / "b.tar", tmp_path / "to" / "again")
    assert list((tmp_path / "to").iterdir()) == []
