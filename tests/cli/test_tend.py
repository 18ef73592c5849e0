"""repair, backup, restore, watch, and dropping a space, on the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from interleave_index import Index
from interleave_index.interface.toy import ToyInterface


@pytest.fixture
def folder(toy_index) -> str:
    toy_index.close()
    return str(toy_index.folder)


def test_repair_says_what_it_would_do_and_does_it_only_when_asked(run, folder):
    small = next(Path(folder).glob("thumbnails/*/*.jpg"))
    small.unlink()
    status, said, _ = run("repair", "--index", folder)
    assert status == 0 and "1 file without a whole thumbnail" in said and "--apply" in said
    assert not small.exists()
    status, done, _ = run("repair", "--apply", "--index", folder)
    assert status == 0 and "repaired" in done and small.exists()
    assert run("repair", "--index", folder)[1].strip() == "nothing to repair"
    assert json.loads(run("repair", "--index", folder, "--json")[1])["plan"]["orphans"] == []


def test_a_plan_names_damaged_thumbnails_of_photos_that_are_gone(run, drawn_photos, tmp_path):
    photos, place = tmp_path / "photos", str(tmp_path / "index")
    shutil.copytree(drawn_photos.folder, photos)
    words = ("ingest", str(photos), "--index", place, "--model", "toy")
    run(*words)
    small = next(Path(place).glob("thumbnails/*/*.jpg"))
    small.write_bytes(b"no picture")
    for photo in photos.iterdir():
        photo.unlink()
    run(*words)
    said = run("repair", "--index", place)[1]
    assert "1 file with a damaged thumbnail" in said and small.name in said


def test_a_backup_becomes_an_index_again(run, folder, tmp_path):
    file, again = str(tmp_path / "b.tar"), str(tmp_path / "again")
    assert "6 photos and 6 thumbnails" in run("backup", file, "--index", folder)[1]
    assert run("backup", file, "--index", folder)[0] == 1
    assert "6 photos" in run("restore", file, "--index", again)[1]
    both = [json.loads(run("search", "[red]", "--json", "--index", place)[1])["hits"] for place in (folder, again)]
    assert both[0] == both[1] and run("verify", "--index", again)[0] == 0
    assert run("restore", file, "--index", again)[0] == 1


class Named(ToyInterface):
    """The toy under another name, for a second space."""

    space = replace(ToyInterface.space, interface="toy-two")


def test_the_active_space_is_not_dropped(run, folder):
    status, _, refused = run("spaces", "--drop", "1", "--index", folder)
    assert status == 1 and "activate another" in refused and "--yes" not in refused  # nothing is asked in vain
    status, _, refused = run("spaces", "--drop", "2", "--index", folder)
    assert status == 1 and "not in the catalog" in refused
    with Index.open(folder, interface=Named()) as index:
        index.ingest(str(index.photo(1).path))
    status, _, asked = run("spaces", "--drop", "2", "--index", folder)
    assert status == 1 and "with the vectors of 1 photo? Nothing was done: give --yes" in asked
    assert run("spaces", "--drop", "2", "--yes", "--index", folder)[0] == 0


def test_feedback_leaves_wrong_photos_out(run, folder):
    hits = json.loads(run("search", "red", "--json", "--index", folder)[1])["hits"]
    wrong = hits[0]["photo_id"]
    moved = json.loads(run("search", "red", "--unlike", str(wrong), "--json", "--index", folder)[1])["hits"]
    assert wrong not in [hit["photo_id"] for hit in moved]
    for option in ("--like", "--unlike"):
        status, _, err = run("search", "red", option, "999", "--index", folder)
        assert status == 1 and "photo 999 is not in the catalog, expected the id of a photo of this index; `" in err


def test_files_are_left_out_of_an_ingest(run, drawn_photos, tmp_path):
    place = str(tmp_path / "index")
    words = ("ingest", str(drawn_photos.folder), "--index", place, "--json")
    done = json.loads(run(*words, "--model", "toy", "--exclude", "red*")[1])
    assert done["added"] == 4 and done["not_read"]["left_out"] == 2
    assert json.loads(run(*words)[1])["added"] == 0
    assert "not read: 2 left out by patterns" in run(*words[:-1])[1]


def test_watching_takes_in_what_comes_until_it_is_stopped(drawn_photos, tmp_path):
    photos, place = tmp_path / "photos", tmp_path / "index"
    photos.mkdir()
    (photos / "a.png").write_bytes(Path(drawn_photos.red_disc.path).read_bytes())
    words = [sys.executable, "-m", "interleave_index", "watch", str(photos), "--index", str(place), "--model", "toy"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "1 added"
        (photos / "b.png").write_bytes(Path(drawn_photos.green_square.path).read_bytes())
        assert process.stdout.readline().strip() == "1 added"
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 0


def test_watching_tells_of_a_text_that_went(drawn_photos, tmp_path):
    photos, place = tmp_path / "photos", tmp_path / "index"
    photos.mkdir()
    (photos / "a.png").write_bytes(Path(drawn_photos.red_disc.path).read_bytes())
    (photos / "a.txt").write_text("a red disc")
    words = [sys.executable, "-m", "interleave_index", "watch", str(photos), "--index", str(place), "--model", "toy"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == "1 added, 1 text read"
            (photos / "a.txt").unlink()
            (photos / "b.png").write_bytes(Path(drawn_photos.green_square.path).read_bytes())
            assert process.stdout.readline().strip() == "1 added, 1 text missing"
            (photos / "album").mkdir()
            (photos / "album" / "c.png").write_bytes(Path(drawn_photos.blue_triangle.path).read_bytes())
            assert process.stdout.readline().strip() == "1 added"
            (photos / "album" / "c.png").unlink()  # an album that is emptied under our eyes is no lost disk
            assert process.stdout.readline().strip() == "1 missing"
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_file_is_not_watched(run, drawn_photos, tmp_path):
    status, _, said = run("watch", drawn_photos.red_disc.path, "--index", str(tmp_path / "index"), "--model", "toy")
    assert status == 2 and "expected folders" in said and not (tmp_path / "index").exists()
