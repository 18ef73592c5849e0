"""Every example runs as a reader would run it, over drawn photos and the weightless interface."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from interleave_index.service import Index

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *words):
    found = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture
def index(_ingested, tmp_path):
    """Folder of an index that keeps `toy` as its model."""
    import shutil

    return shutil.copytree(_ingested, tmp_path / "photos.index")


def test_searching_a_folder_takes_it_in_once_and_finds_the_disc(drawn_photos, tmp_path):
    folder = tmp_path / "pics"
    folder.symlink_to(drawn_photos.folder)
    first = run("search_a_folder.py", folder, "[yellow]", "--model", "toy")
    assert first.startswith("6 added, 0 already there, 0 failed\n1  ")
    assert "yellow_disc_on_black.png" in first.split("\n")[1]
    assert "yellow: there, box [(15, 15, 65, 65)]" in first
    assert run("search_a_folder.py", folder, "[yellow]", "--model", "toy").startswith("0 added, 6 already there")


def test_asking_with_a_part_prints_the_query_and_writes_a_page(drawn_photos, index, tmp_path):
    page, picture = tmp_path / "hits.html", drawn_photos.red_disc_and_blue_square.path
    asked = run("ask_with_a_part.py", index, picture, 75, 35, 105, 65, "--page", page)
    lines = asked.splitlines()
    assert lines[0].endswith("red_disc_and_blue_square.png#box=75,35,105,65]")
    assert "blue_" in lines[1] and page.read_text("utf-8").count("Picture of the query") == 1


def test_the_exported_file_is_read_back(index, tmp_path):
    printed = run("export_to_coco.py", index, "[green]", tmp_path / "out")
    assert "green, 2500 pixels" in printed
    coco = COCO(str(tmp_path / "out" / "hits.json"))
    assert len(coco.getImgIds()) == 6 and list((tmp_path / "out" / "masks").glob("001-*-e1-green.png"))


def test_an_interface_of_ones_own_ranks_the_same_picture_first(drawn_photos):
    printed = run("own_interface.py", drawn_photos.folder, drawn_photos.purple_stripe.path).splitlines()
    assert printed[0] == "6 photos" and "purple_stripe.png" in printed[1]


def test_an_interface_of_ones_own_says_why_it_takes_no_words(drawn_photos, tmp_path):
    import importlib.util

    from interleave_index.errors import InputError

    spec = importlib.util.spec_from_file_location("own_interface", EXAMPLES / "own_interface.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with Index.open(tmp_path, interface=module.Colours(), create=True) as index:
        index.ingest(drawn_photos.folder)
        with pytest.raises(InputError, match="reads pictures, not words"):
            index.search("[a dog]")


def test_every_example_is_run_here():
    text = Path(__file__).read_text("utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if path.name not in text] == []
