"""Folders that are watched: what happened is gathered and taken in together."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from interleave_index.ingest import watch
from interleave_index.ingest.watch import Gathered, changes, places_to_take_in


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_place_is_due_once_all_is_quiet():
    clock = Clock()
    gathered = Gathered(clock)
    gathered.happened("/a")
    clock.now = 1.5
    gathered.happened("/b")
    clock.now = 3.0
    assert gathered.due() == []
    clock.now = 3.6
    assert gathered.due() == ["/a", "/b"] and gathered.due() == []


def test_a_place_that_is_never_quiet_is_due_after_a_while():
    clock = Clock()
    gathered = Gathered(clock)
    for second in range(31):
        clock.now = float(second)
        gathered.happened("/busy")
    assert gathered.due() == ["/busy"]


def test_a_deleted_folder_is_seen_by_the_one_above_it(tmp_path):
    (tmp_path / "kept").mkdir()
    root = str(tmp_path)
    assert places_to_take_in([f"{root}/gone/deep", f"{root}/kept"], [root]) == [tmp_path]
    assert places_to_take_in([f"{root}/kept"], [root]) == [tmp_path / "kept"]
    assert places_to_take_in(["/elsewhere"], [root]) == []


def test_a_root_that_is_gone_takes_nothing_in(tmp_path):
    assert places_to_take_in([str(tmp_path / "share" / "a")], [str(tmp_path / "share")]) == []


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watch, "QUIET_SECONDS", 0.3)
    monkeypatch.setattr(watch, "LOOK_AT_ROOTS", 0.3)
    monkeypatch.setattr(watch, "LOOK_EVERY", 0.05)


def keep_up(library, folder, stop):
    """Take in what changes until told to stop, in a thread of its own."""
    done: list[int] = []

    def run() -> None:
        for some in changes([folder], stop):
            library.ingest(*some)
            done.append(len(some))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, done


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_new_changed_moved_and_deleted_files_are_taken_in(library, quick):
    library.add("a.png", 1)
    library.add("kept/kept.png", 3)  # a folder that is empty all at once may be a lost disk
    stop = threading.Event()
    thread, _ = keep_up(library, library.folder, stop)

    def states() -> dict[str, str]:
        known = library.store.known_locations([library.folder])
        return {Path(path).name: row.state for path, row in known.items() if "kept" not in path}

    try:
        until(lambda: states() == {"a.png": "present"})
        library.add("b.png", 2)
        until(lambda: states() == {"a.png": "present", "b.png": "present"})
        (library.folder / "deep").mkdir()
        seen = library.model.photos
        shutil.move(library.folder / "b.png", library.folder / "deep" / "c.png")
        until(lambda: states() == {"a.png": "present", "c.png": "present"})
        assert library.model.photos == seen
        (library.folder / "a.png").unlink()
        until(lambda: states().get("a.png") == "missing")
        shutil.rmtree(library.folder / "deep")
        until(lambda: states().get("c.png") == "missing")
    finally:
        stop.set()
        thread.join()


def test_a_root_that_goes_away_loses_nothing_and_is_taken_up_again(library, quick, tmp_path):
    library.add("a.png", 1)
    stop = threading.Event()
    thread, done = keep_up(library, library.folder, stop)
    try:
        until(lambda: len(done) == 1)
        library.folder.rename(tmp_path / "away")
        time.sleep(1.0)
        (row,) = library.store.known_locations([library.folder]).values()
        assert row.state == "present"
        (tmp_path / "away").rename(library.folder)
        library.add("b.png", 2)
        until(lambda: len(library.store.known_locations([library.folder])) == 2)
    finally:
        stop.set()
        thread.join()
