"""What commands are given to read: streams that never end, and paths that no shell has expanded."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interleave_index.errors import ImageTooLarge
from interleave_index.ingest import decode

fifos = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")


@fifos
@pytest.mark.parametrize(
    "words", [("ground", "pipe", "[x]"), ("search", "[image:pipe] x"), ("search", "a [image:p.png#mask=pipe]")]
)
def test_a_fifo_that_is_named_as_a_picture_is_refused_and_not_waited_for(words, toy_index, drawn_photos, tmp_path):
    """In a process of its own, which a fault of this kind would hold for ever."""
    toy_index.close()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "p.png").symlink_to(drawn_photos.red_disc.path)
    command = [sys.executable, "-m", "interleave_index", *words, "--index", str(toy_index.folder), "--model", "toy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pipe" in done.stderr and "not a regular file" in done.stderr


def test_a_picture_that_comes_through_a_pipe_is_read_up_to_a_limit(monkeypatch, drawn_photos):
    png = Path(drawn_photos.red_disc.path).read_bytes()
    assert decode.read_stream(io.BytesIO(png)) == png
    monkeypatch.setattr(decode, "MAX_FILE_BYTES", len(png) - 1)
    with pytest.raises(ImageTooLarge, match="expected at most"):
        decode.read_stream(io.BytesIO(png))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_a_pipe_that_brings_no_picture_is_not_read_to_its_end(tmp_path):
    with open("/dev/zero", "rb") as endless:
        command = [sys.executable, "-m", "interleave_index", "ground", "/dev/stdin", "[x]", "--model", "toy"]
        done = subprocess.run(
            command, stdin=endless, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1 and "/dev/stdin" in done.stderr and "not a picture" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "~/absent"),
        ("evaluate", "karpathy", "~/absent", "--photos", "."),
        ("evaluate", "find-bench", "--coco=~/absent"),
        ("train", "~/absent", "--out", "out"),
        ("train", "--data", "coco", "~/absent", "--out", "out", "--language", "find-mini"),
        ("train", ".", "--out", "out", "--recipe=~/absent"),
        ("models", "info", "~/absent"),
        ("models", "import", "~/absent", "--name", "x"),
        ("ground", "~/absent", "[x]"),
        ("search", "x", "--model", "~/absent"),
        ("search", "x", "--config=~/absent"),
    ],
)
def test_a_home_folder_that_no_shell_expanded_is_understood_by_every_command(
    words, run, toy_index, tmp_path, monkeypatch
):
    toy_index.close()
    monkeypatch.setenv("INTERLEAVE_INDEX", str(toy_index.folder))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*words)
    assert status == 1
    assert str(tmp_path / "home" / "absent") in err


def test_a_home_folder_that_is_not_known_is_wrong_usage(run):
    status, _, err = run("evaluate", "~nobody-of-this-name/pack.tar")
    assert status == 2
    assert "~nobody-of-this-name" in err and "is not known" in err


def test_the_demo_goes_where_a_home_folder_is(run, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("interleave_index.demo.run.run_demo", lambda folder, **_: asked.append(folder))
    assert run("demo", "~/demo")[0] == 0
    assert asked == [tmp_path / "demo"]
