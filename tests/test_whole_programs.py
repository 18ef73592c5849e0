"""The comparisons with other programs: what is told is counted right, and our own side runs as it does there."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    """The scripts, imported as they import each other when one of them is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    names = ("whole_programs", "whole_programs_engines", "whole_photos")
    return Namespace(**{name: importlib.import_module(name) for name in names})


def arguments(work: Path, **more: Any) -> Namespace:
    told = {"work": work, "seconds": 1.0, "cpus": 1, "photos": 400, "dim": 32, "verb": "both"}
    told |= {"rclip": None, "clip_retrieval": None, "lightly_studio": None}
    return Namespace(**{**told, **more})


def test_our_side_gives_the_paths_of_the_true_ten_nearest(scripts, tmp_path):
    scripts.whole_programs.make_data(tmp_path, 400, 32)
    ours = scripts.whole_programs_engines.PROGRAMS["interleave-index"](tmp_path)
    filled = scripts.whole_programs_engines.filled(ours, tmp_path)
    ours.open()
    for query in np.load(tmp_path / "queries.npy")[::40]:
        scores = np.load(tmp_path / "vectors.npy").astype(np.float32) @ query
        found = [scripts.whole_programs_engines.number_of(path) for path in ours.search(query)]
        assert sorted(found) == sorted(np.argsort(-scores)[:10].tolist())
    ours.index.close()
    asked = scripts.whole_programs_engines.asked(ours, tmp_path, 0.2)
    ours.index.close()
    assert asked["recall"] == 1 and asked["queries"] >= 10 and filled["bytes"] > 400 * 32 * 2


def test_data_of_another_size_are_not_mixed_up(scripts, tmp_path):
    scripts.whole_programs.make_data(tmp_path, 100, 16)
    with pytest.raises(SystemExit, match="holds 100 vectors of 16, expected 200 of 16"):
        scripts.whole_programs.make_data(tmp_path, 200, 16)


@pytest.mark.parametrize(
    ("python", "why"),
    [
        (None, "no --rclip given"),
        ("/nowhere/python", "/nowhere/python cannot be run"),
        (sys.executable, "cannot be imported: No module named 'rclip'"),
    ],
)
def test_a_program_that_cannot_run_is_left_out_with_the_reason(scripts, tmp_path, python, why):
    np.save(tmp_path / "vectors.npy", np.eye(20, 16, dtype=np.float16))
    args = arguments(tmp_path, programs=["rclip"], rclip=python)
    results = scripts.whole_programs.measured(args)
    assert results["programs"]["rclip"]["skipped"] == why
    assert f"| rclip | {why} |" in scripts.whole_programs.table(results)
    assert json.loads((tmp_path / "filled.json").read_text()) == {"rclip": {"skipped": why}}


def test_the_table_tells_how_many_times_ours_a_figure_is(scripts):
    figures = {"bytes": 2_000_000, "p50_ms": 1.234, "p99_ms": 5.0, "cpu_ms": 2.0, "anonymous_mb": 7, "peak_mb": 9}
    theirs = scripts.whole_programs.together({"fill_cpu_s": 3.0}, {**figures, "cpu_ms": 50.0})
    ours = scripts.whole_programs.together({"fill_cpu_s": 12.0}, figures)
    shown = scripts.whole_programs.table({"programs": {"interleave-index": ours, "rclip": theirs}})
    own, other = shown.splitlines()[2:]
    assert "(" not in own and "1.23, 5" in own and "7, 9" in own
    assert "3.0 (0.25)" in other and "2 (1)" in other and "50.0 (25)" in other
    assert len({line.count("|") for line in shown.splitlines()}) == 1


def test_a_random_model_reads_texts_and_its_tower_is_kept_under_the_names_that_the_graph_asks_for(
    scripts, tmp_path, monkeypatch
):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    for name, value in {"SIDE": 32, "PATCH": 16, "WIDTH": 16, "HEADS": 2, "LAYERS": 1, "DIM": 8}.items():
        monkeypatch.setattr(scripts.whole_photos, name, value)
    scripts.whole_photos.draw_model(tmp_path / "model")
    read = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("ab c")["input_ids"]
    assert read[0] == 0 and read[-1] == 1 and len(read) == 5
    graph = scripts.whole_photos.Graph({})
    with np.load(tmp_path / "vision.npz") as kept:
        graph.weights = dict(kept)
    monkeypatch.setattr(graph, "add", lambda kind, *inputs, **options: kind)
    graph.block("x", "vision_model.encoder.layers.0")
    graph.linear("x", "visual_projection")
    np.testing.assert_array_equal(graph.constants["visual_projection.w"], graph.weights["visual_projection.weight"].T)
    assert {"vision_model.encoder.layers.0.self_attn.q_proj.bias", "scale"} <= graph.constants.keys()
    assert graph.constants["scale"].shape == ()  # with an axis, vectors would have one more


@pytest.mark.parametrize(
    ("python", "why"), [("/nowhere/python", "cannot be run"), (sys.executable, "lacks a package: .*'rclip'")]
)
def test_an_interpreter_without_rclip_is_one_line(scripts, python, why):
    with pytest.raises(SystemExit, match=why):
        scripts.whole_photos.checked(python)
