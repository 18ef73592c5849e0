"""A process that dies at any step leaves an index that the next open finds whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.storage.store import Store

DRIVER = Path(__file__).with_name("crash_driver.py")
STEPS = [line.split('"')[1] for line in DRIVER.read_text().splitlines() if line.startswith('    "') and ": (" in line]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", params=["20 20", "60 8 20"], ids=["one file of all", "a file beside the first"])
def wrecks(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """The folder of an index with so many photos in each of its files, and the last ones to be folded, and a folder
    with one wrecked copy of it per step.
    """
    folder = tmp_path_factory.mktemp("crashes")
    command = [sys.executable, "-c", BEFORE, str(folder / "before"), *request.param.split()]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    subprocess.run([sys.executable, str(DRIVER), str(folder / "before"), str(folder)], check=True, env=ENVIRONMENT)
    return folder / "before", folder


BEFORE = """
import sys
from interleave_index.records import PhotoFacts, Space
from interleave_index.storage.store import Store
import numpy as np
with Store.open(sys.argv[1], create=True) as store:
    store.ensure_space(Space("toy", "0" * 64, "none", 16))
    counts = [int(count) for count in sys.argv[2:]]
    for part, count in enumerate(counts):
        rows = np.random.default_rng(part).normal(size=(count, 4, 16))
        rows = (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)
        zeros = np.zeros((count, 3), np.float32)
        store.write_encodings(1, [PhotoFacts(f"{part}-{i}".rjust(64, "x"), 1, 1, "PNG") for i in range(count)],
                              rows[:, 0], rows[:, 1:], np.zeros((count, 3, 4), np.float32), zeros, zeros)
        if part < len(counts) - 1:
            store.optimize(1)
"""


def answers(store: Store) -> list[Any]:
    """What a search finds, by both indexes."""
    queries = np.eye(16, dtype=np.float32)[:3]
    indexes = store.indexes(1)
    return [indexes.of(kind).search(queries, 25)[1].tolist() for kind in ("image", "region")]


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_leaves_the_state_before_or_after_and_nothing_between(wrecks: tuple[Path, Path], step: str) -> None:
    before, folder = wrecks
    with Store.open(before) as store:
        counts, found, before_files = store.count(1), answers(store), store.status()["generations"]
    with Store.open(folder / step) as store:
        assert [f"{check.name}: {check.detail}" for check in store.verify() if not check.ok] == []
        assert store.count(1) == counts and answers(store) == found
        files = {row["file"] for row in store.status()["generations"]}
        assert {path.name for path in (folder / step / "faiss").glob("*.faiss")} == files
        assert len(files) == (2 if len(before_files) == 2 else 4)
        store.optimize(1)
        assert answers(store) == found
        assert all(check.ok for check in store.verify())


WORK = """
import sys
sys.path.insert(0, sys.argv[2])
from crash_driver import encoding
from interleave_index.records import PhotoFacts
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.store import Store
with Store.open(sys.argv[1]) as store:
    print("open", flush=True)
    number = int(sys.argv[3])
    while True:
        names = [f"{number + i:064x}" for i in range(5)]
        store.write(WriteBatch(1, [PhotoWrite(PhotoFacts(name, 1, 1, "PNG"), encoding(number, 2)) for name in names],
                               [LocationWrite(f"/photos/{name}", name, 1, 1) for name in names]))
        print(number + 5, flush=True)
        number += 5
        if number % 10 == 0:
            store.optimize(1)
        if number % 15 == 0:
            store.forget([store.photo_by_sha(names[0]).id])
            store.write(WriteBatch(1, [PhotoWrite(PhotoFacts(names[0], 1, 1, "PNG"), encoding(1, 1))],
                                   [LocationWrite(f"/photos/{names[0]}", names[0], 1, 1)]))
"""


def test_kill_at_any_moment_loses_at_most_the_batch_in_flight(another_library: Callable[[], Any]) -> None:
    library = another_library()
    library.store.close()
    moments, written = random.Random(5), 0
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", WORK, str(library.folder), str(DRIVER.parent), str(written)],
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            time.sleep(moments.uniform(0.05, 0.6))
            process.kill()
            said = [int(line) for line in process.stdout.read().splitlines()]
        written = said[-1] if said else written
        with Store.open(library.folder) as store:
            assert [f"{check.name}: {check.detail}" for check in store.verify() if not check.ok] == []
            assert written - 1 <= store.count(1)[0] <= written + 5  # one may be between forgotten and written again
            assert len(answers(store)) == 2
