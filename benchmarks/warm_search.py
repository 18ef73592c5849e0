"""Seconds from the shell to the first hit of a text query: with a served index, and with nothing running.

    python benchmarks/warm_search.py [--photos 500] [--model find-mini] [--times 10] [--index FOLDER]

Draws photos, takes them in (or uses an index that is there), and runs the command `search` as a shell would, each time
as a new process. What is measured is the time to the first line of the table that names a photo. Beside it, in the same
run: the same command without the server, and Python that imports numpy and ends, below which no such command can come.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

BOUND = 0.5  # seconds to the first hit, served
PROGRAM = (sys.executable, "-m", "interleave_index")
QUERY = "a red disc on grass"


def draw(folder: Path, count: int) -> None:
    """Drawn photos, each with a disc of its own place and colour."""
    folder.mkdir()
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:240, :320]
    for number in range(count):
        pixels = np.full((240, 320, 3), random.integers(0, 255, 3), np.uint8)
        x, y = random.integers(60, 260), random.integers(60, 180)
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < 50**2] = random.integers(0, 255, 3)
        Image.fromarray(pixels).save(folder / f"{number:04d}.jpg")


def first_hit(*options: str) -> float:
    """Seconds until the command has printed the first photo."""
    began = time.perf_counter()
    with subprocess.Popen([*PROGRAM, "search", QUERY, *options], stdout=subprocess.PIPE, text=True) as command:
        for line in iter(command.stdout.readline, ""):  # type: ignore[union-attr]
            if ".jpg" in line:
                took = time.perf_counter() - began
                command.communicate()
                return took
    sys.exit("the search has printed no photo")


def start_server(index: str) -> subprocess.Popen[str]:
    """A server whose model is in memory."""
    server = subprocess.Popen([*PROGRAM, "serve", "--port", "0", "--index", index], stderr=subprocess.PIPE, text=True)
    server.stderr.readline()  # type: ignore[union-attr]
    first_hit("--index", index)
    return server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--model", default="find-mini")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--index", help="one that is there, instead of drawn photos")
    args = parser.parse_args()

    os.environ.pop("INTERLEAVE_CONFIG", None)
    with tempfile.TemporaryDirectory() as place:
        index = args.index or f"{place}/index"
        if args.index is None:
            draw(Path(place) / "photos", args.photos)
            ingest = [*PROGRAM, "ingest", f"{place}/photos", "--index", index, "--model", args.model]
            subprocess.run(ingest, check=True, stdout=subprocess.DEVNULL)
        alone = [first_hit("--index", index, "--no-server") for _ in range(3)]
        server = start_server(index)
        try:
            served, imports = [], []
            for _ in range(args.times):
                served.append(first_hit("--index", index))
                began = time.perf_counter()
                subprocess.run([sys.executable, "-c", "import numpy"], check=True)
                imports.append(time.perf_counter() - began)
        finally:
            server.terminate()
            server.wait(30)
    median = statistics.median(served)
    figures = {
        "served_s": round(median, 3),
        "served_worst_s": round(max(served), 3),
        "alone_s": round(statistics.median(alone), 3),
        "import_numpy_s": round(statistics.median(imports), 3),
        "times_faster": round(statistics.median(alone) / median, 1),
        "bound_s": BOUND,
        "holds": median < BOUND,
    }
    print(json.dumps(figures))
    sys.exit(0 if figures["holds"] else 1)


if __name__ == "__main__":
    main()
