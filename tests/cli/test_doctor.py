"""`doctor`: what is there, what is not, and a trial of the whole."""

from __future__ import annotations

import json

import pytest

from interleave_index import Config, Index, examine


def findings(run, *words):
    status, out, _ = run("doctor", *words, "--json")
    report = json.loads(out)
    assert report["ok"] == (status == 0) == all(found["level"] != "problem" for found in report["findings"])
    named = {found["name"]: found for found in report["findings"]}
    assert len(named) == len(report["findings"])
    return status, named


def test_a_sound_machine_has_no_problem_and_the_trial_runs(run, tmp_path):
    status, out, _ = run("doctor", "--index", tmp_path / "none", "--model", "toy")
    lines = out.splitlines()
    assert status == 0 and not any("PROBLEM" in line for line in lines)
    assert any(line.startswith("ok      trial: 10 photos taken in") for line in lines)
    assert any(f"none at {tmp_path / 'none'} yet" in line for line in lines) and not (tmp_path / "none").exists()


def test_each_problem_has_its_line_and_the_other_looks_are_taken(run, toy_index, monkeypatch):
    for faiss_file in (toy_index.folder / "faiss").glob("*.faiss"):
        data = bytearray(faiss_file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        faiss_file.write_bytes(data)
    monkeypatch.setattr(examine, "_memory", lambda: (16 << 30, 1 << 30))
    status, named = findings(run, "--index", toy_index.folder, "--model", "no/such-model", "--no-trial")
    assert status == 1 and named["model"]["level"] == "problem" and "models pull" in named["model"]["detail"]
    assert named["index"]["level"] == "ok" and "checks" not in named
    for kind in ("image", "region"):
        assert named[f"check of {kind} file of space 1"]["level"] == "problem"
    assert (
        named["machine"]
        == {
            "name": "machine",
            "level": "warning",
            "detail": named["machine"]["detail"],
        }
        and "1.0 GiB of 16.0 GiB" in named["machine"]["detail"]
    )
    assert "trial" not in named and named["disk"]["level"] == "ok"


def test_a_package_that_is_lacking_is_named_with_its_remedy(monkeypatch):
    there = {"torch": "2", "numpy": "2", "pillow": "12", "typer": "1"}
    monkeypatch.setattr(examine, "_version", there.get)
    wanted = ("packages", "lacking", "faiss", "extras")
    found = [f for f in examine.examine("/nowhere", Config(), trial=False) if f.name in wanted]
    assert tuple(f.name for f in found) == wanted
    assert [f.level for f in found] == ["ok", "problem", "problem", "ok"]
    assert "sqlalchemy not installed" in found[1].detail and "interleave-index[cpu]" in found[2].detail
    assert "watchdog (watch)" in found[3].detail


@pytest.mark.parametrize("broken", ["ingest", "search"])
def test_a_trial_that_goes_wrong_is_a_problem(run, tmp_path, monkeypatch, broken):
    def fail(*_args, **_options):
        raise ValueError("the model is broken")

    monkeypatch.setattr(Index, broken, fail)
    status, named = findings(run, "--index", tmp_path / "none", "--model", "toy")
    assert status == 1 and named["trial"]["level"] == "problem"
