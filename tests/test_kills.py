"""The script that kills at random moments: a few points of it here, twenty in the checks of a submission."""

from __future__ import annotations

from random import Random

from benchmarks import disturbed, kills


def test_nothing_is_lost_or_double_at_a_few_points():
    report = disturbed.run(kills.Killed, ["ingest", "optimize"], 2, 7, "killed", print)
    assert report["wrong"] == [] and {row["points"] for row in report["work"].values()} == {1}


def test_a_program_that_loses_something_is_found_out(monkeypatch):
    def forgetful(place):
        was_here_before = (place / "index" / "catalog.sqlite").exists()
        disturbed.ingest(place)
        if was_here_before:
            with disturbed.opened(place) as index:
                index.forget([place / "photos" / "001.png"])

    monkeypatch.setitem(disturbed.WORK, "ingest", (disturbed.make_empty, forgetful))
    monkeypatch.setattr(Random, "uniform", lambda *_: 0.7)
    (found, *_) = disturbed.run(kills.Killed, ["ingest"], 1, 0, "killed", print)["wrong"]
    assert found.startswith("ingest at 0.700: counts is")
