"""What is called missing, and what only lies where this run did not look."""

from __future__ import annotations

import os
import shutil

from sqlalchemy import text

from interleave_index.ingest import scan
from interleave_index.ingest.pipeline import IngestSettings, ingest
from interleave_index.storage.store import Store
from tests.ingest.conftest import Counting, fill, rows, states


def test_a_deleted_file_is_missing_and_present_again_when_it_comes_back(library, tmp_path):
    path = fill(library)[0]
    library.ingest()
    path.rename(tmp_path / "away.png")
    assert library.counts(library.ingest()) == {"missing": 1, "present": 3}
    assert library.counts(library.ingest()) == {"present": 3}
    (tmp_path / "away.png").rename(path)
    assert library.counts(library.ingest()) == {"present": 4} and library.model.photos == 4
    assert rows(library)["0.png"][0] == "present"


def test_a_photo_lost_in_one_run_and_found_elsewhere_in_the_next_has_moved(library, tmp_path):
    path = fill(library)[0]
    library.ingest()
    path.rename(tmp_path / "away.png")
    library.ingest()
    (tmp_path / "away.png").rename(library.folder / "found.png")
    assert library.counts(library.ingest()) == {"moved": 1, "present": 3}
    assert "0.png" not in rows(library)


def test_of_two_copies_of_a_lost_photo_one_has_moved_and_one_is_a_duplicate(library, tmp_path):
    path = fill(library)[0]
    library.ingest()
    path.rename(tmp_path / "away.png")
    library.ingest()
    for name in ("x.png", "y.png"):
        shutil.copy(tmp_path / "away.png", library.folder / name)
    assert library.counts(library.ingest()) == {"moved": 1, "duplicate": 1, "present": 3}


def test_only_what_lies_below_a_listed_root_can_be_missing(library, tmp_path):
    inside, outside = library.add("in/a.png", 1), library.add("out/b.png", 2)
    library.ingest()
    outside.unlink()
    assert library.counts(library.ingest(library.folder / "in")) == {"present": 1}
    inside.unlink()
    library.add("in/c.png", 3)
    assert library.counts(library.ingest(library.folder / "in")) == {"added": 1, "missing": 1}
    assert rows(library)["b.png"][0] == "present"


def test_nothing_below_a_folder_that_cannot_be_listed_is_called_missing(library, monkeypatch):
    library.add("shut/a.png", 1)
    library.add("open/b.png", 2)
    library.ingest()
    shutil.rmtree(library.folder / "open")
    real = os.scandir

    def refuse(folder):
        if os.fspath(folder).endswith("/shut"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    report = library.ingest()
    assert library.counts(report) == {"missing": 1, "failed": 1}
    assert report.failed[0].path.endswith("/shut") and "permission denied" in report.failed[0].detail
    assert {name: state for name, (state, _) in rows(library).items()} == {"a.png": "present", "b.png": "missing"}


def test_a_root_behind_a_link_to_a_drive_that_is_not_mounted_loses_nothing(library, tmp_path):
    fill(library, 2)
    drive = tmp_path / "drive"
    drive.symlink_to(library.folder)
    library.ingest(drive)
    library.folder.rename(tmp_path / "away")
    report = library.ingest(drive)
    assert library.counts(report) == {"failed": 1} and "no such file" in report.failed[0].detail
    assert {state for state, _ in states(library.store, library.folder)} == {"present"}


def test_nothing_below_a_link_that_leads_nowhere_just_now_is_called_missing(library, tmp_path):
    library.add("a.png", 1)
    (tmp_path / "mount").mkdir()
    (library.folder / "drive").symlink_to(tmp_path / "mount")
    shutil.copy(library.add("b.png", 2), tmp_path / "mount" / "c.png")
    library.ingest()
    (tmp_path / "mount").rename(tmp_path / "elsewhere")
    assert library.counts(library.ingest()) == {"present": 2}
    assert [state for state, _ in states(library.store, tmp_path / "mount")] == ["present"]


def test_what_lies_behind_a_link_is_missing_when_it_is_gone_while_its_folder_is_there(library, tmp_path):
    (tmp_path / "mount").mkdir()
    (library.folder / "drive").symlink_to(tmp_path / "mount")
    shutil.copy(library.add("b.png", 2), tmp_path / "mount" / "c.png")
    shutil.copy(library.add("b.png", 3), tmp_path / "mount" / "d.png")
    assert library.counts(library.ingest()) == {"added": 2, "duplicate": 1}
    (tmp_path / "mount" / "c.png").unlink()
    assert library.counts(library.ingest()) == {"present": 2, "missing": 1}


def test_what_was_named_as_a_root_is_not_missing_because_a_later_run_passes_it_over(library):
    library.add("a.png", 1)
    hidden, beside = library.add(".private/b.png", 2), library.add(".c.png", 3)
    library.ingest(library.folder, library.folder / ".private", beside)
    assert library.counts(library.ingest()) == {"present": 1}
    assert {state for state, _ in rows(library).values()} == {"present"}
    hidden.unlink()
    beside.unlink()
    assert library.counts(library.ingest()) == {"present": 1, "missing": 2}


def test_a_folder_and_a_link_to_it_are_one_place(library, tmp_path):
    path = fill(library, 2)[0]
    link = tmp_path / "link"
    link.symlink_to(library.folder)
    library.ingest(link)
    assert library.counts(library.ingest(library.folder, link)) == {"present": 2}
    path.unlink()
    assert library.counts(library.ingest(link)) == {"present": 1, "missing": 1}
    assert library.store.status()["locations"] == 2


def test_names_that_an_older_version_kept_behind_links_become_one_name_a_file(library, tmp_path):
    fill(library, 2)
    library.ingest()
    link = tmp_path / "link"
    link.symlink_to(library.folder)
    with library.store.writer("a test"), library.store._session.writing("a test") as connection:
        names = {"old": str(library.folder), "new": str(link)}
        connection.execute(text("UPDATE location SET path = replace(path, :old, :new)"), names)
        connection.execute(text("UPDATE catalog SET change = change + 1"))
    assert library.counts(library.ingest(link)) == {"moved": 2} and library.model.photos == 2
    assert sorted(rows(library)) == ["0.png", "1.png"] and library.store.status()["locations"] == 2
    with library.store._session.writing("a test") as connection:
        columns = "photo_id, bytes, mtime_ns, state, reason, detail, seen_at"
        double = f"INSERT INTO location SELECT replace(path, :old, :new), {columns} FROM location"
        connection.execute(text(double), names)
    assert library.counts(library.ingest(link)) == {"present": 2}
    assert library.store.status()["locations"] == 2 and library.store.status()["missing"] == 0


def test_an_index_in_the_very_folder_of_the_photos_never_takes_in_its_thumbnails(tmp_path, pictures):
    (tmp_path / "a.png").write_bytes(pictures.encoded(pictures.drawn(1), "PNG"))
    with Store.open(tmp_path, create=True) as store:
        for _ in range(2):
            ingest(store, Counting(), [tmp_path], settings=IngestSettings(workers=0))
            assert store.status()["locations"] == 1


def test_a_file_deleted_between_listing_and_reading_is_missing_and_no_failure(library, monkeypatch):
    fill(library, 3)
    library.ingest()
    library.add("0.png", 50)
    library.add("new.png", 51)
    real = scan.Scanner.files

    def files(self, roots):
        yield from list(real(self, roots))
        for name in ("0.png", "new.png"):
            (library.folder / name).unlink()

    monkeypatch.setattr(scan.Scanner, "files", files)
    assert library.counts(library.ingest()) == {"present": 2, "missing": 1}
    assert sorted(rows(library)) == ["0.png", "1.png", "2.png"]


def test_a_drive_that_is_pulled_out_during_the_run_loses_nothing(library, monkeypatch):
    library.add("kept.png", 2)
    library.add("drive/a.png", 1)
    library.ingest()
    library.add("drive/a.png", 50)
    real = scan.Scanner.files

    def files(self, roots):
        yield from list(real(self, roots))
        shutil.rmtree(library.folder / "drive")

    with monkeypatch.context() as patch:
        patch.setattr(scan.Scanner, "files", files)
        assert library.counts(library.ingest()) == {"present": 1}
    assert rows(library)["a.png"][0] == "present"
    assert library.counts(library.ingest()) == {"present": 1, "missing": 1}
