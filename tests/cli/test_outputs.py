"""What `evaluate` writes goes over nothing either."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The current folder is empty, and nothing is measured: `evaluate` gives its figures at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", "photos.index")
    calls: list[Any] = []

    def measure(pack, **options):
        calls.append(options)
        return {"seed": 0}

    monkeypatch.setattr("interleave_index.evaluation.evaluate", measure)
    return calls


@pytest.mark.parametrize("option", ["--dump", "--plot"])
def test_figures_go_over_a_file_only_when_asked(run, measured, option, tmp_path):
    words = ("evaluate", "pack.tar", "--model", "toy", option, "out")
    assert run(*words)[0] == 0
    (tmp_path / "out").write_text("notes")
    status, _, err = run(*words)
    assert (status, len(measured)) == (1, 1) and "--overwrite" in err
    assert run(*words, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("file", "said"), [("photos.index/catalog.sqlite", "belongs to the index"), ("absent/out", "make it first")]
)
def test_figures_go_neither_into_the_index_nor_into_a_folder_that_is_not_there(run, measured, file, said, tmp_path):
    (tmp_path / "photos.index").mkdir()
    (tmp_path / "photos.index" / "catalog.sqlite").write_text("rows")
    status, _, err = run("evaluate", "pack.tar", "--model", "toy", "--dump", file, "--overwrite")
    assert (status, measured) == (1, []) and said in err


def test_two_files_of_figures_have_two_names(run, measured):
    status, _, err = run("evaluate", "pack.tar", "--model", "toy", "--dump", "out", "--plot", "./out")
    assert status == 1 and "named twice" in err


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="this system has no /dev/stdout")
@pytest.mark.parametrize("option", ["--jsonl", "--coco"])
def test_a_dash_is_stdout_and_no_file(option, toy_index, tmp_path):
    toy_index.close()
    words = [sys.executable, "-m", "interleave_index", "export", option, "-", "--index", str(toy_index.folder)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not (tmp_path / "-").exists()
    lines = done.stdout.splitlines()
    photos = json.loads(done.stdout)["images"] if option == "--coco" else [json.loads(line) for line in lines]
    assert len(photos) == 6
    assert done.stderr.startswith("6 photos, ")


def test_the_first_help_cuts_no_sentence_off(run):
    for words in ((), ("models",)):
        status, out, _ = run(*words, "--help")
        assert status == 0 and "..." not in out.split("Commands:")[1]
