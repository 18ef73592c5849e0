"""What commands print can be read by other programs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from interleave_index import Answer, Hit, Index
from interleave_index.config import Config
from interleave_index.export.table import answer_table
from interleave_index.records import Photo

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)
DEEP = "/".join(["a-folder-name"] * 16)


@pytest.fixture
def index(tmp_path, monkeypatch, drawn_photos):
    """An index of two photos: one far down, and one whose name is no UTF-8 and holds a line end."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", "i")
    Path(DEEP).mkdir(parents=True)
    shutil.copy(drawn_photos.red_disc.path, f"{DEEP}/photo.png")
    odd = os.fsdecode(b"caf\xe9\nx.png")
    shutil.copy(drawn_photos.green_square.path, odd)
    with Index.open("i", config=TOY, create=True) as opened:
        opened.ingest([DEEP, odd])
    return tmp_path


def search(*words):
    command = [sys.executable, "-m", "interleave_index", "search", *words]
    return subprocess.run(command, capture_output=True, check=True).stdout


def test_a_long_path_stays_on_its_line_when_the_output_is_piped(index):
    lines = search("[red]").decode().splitlines()
    assert any(f"{DEEP}/photo.png" in line for line in lines)


def test_paths_alone_are_bytes_of_the_disk(index):
    deep, odd = f"{index}/{DEEP}/photo.png".encode(), os.fsencode(index) + b"/caf\xe9\nx.png"
    assert search("[red]", "-0") == deep + b"\0" + odd + b"\0"
    assert search("[red]", "--paths", "-k", "1") == deep + b"\n"


def test_json_and_paths_together_are_wrong_usage(index):
    done = subprocess.run(
        [sys.executable, "-m", "interleave_index", "search", "red", "--json", "-0"], capture_output=True, check=False
    )
    assert done.returncode == 2


def test_hits_tell_date_and_camera(index):
    hit = json.loads(search("[red]", "--json"))["hits"][0]
    assert hit["taken_at"] is None and hit["camera"] is None


def test_a_terminal_gets_links(tmp_path):
    hit = Hit(1, Photo(1, "/photos/a b.jpg", 6, 4), 0.5, 0.9)
    console = Console(force_terminal=True, width=120, color_system="truecolor", file=(tmp_path / "out").open("w"))
    console.print(answer_table(Answer("red", "exact", (hit,))))
    console.file.close()
    assert "file:///photos/a%20b.jpg" in (tmp_path / "out").read_text()
