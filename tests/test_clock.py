"""A clock that is set back, as after a flat battery or a journey, neither loses anything nor makes an answer wrong."""

from __future__ import annotations

import shutil
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from interleave_index.service import Index, intake
from interleave_index.storage import backup, lock, rows

YEAR = timedelta(days=365)


class LastYear(datetime):
    """The time of a year ago."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # no more than is asked for
        return datetime.now(tz) - YEAR


@pytest.fixture
def set_back(monkeypatch):
    """Sets every clock back that the program reads, by a year, but for those that never fall."""
    now = time.time_ns

    def do() -> None:
        for module in (rows, intake, lock, backup):
            monkeypatch.setattr(module, "datetime", LastYear)
        monkeypatch.setattr(time, "time_ns", lambda: now() - int(YEAR.total_seconds()) * 10**9)
        monkeypatch.setattr(time, "time", lambda: time.time_ns() / 1e9)

    return do


def answers(index: Index) -> list[tuple[int, float]]:
    return sorted((hit.photo.width, hit.score) for hit in index.search("[red] and green", 20))


def test_all_work_goes_on_when_the_clock_is_set_back(toy_index, drawn_photos, tmp_path, set_back):
    photos = tmp_path / "photos"
    shutil.copytree(drawn_photos.folder, photos)
    toy_index.ingest(photos)
    toy_index.forget([drawn_photos.folder])
    before = answers(toy_index)
    first, second, third = sorted(path.name for path in photos.iterdir())[:3]
    set_back()
    (photos / "deeper").mkdir()
    (photos / first).rename(photos / "deeper" / first)
    shutil.copy(photos / second, photos / "copy.png")
    with (photos / third).open("ab") as file:
        file.write(b"edited")
    report = toy_index.ingest(photos)
    assert (report.moved, report.duplicate, report.failed) == (1, 1, ()) and report.added + report.changed == 1
    toy_index.optimize()
    toy_index.backup(tmp_path / "b.tar")
    assert answers(toy_index) == before and all(check.ok for check in toy_index.verify())
    assert rows.now() < datetime.now() - YEAR / 2  # what was written bears the earlier time


def test_nothing_is_pruned_early_when_the_clock_is_set_back(toy_index, drawn_photos, tmp_path, set_back):
    photos = tmp_path / "photos"
    shutil.copytree(drawn_photos.folder, photos)
    for path in photos.iterdir():
        path.write_bytes(path.read_bytes() + b"of another place")
    toy_index.ingest(photos)
    for path in photos.iterdir():
        path.unlink()
    toy_index.ingest(photos, really=True)
    set_back()
    assert toy_index.prunable(7).photos == 0 and toy_index.prune(7) == 0
    assert toy_index.prune(0) == 6 and all(check.ok for check in toy_index.verify())
