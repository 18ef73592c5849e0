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
