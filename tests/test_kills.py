"""The scripts that kill, fail and damage: a few points of each here, twenty kills in the checks of a submission."""

from __future__ import annotations

import platform
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import pytest

from benchmarks import damaged_files, disturbed, failing_disk, kills, work

LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in failing_disk.SECCOMP, reason="filters of system calls need it"
)


def test_nothing_is_lost_or_double_at_a_few_points():
    report = disturbed.run(kills.Killed, ["ingest", "optimize"], 2, 7, "killed", print)
    assert report["wrong"] == [] and {row["points"] for row in report["work"].values()} == {1}


def test_a_program_that_loses_something_is_found_out(monkeypatch):
    def forgetful(place):
        was_here_before = (place / "index" / "catalog.sqlite").exists()
        work.ingest(place)
        if was_here_before:
            with work.opened(place) as index:
                index.forget([place / "photos" / "001.png"])

    monkeypatch.setitem(work.WORK, "ingest", (work.make_empty, forgetful))
    monkeypatch.setattr(Random, "uniform", lambda *_: 0.7)
    (found, *_) = disturbed.run(kills.Killed, ["ingest"], 1, 0, "killed", print)["wrong"]
    assert found.startswith("ingest at 0.700: counts is")


@pytest.mark.parametrize("every", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_two_that_write_one_database_lose_nothing_when_it_or_one_of_them_is_killed(postgres, every):
    killed = partial(kills.Killed, server=postgres, server_every=every)
    report = disturbed.run(killed, ["ingest of two"], 1, 3, "killed", print)
    assert report["wrong"] == []


def fail_and_write(place: Path) -> None:
    """Write to a file before and after the disk fails."""
    (place / "before").write_text("whole")
    failing_disk.fail_from_now_on()
    (place / "after").write_text("lost")


@LINUX
def test_a_disk_that_fails_refuses_every_write_from_then_on(tmp_path):
    assert disturbed.in_child(fail_and_write, tmp_path)[:2] == ("error", "OSError: [Errno 5] Input/output error")
    assert (tmp_path / "before").read_text() == "whole" and (tmp_path / "after").read_text() == ""


@LINUX
def test_nothing_is_lost_or_double_on_a_disk_that_fails():
    report = disturbed.run(failing_disk.FailingDisk, ["prune"], 1, 4, "failed", print)
    assert report["wrong"] == []


def test_a_changed_byte_of_a_file_that_can_be_made_anew_costs_nothing():
    report = disturbed.run(damaged_files.DamagedFile, ["region file"], 1, 1, "refused", print)
    assert report["wrong"] == [] and report["work"]["region file"]["refused"] == 0


def test_an_answer_from_a_damaged_file_is_found_out(monkeypatch):
    def rename(file: Path, share: float, *, cut: bool) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE photo SET width = width + 1")

    monkeypatch.setattr(damaged_files, "damage", rename)
    (found, *_) = disturbed.run(damaged_files.DamagedFile, ["catalog"], 1, 1, "refused", print)["wrong"]
    assert "answers are others" in found


def test_a_table_whose_words_are_no_text_is_an_error_in_words(tmp_path):
    work.draw_library(tmp_path / "photos", 0, 1, 0)
    disturbed.expect(disturbed.in_child(work.ingest, tmp_path))
    file = tmp_path / "index" / "catalog.sqlite"
    data = file.read_bytes()
    assert b"tablephotophoto" in data
    file.write_bytes(data.replace(b"tablephotophoto", b"tablephot\xbaphoto").replace(b"CREATE TABLE photo ", b"x" * 19))
    kind, said, _ = disturbed.in_child(damaged_files.answers, tmp_path)
    assert kind == "refused" and "is damaged" in said
