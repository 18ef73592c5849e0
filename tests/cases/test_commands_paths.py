"""Paths that no shell has expanded, URLs of files, and streams, wherever a path is taken."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from interleave_index import Index
from interleave_index.config import Config

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)


@pytest.fixture
def home(tmp_path, monkeypatch, drawn_photos):
    """A home folder with one photo, while the current folder is another."""
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copy(drawn_photos.red_disc.path, folder / "a photo.png")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
    monkeypatch.delenv("INTERLEAVE_INDEX", raising=False)
    return folder


def nothing_was_made_here():
    return os.listdir() == []


@pytest.mark.parametrize("path", ["~/a photo.png", "~/a%20photo.png", "FILE_URL"])
def test_ingest_search_ground_and_forget_know_the_home_folder(run, home, path):
    path = path.replace("FILE_URL", (home / "a photo.png").as_uri())
    options = ("--index=~/x.index", "--model", "toy")
    assert run("ingest", path, *options, "--workers", 0)[0] == 0
    assert (home / "x.index").is_dir()
    status, out, err = run("search", f"[image:{path}]", *options, "--json")
    assert status == 0, err
    assert json.loads(out)["hits"][0]["path"] == str(home / "a photo.png")
    assert json.loads(run("ground", path, "[red]", *options, "--json")[1])["photo_id"] == 1
    assert run("forget", path, "--index=~/x.index")[0] == 0
    assert nothing_was_made_here()


def test_variable_and_settings_know_the_home_folder(run, home, monkeypatch):
    (home / "c.yaml").write_text("index: ~/y.index\nmodels: {interface: toy}\n")
    assert run("ingest", "~/a photo.png", "--config=~/c.yaml", "--workers", 0)[0] == 0
    assert (home / "y.index").is_dir()
    monkeypatch.setenv("INTERLEAVE_INDEX", "~/y.index")
    assert json.loads(run("status", "--json")[1])["photos"] == 1
    assert nothing_was_made_here()


def test_python_knows_the_home_folder(home):
    with Index.open("~/z.index", config=TOY, create=True) as index:
        assert index.ingest("~/a photo.png").added == 1
        assert index.ground("~/a photo.png", "[red]").photo.id == 1
    assert (home / "z.index").is_dir() and nothing_was_made_here()


def test_a_path_that_is_not_there_is_wrong_usage_in_every_form(run, home):
    for path in ("~/absent", "file:///absent", "~nobody-has-this/a"):
        status, _, err = run("ingest", path, "--index=~/x.index")
        assert status == 2 and "Traceback" not in err


def test_a_picture_may_come_through_a_pipe(home, drawn_photos):
    with Index.open("~/x.index", config=TOY, create=True) as index:
        index.ingest(drawn_photos.folder)
    command = [sys.executable, "-m", "interleave_index"]
    done = subprocess.run(
        [*command, "search", "[image:/dev/stdin]", "--index=~/x.index", "--json", "--html", "page.html"],
        input=Path(drawn_photos.green_square.path).read_bytes(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hits"][0]["path"] == drawn_photos.green_square.path
    assert "Picture of the query" in Path("page.html").read_text()
