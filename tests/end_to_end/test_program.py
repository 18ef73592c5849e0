"""The program as its users run it: another process, real files, pipes and signals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = [sys.executable, "-m", "interleave_index"]


@pytest.fixture
def environment(tmp_path):
    """Variables of a user who has set nothing, with an index of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERLEAVE_")}
    return {**kept, "INTERLEAVE_INDEX": str(tmp_path / "photos.index"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def program(tmp_path, environment):
    """Run the program in an empty folder; gives the finished process."""

    def program(*words, **options):
        return subprocess.run(
            [*PROGRAM, *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **options,
        )

    return program


@pytest.fixture
def ingested(program, _ingested, tmp_path):
    """The program beside an index of the drawn photos."""
    shutil.copytree(_ingested, tmp_path / "photos.index")
    return program


def test_from_a_folder_of_photos_to_a_grounded_hit(program, drawn_photos):
    done = program("ingest", drawn_photos.folder, "--model", "toy", "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "6 added" in done.stdout
    found = program("search", "[a red disc]", "-k", "1", "--json")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout)["hits"][0]["path"] == drawn_photos.red_disc.path
    assert program("verify").returncode == 0


def test_a_reader_that_leaves_early_ends_the_program_quietly(ingested, tmp_path, environment):
    with subprocess.Popen(
        [*PROGRAM, "search", "red", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(60), said) == (141, "")


def test_output_in_a_plain_c_locale_does_not_fail(ingested, environment):
    environment.update(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", PYTHONIOENCODING="ascii:strict")
    found = ingested("search", "[a red disc]")
    assert (found.returncode, found.stderr) == (0, "")
    assert "red_disc.png" in found.stdout


def test_ctrl_c_finishes_the_batch_and_the_next_run_goes_on(program, tmp_path, environment, draw):
    folder, many = tmp_path / "many", 200
    for number in range(many):
        green = {"green": draw.rectangle(0, 0, 10 + number % 100, 10 + number // 100)}
        draw.save(draw.paint(green), folder / f"{number:03d}.png")
    words = [*PROGRAM, "ingest", str(folder), "--model", "toy", "--workers", "0", "--batch", "4"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for_photos(tmp_path / "photos.index" / "catalog.sqlite")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    before = json.loads(program("status", "--json").stdout)["photos"]
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert 0 < before < many
    assert program("verify").returncode == 0
    again = json.loads(program("ingest", folder, "--workers", "0", "--json").stdout)
    assert (again["present"], again["added"], again["failed"]) == (before, many - before, [])


def wait_for_photos(catalog: Path) -> None:
    """Until the first batch is written."""
    for _ in range(600):
        time.sleep(0.02)
        if catalog.exists():
            try:
                with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as connection:
                    if connection.execute("select count(*) from photo").fetchone()[0]:
                        return
            except sqlite3.OperationalError:  # the tables are not there yet
                continue
    pytest.fail("no photo was written within 12 seconds")


def test_the_wheel_works_in_a_clean_environment(built_wheel, tmp_path, environment, drawn_photos):
    made = subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=False)
    assert made.returncode == 0
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python)]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(built_wheel)], check=True, capture_output=True)
    # the dependencies are those of this environment; a path in a .pth file runs none of the .pth files beside it
    (site / "dependencies.pth").write_text(str(Path(np.__file__).parents[1]) + "\n")

    def run(*words):
        return subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    where = run(python, "-c", "import interleave_index; print(interleave_index.__file__)").stdout
    assert where.startswith(str(site))
    command = tmp_path / "venv" / "bin" / "interleave-index"
    assert run(command, "ingest", drawn_photos.folder, "--model", "toy").returncode == 0
    found = run(command, "search", "[a green square]", "-k", 1)
    assert (found.returncode, "green_square.png" in found.stdout) == (0, True), found.stderr
