"""Words of errors, help, and records as people meet them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from interleave_index import Answer, Index
from interleave_index.cli import main
from interleave_index.config import Config
from interleave_index.models.hub import local

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)
PROGRAM = (sys.executable, "-m", "interleave_index")


def test_an_error_of_the_system_is_told_in_words(capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "/disk/out.json")

    monkeypatch.setattr(Index, "open", full)
    with pytest.raises(SystemExit) as end:
        main(["status", "--index", "anywhere"])
    assert end.value.code == 1
    assert capsys.readouterr().err == "error: /disk/out.json: no space left on device\n"


@pytest.mark.parametrize("command", ["ingest", "search", "ground", "export", "serve"])
def test_help_ends_with_examples_that_keep_their_lines(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.split("Examples:")[1].splitlines()
    assert [line for line in lines if f"interleave-index {command}" in line]


def test_models_are_listed_without_a_home_folder(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv(local.HOME_VARIABLE, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert local.home().is_relative_to(tempfile.gettempdir())
    assert local.pulled() == []


def test_records_are_short_in_a_console(toy_index):
    answer = toy_index.search("[red] on white")
    for value in (answer, answer[0], answer[0].photo, answer[0].entities[0], answer[0].entities[0].regions[0].rle):
        assert len(repr(value)) < 400 and "\n" not in repr(value)
    assert "'[red] on white'" in repr(answer) and "6 hits" in repr(answer)


def shown(value):
    """What a notebook shows of a value; the front door adds the method."""
    return getattr(value, "_repr_html_")()  # noqa: B009


def test_a_notebook_shows_photos_and_escapes_what_was_asked(toy_index, drawn_photos):
    answer = toy_index.search("[red <script>]")
    page = shown(answer)
    assert page.count("data:image/jpeg") == 6
    assert "<script>" not in page and "red_disc.png" in page
    assert shown(answer[0]).count("data:image/jpeg") == 1
    assert "No photo was searched" in shown(Answer("x", "exact", ()))


def test_a_notebook_shows_a_frame_for_a_photo_that_is_gone(tmp_path, draw):
    path = Path(draw.save(np.zeros((40, 60, 3), np.uint8), tmp_path / "photo.png"))
    with Index.open(tmp_path / "i", config=TOY, create=True) as index:
        index.ingest(path)
        path.unlink()
        assert "cannot be read now" in shown(index.search("red"))


def test_a_server_that_is_ended_leaves_no_socket(drawn_photos):
    with tempfile.TemporaryDirectory() as place:
        with Index.open(f"{place}/i", config=TOY, create=True) as index:
            index.ingest(drawn_photos.folder)
        server = subprocess.Popen([*PROGRAM, "serve", "--port", "0", "--index", f"{place}/i"], stderr=subprocess.PIPE)
        assert server.stderr is not None
        with server.stderr:
            server.stderr.readline()
            assert os.path.exists(f"{place}/i/serve.sock")
            time.sleep(0.2)
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        assert not os.path.exists(f"{place}/i/serve.sock")
