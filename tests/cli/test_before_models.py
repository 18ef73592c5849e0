"""What is wrong with a command is said before a model is built for it, where that can be known without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from interleave_index.interface import registry


@pytest.fixture
def no_model(monkeypatch):
    """Building a model fails the test."""

    def build(*_, **__):
        raise AssertionError("a model was built")

    for name in ("load", "torch_device"):  # all that is built asks for the device
        monkeypatch.setattr(registry, name, build)


@pytest.fixture
def folders(tmp_path):
    """Folders of models as far as their config.json: a segmenter, one that helps with nothing, one without any."""
    made = {}
    for name, config in (("sam2", {"model_type": "sam2"}), ("bert", {"model_type": "bert"}), ("empty", None)):
        made[name] = tmp_path / "models" / name
        made[name].mkdir(parents=True)
        if config is not None:
            (made[name] / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ("#point=4000,10", "is outside picture"),
        ("#point=10,10;-20,900", "is outside picture"),
        ("#box=0,0,4000,90", "reaches out of picture"),
        ("#mask=absent.png", "absent.png"),
        ("[a disc] [image:absent.jpg]", "absent.jpg"),
    ],
)
def test_a_mark_that_does_not_fit_its_photo(marks, said, no_model, run, toy_index, drawn_photos):
    toy_index.close()
    status, out, err = run("ground", drawn_photos.red_disc.path, marks, "--index", toy_index.folder, "--model", "toy")
    assert (status, out) == (1, "") and said in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("model", ["toy", "sam2"])
def test_a_mark_that_does_not_fit_its_photo_where_there_is_no_index(
    model, no_model, folders, run, drawn_photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("ground", drawn_photos.red_disc.path, "#point=1,999", "--model", folders.get(model, model))
    assert (status, out) == (1, "") and "is outside picture" in err and len(err.strip().splitlines()) == 1


def test_a_photo_that_is_none(no_model, run, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    status, _, err = run("ground", tmp_path / "notes.txt", "[a disc]")
    assert status == 1 and "notes.txt" in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("grounders", "said"),
    [
        ("nobody/nothing", "interleave-index models pull nobody/nothing"),
        ("bert", "type 'bert', expected one of"),
        ("sam2,bert", "type 'bert', expected one of"),
        ("facebook/sam3", "facebook/sam3"),
    ],
)
def test_a_grounder_that_cannot_help(grounders, said, no_model, folders, run, toy_index, drawn_photos):
    toy_index.close()
    named = ",".join(str(folders.get(name, name)) for name in grounders.split(","))
    where = ("--index", toy_index.folder, "--model", "toy", "--grounders", named)
    asked = (
        ("ground", drawn_photos.red_disc.path, "[a disc]", *where),
        ("search", "[a disc]", "--ground", "exact", *where),
    )
    for words in asked:
        status, out, err = run(*words)
        assert (status, out) == (1, "") and said in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("reranker", "said"),
    [
        (None, "models.reranker names no model"),
        ("nobody/nothing", "interleave-index models pull nobody/nothing"),
        ("bert", "models.reranker names"),
        ("empty", "empty"),
    ],
)
def test_a_reranker_that_is_not_there(reranker, said, no_model, folders, run, toy_index):
    toy_index.close()
    named = () if reranker is None else ("--reranker", folders.get(reranker, reranker))
    status, out, err = run("search", "red", "--rerank", 5, "--index", toy_index.folder, "--model", "toy", *named)
    assert (status, out) == (1, "") and said in err and len(err.strip().splitlines()) == 1


def test_grounders_that_are_kept_and_gone_do_not_stop_a_search_that_needs_none(run, toy_index):
    toy_index.close()
    words = (
        "search",
        "[red]",
        "--index",
        toy_index.folder,
        "--model",
        "toy",
        "--grounders",
        "nobody/nothing",
        "--json",
    )
    status, out, _ = run(*words)
    assert status == 0 and json.loads(out)["hits"]


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="this system has no /dev/stdin")
def test_a_picture_that_comes_through_a_pipe_is_read_once(toy_index, drawn_photos, tmp_path):
    toy_index.close()
    query = "[a disc] [image:/dev/stdin#box=0,0,20,20]"
    words = [sys.executable, "-m", "interleave_index", "ground", drawn_photos.red_disc.path, query, "--model", "toy"]
    with open(drawn_photos.red_disc.path, "rb") as picture, subprocess.Popen(["cat"], stdin=picture, stdout=-1) as cat:
        done = subprocess.run(
            [*words, "--json"], stdin=cat.stdout, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0 and len(json.loads(done.stdout)["entities"]) == 2
