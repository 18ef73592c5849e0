"""Kills processes and servers while two ingests write one catalog in PostgreSQL, and looks whether anything is lost.

    python -m benchmarks.kills_postgres [--points 20] [--seed 0]

At each point two processes, with an index folder each, take in folders that hold the same 30 drawn photos and pages
twice. At a random moment one of them gets SIGKILL, or, at every third point, the server with all its processes. Then
`verify` has to be clean, and after one more ingest every photo, location and page has to be there once. Needs a server
of PostgreSQL (Debian: apt install postgresql).
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from interleave_index import Config, Index
from interleave_index.interface.toy import COLOURS, ToyInterface
from tests.postgres import Server

PHOTOS = 30
CONFIG = Config().with_flags(models_interface="toy", ingest_workers=0, ingest_batch=3)
INGEST = """
import sys
from benchmarks.kills_postgres import CONFIG
from interleave_index import Index
from interleave_index.interface.toy import ToyInterface
with Index.open(sys.argv[1], config=CONFIG, interface=ToyInterface(), create=True) as index:
    print("open", flush=True)
    index.ingest(sys.argv[2:])
"""


def draw(folder: Path) -> tuple[Path, Path, Path]:
    """Two folders with half of the photos and pages each, and one with all of them."""
    halves, whole = (folder / "x", folder / "y"), folder / "z"
    for number in range(PHOTOS):
        place = halves[number * 2 // PHOTOS]
        place.mkdir(exist_ok=True)
        rgb = np.full((96, 128, 3), 255, np.uint8)
        rgb[3:40, number : number + 30] = COLOURS["red"]
        Image.fromarray(rgb).save(place / f"{number}.png")
        (place / f"{number}.md").write_text(f"page {number} ![]({number}.png)")
    for half in halves:
        shutil.copytree(half, whole, dirs_exist_ok=True)
    return *halves, whole


def begin(name: str, *folders: Path) -> subprocess.Popen[str]:
    """An ingest in a process of its own, which has opened the index."""
    words = [sys.executable, "-c", INGEST, name, *map(str, folders)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.stdout is not None:
        process.stdout.readline()
    return process


def point(server: Server, folder: Path, places: tuple[Path, Path, Path], seconds: float, *, whole: bool) -> list[str]:
    """What is wrong after one kill: nothing, as a rule.

    Args:
        seconds: before the kill.
        whole: kill the server rather than one of the processes.
    """
    x, y, z = places
    database = server.blank()
    names = [server.url(database, folder / name) for name in ("one", "two")]
    processes = [begin(names[0], z, x), begin(names[1], y, z)]
    time.sleep(seconds)
    if whole:
        server.kill()
    else:
        processes[0].send_signal(signal.SIGKILL)
    ends = [process.communicate()[1].strip().splitlines() for process in processes]
    wrong = []
    if whole:
        server.start()
        for process, lines in zip(processes, ends, strict=True):
            if process.returncode and not any("StorageError" in line for line in lines[-1:]):
                wrong.append(f"ended with {lines[-1:]}")
    elif processes[1].returncode:
        wrong.append(f"the other one ended with {ends[1][-1:]}")
    with Index.open(names[0], config=CONFIG, interface=ToyInterface(), create=True) as index:
        wrong += [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]
        index.ingest([x, y, z])
        wrong += [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]
        facts = index.status()
    found = [facts[name] for name in ("photos", "locations", "missing", "failed", "encodings")]
    found.append(facts["texts"]["documents"])
    if found != [PHOTOS, 2 * PHOTOS, 0, 0, PHOTOS, 2 * PHOTOS]:
        wrong.append(f"photos, locations, missing, failed, encodings, pages: {found}")
    server.give_back(database)
    return wrong


def main() -> None:
    """Kill, look, and say what was wrong; status 1 when anything was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    moments, failures = random.Random(options.seed), 0
    server = Server()
    try:
        with tempfile.TemporaryDirectory() as name:
            places = draw(Path(name))
            for number in range(options.points):
                folder = Path(name) / str(number)
                wrong = point(server, folder, places, moments.uniform(0, 1.5), whole=number % 3 == 2)
                failures += bool(wrong)
                print(f"{number + 1} of {options.points}: {'; '.join(wrong) or 'clean'}", flush=True)
    finally:
        server.remove()
    print(f"{options.points} kills, {failures} with something lost, double or damaged")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
