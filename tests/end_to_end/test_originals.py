"""Originals are only read: after every command the photos' folder is what it was, to the byte and the nanosecond."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from interleave_index.cli.app import app

# They run until they are stopped, work on other files than photos, or have tests of their own for what they write.
ELSEWHERE = {"serve", "watch", "train", "evaluate", "models", "demo", "restore"}


@pytest.fixture
def photos(drawn_photos, tmp_path):
    """A folder with all that a command may be tempted to change; its modes keep an ordinary user from writing."""
    folder = tmp_path / "photos"
    shutil.copytree(drawn_photos.folder, folder)
    first = sorted(folder.glob("*.png"))[0]
    shutil.copy(first, folder / f"{first.stem} copy.png")
    (folder / f"{first.stem}.txt").write_text("a red disc")
    (folder / "page.md").write_text(f"# Page\n\nHere is ![]({first.name}) a disc.\n")
    (folder / "broken.jpg").write_bytes(b"no picture")
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


def snapshot(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Of every file its hash, the time of its last change and its mode; the folder itself included."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        facts = path.stat()
        data = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (data, facts.st_mtime_ns, facts.st_mode)
    return found


def commands(folder: Path, out: Path) -> list[list[str]]:
    """Every command on a folder of photos, those last that take something out of the index."""
    photo = str(sorted(folder.glob("*.png"))[0])
    return [
        ["ingest", str(folder), "--model", "toy"],
        ["ingest", str(folder), "--retry"],
        ["ingest", str(folder), "--reread"],
        ["search", "[red] beside [blue]", "--html", str(out / "a.html"), "--heatmap", str(out / "heat")],
        ["search", f"[image:{photo}]", "--ground", "exact", "--target", "both"],
        ["ground", photo, "[red]", "--html", str(out / "b.html")],
        ["segment", photo, "--out", str(out / "segments"), "--model", "find-mini"],
        ["texts", photo],
        ["status"],
        ["verify"],
        ["doctor", "--no-trial"],
        ["duplicates"],
        ["spaces"],
        ["activate", "1"],
        ["export", "[red]", "--coco", str(out / "c.json"), "--masks", str(out / "masks")],
        ["optimize"],
        ["repair", "--apply"],
        ["backup", str(out / "backup.tar")],
        ["prune", "--yes", "--grace", "0"],
        ["forget", photo],
        ["forget", "--undo", photo],
        ["ingest", str(folder), "--model", "toy"],
    ]


def test_no_command_touches_the_photos(run, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLEAVE_INDEX", str(tmp_path / "index"))
    out = tmp_path / "out"
    out.mkdir()
    before = snapshot(photos)
    done = set()
    for words in commands(photos, out):
        status, _, err = run(*words)
        assert status in (0, 3), (words, err)
        assert snapshot(photos) == before, words
        done.add(words[0])
    assert done | ELSEWHERE == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_photos_on_a_read_only_mount_are_taken_in_and_searched(photos, tmp_path):
    script = (
        f"mount --bind {photos} {photos} && mount -o remount,bind,ro {photos} && ! touch {photos}/x 2>/dev/null && "
        f"for words in 'ingest {photos} --model toy' 'search red' 'ingest {photos} --reread' 'repair --apply'; do "
        f"{sys.executable} -m interleave_index $words --index {tmp_path / 'index'} || [ $? -eq 3 ] || exit 9; done"
    )
    done = subprocess.run(["unshare", "--mount", "--map-root-user", "sh", "-c", script], capture_output=True, text=True)
    if done.returncode not in (0, 9):
        pytest.skip(f"no private mounts here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr
    assert os.access(tmp_path / "index" / "catalog.sqlite", os.R_OK)
