"""The script that kills at random moments: a few points of it here, twenty in the checks of a submission."""

from __future__ import annotations

from benchmarks import kills


def test_nothing_is_lost_or_double_at_a_few_points():
    report = kills.run(2, 7, ["ingest", "optimize"], lambda line: None)
    assert report["wrong"] == [] and {row["points"] for row in report["work"].values()} == {1}


def test_a_program_that_loses_something_is_found_out(monkeypatch):
    def forgetful(place):
        was_here_before = (place / "index" / "catalog.sqlite").exists()
        kills.ingest(place)
        if was_here_before:
            with kills.opened(place) as index:
                index.forget([place / "photos" / "001.png"])

    monkeypatch.setitem(kills.WORK, "ingest", (kills.make_empty, forgetful))
    monkeypatch.setattr(kills.random.Random, "uniform", lambda *_: 0.7)
    (found, *_) = kills.run(1, 0, ["ingest"], lambda line: None)["wrong"]
    assert found.startswith("ingest at 0.700: counts is")
