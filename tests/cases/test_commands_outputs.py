"""Outputs of commands go over nothing of the user's."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image

OUTPUTS = {
    "page": ("search", "[red]", "--html"),
    "page of one photo": ("ground", "PHOTO", "[red]", "--html"),
    "coco": ("export", "--coco"),
    "coco of a query": ("export", "[red]", "--coco"),
    "lines": ("export", "--jsonl"),
}


@pytest.fixture
def photo(run, drawn_photos, tmp_path, monkeypatch):
    """One photo that is indexed in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", str(tmp_path / "index"))
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
    shutil.copy(drawn_photos.red_disc.path, "photo.png")
    assert run("ingest", "photo.png", "--model", "toy", "--workers", 0)[0] == 0
    return Path("photo.png")


def words(name, photo):
    return [str(photo) if word == "PHOTO" else word for word in OUTPUTS[name]]


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_an_indexed_photo_survives_being_named_as_output(run, photo, name, overwrite):
    before = photo.read_bytes()
    status, _, err = run(*words(name, photo), photo, *overwrite)
    assert (status, err.startswith("error: "), photo.read_bytes()) == (1, True, before)


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_indexed_photo_that_is_no_picture_now_is_protected_too(run, photo, name, drawn_photos):
    photo.write_text("notes")
    argument = [drawn_photos.red_disc.path if word == "PHOTO" else word for word in OUTPUTS[name]]
    assert run(*argument, photo, "--overwrite")[0] == 1
    assert photo.read_text() == "notes"


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_catalog_is_no_output(run, photo, name):
    catalog = Path("index/catalog.sqlite")
    status, _, err = run(*words(name, photo), catalog, "--overwrite")
    assert status == 1 and "belongs to the index" in err
    assert run("verify")[0] == 0


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_file_is_written_over_only_when_asked(run, photo, name):
    Path("own.txt").write_text("before")
    status, _, err = run(*words(name, photo), "own.txt")
    assert status == 1 and "--overwrite" in err
    assert Path("own.txt").read_text() == "before"
    assert run(*words(name, photo), "own.txt", "--overwrite")[0] == 0
    assert Path("own.txt").read_text() != "before"


@pytest.mark.parametrize("name", OUTPUTS)
def test_no_parent_folder_is_made(run, photo, name):
    assert run(*words(name, photo), "absent/out")[0] == 1
    assert not Path("absent").exists()


@pytest.mark.parametrize("name", OUTPUTS)
def test_whoever_reads_a_fifo_gets_the_output(run, photo, name):
    os.mkfifo("pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_text()))
    reader.start()
    assert run(*words(name, photo), "pipe")[0] == 0
    reader.join(10)
    assert received and received[0]
    assert Path("pipe").is_fifo()


@pytest.mark.parametrize("command", [("search", "[red]", "--heatmap"), ("export", "[red]", "--masks")])
def test_pictures_are_written_again_only_over_our_own(run, photo, command):
    assert run(*command, "pictures")[0] == 0
    written = sorted(Path("pictures").iterdir())
    assert written and all(path.suffix == ".png" for path in written)
    assert run(*command, "pictures")[0] == 1
    assert run(*command, "pictures", "--overwrite")[0] == 0
    Image.open("photo.png").save(written[0])
    before = written[0].read_bytes()
    assert run(*command, "pictures", "--overwrite")[0] == 1
    assert written[0].read_bytes() == before


EXPORT_TO_STDOUT = (sys.executable, "-m", "interleave_index", "export", "--jsonl", "/dev/stdout")


def test_lines_on_stdout_stay_alone_there(run, photo):
    done = subprocess.run(EXPORT_TO_STDOUT, capture_output=True, text=True, check=True)
    assert [json.loads(line)["photo_id"] for line in done.stdout.splitlines()] == [1]
    assert "1 json line\n" in done.stderr


def test_a_shell_may_append_our_stdout_to_a_file(run, photo):
    Path("log").write_text("before\n")
    with open("log", "a") as log:
        subprocess.run(EXPORT_TO_STDOUT, stdout=log, check=True)
    first, second = Path("log").read_text().splitlines()
    assert (first, json.loads(second)["photo_id"]) == ("before", 1)


def test_hits_under_a_relevance_are_left_out_and_the_number_is_told(run, photo):
    status, out, _ = run("export", "[red]", "--jsonl", "all.jsonl", "--min-relevance", 0)
    assert status == 0 and out.startswith("1 hit,")
    status, out, _ = run("export", "[green]", "--jsonl", "none.jsonl", "--min-relevance", 1)
    assert out.startswith("0 hits") and Path("none.jsonl").read_text() == ""


def test_masks_of_what_is_absent_are_written_only_when_asked(run, photo):
    present = json.loads(run("export", "[red]", "[orange]", "--masks", "there", "--json")[1])["mask_files"]
    every = json.loads(run("export", "[red]", "[orange]", "--masks", "all", "--all-masks", "--json")[1])["mask_files"]
    assert (present, every) == (1, 2)


def test_hits_are_made_into_coco_once(run, photo, monkeypatch):
    from interleave_index.export import coco

    monkeypatch.setattr(coco, "answer_to_coco", Mock(wraps=coco.answer_to_coco))
    status, out, _ = run("export", "[red]", "--coco", "hits.json", "--json")
    assert (status, json.loads(out)) == (0, {"hits": 1, "coco_annotations": 1})
    assert coco.answer_to_coco.call_count == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", ["--dump", "--plot"])
def test_figures_go_over_no_picture(run, photo, option):
    before = photo.read_bytes()
    status, _, err = run("evaluate", "pack.tar", option, photo)
    assert status == 1 and "never written over" in err
    assert photo.read_bytes() == before


def test_two_outputs_of_one_name_are_refused_before_anything_is_written(run, photo, tmp_path):
    status, _, err = run("export", "[red]", "--coco", "a.json", "--jsonl", "./a.json", "--overwrite")
    assert status == 1 and "named twice" in err and not (tmp_path / "a.json").exists()
    status, _, err = run("search", "[red]", "--html", "out", "--heatmap", "out")
    assert status == 1 and "named twice" in err and not (tmp_path / "out").exists()
