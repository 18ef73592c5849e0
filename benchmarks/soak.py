"""Everything that an index does, in turn, for hours; memory, handles and files are noted on the way.

    python -m benchmarks.soak [--minutes 120] [--model find-mini] [--plot soak.png] [--json]

One process keeps one index open. Each round takes in photos, notes and sidecars, asks words, pictures, parts and texts,
moves some files, deletes others and forgets some; every fifth round folds all into new FAISS files and prunes, every
tenth watches the folder for some seconds, makes a backup and proves the index. The library stays of one size, so that
whatever grows does so without need. Each round notes resident memory, open handles, threads, and the bytes of the
index. The slopes are taken over the second half, when caches are full.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.work import draw_library
from interleave_index import Config, Index

PHOTOS, FRESH = 60, 6  # photos of the library, and how many of them each round replaces
QUERIES = (
    "a red box",
    "[blue] beside [green]",
    "a yellow thing -[red]",
    "a page about boxes",
    "[a purple box] on white",
)
WATCHED_SECONDS = 5.0


def one_round(index: Index, photos: Path, number: int) -> None:
    """One round of work; `number` counts from 0."""
    draw_library(photos / f"round-{number}", PHOTOS + number * FRESH, FRESH, 2)
    index.ingest(photos, really=True)
    some = index.ids().tolist()
    chosen = random.Random(number).choice(some)
    for query in (*QUERIES, f"[photo:{chosen}] in red", f"[region:{chosen}/0]" if index.regions(chosen) else "red"):
        index.search(query, 10, target="both", stacks=number % 2 == 0)
    index.search(QUERIES[1], 3, ground="exact")
    index.search("red", 10, like=[chosen])
    old = sorted(photos.glob("round-*"), key=lambda folder: int(folder.name.split("-")[1]))
    if len(old) > PHOTOS // FRESH:
        shutil.rmtree(old[0])
        index.forget([old[1] / sorted(path.name for path in old[1].glob("*.png"))[0]])
        for path in sorted(old[2].glob("*.png"))[:1]:
            path.rename(path.with_name(f"moved-{path.name}"))
    if number % 5 == 4:
        index.ingest(photos, really=True)
        index.prune()
        index.optimize()
        index.duplicates()
    if number % 10 == 9:
        _watch(index, photos, number)
        backup = photos.parent / "backup.tar"
        backup.unlink(missing_ok=True)
        index.backup(backup)
        wrong = [check.name for check in index.verify() if not check.ok]
        if wrong:
            raise SystemExit(f"round {number}: verify failed: {', '.join(wrong)}")


def _watch(index: Index, photos: Path, number: int) -> None:
    from interleave_index.ingest.watch import changes

    stop = threading.Event()
    timer = threading.Timer(WATCHED_SECONDS, stop.set)
    timer.start()
    (photos / f"round-{number}" / "watched.txt").write_text(f"something new in round {number}")
    for places in changes([photos], stop):
        index.ingest(places)
    timer.join()


def noted(index: Index, started: float) -> dict[str, float]:
    """What is measured after a round."""
    gc.collect()
    with open("/proc/self/status", encoding="ascii") as file:
        memory = {name: rest for name, _, rest in (line.partition(":") for line in file)}
    resident, anonymous = (int(memory[name].split()[0]) / 2**10 for name in ("VmRSS", "RssAnon"))
    files = [path for path in index.folder.rglob("*") if path.is_file()]
    return {
        "minutes": round((time.monotonic() - started) / 60, 2),
        "memory_mib": round(resident, 1),
        "anonymous_mib": round(anonymous, 1),
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "index_mib": round(sum(path.stat().st_size for path in files) / 2**20, 2),
        "photos": index.status()["photos"],
    }


def slopes(rows: list[dict[str, float]]) -> dict[str, float]:
    """Growth an hour of each figure over the second half, by least squares."""
    late = rows[len(rows) // 2 :]
    hours = np.array([row["minutes"] for row in late]) / 60
    names = ("memory_mib", "anonymous_mib", "handles", "threads", "index_mib")
    if len(late) < 3:
        return dict.fromkeys(names, 0.0)
    return {name: round(float(np.polyfit(hours, [row[name] for row in late], 1)[0]), 2) for name in names}


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Memory and handles over time, as a PNG of 720 x 360."""
    width, height, left, top, gap = 720, 360, 70, 30, 40
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    tall = (height - 2 * top - gap) // 2
    last = max(row["minutes"] for row in rows) or 1.0
    for place, (name, words) in enumerate((("memory_mib", "memory, MiB"), ("handles", "open handles"))):
        base = top + place * (tall + gap) + tall
        most = 1.15 * max(row[name] for row in rows)
        pen.text((8, base - tall - 14), words, fill="black")
        pen.line((left, base, width - 20, base), fill="grey")
        for share in (0.0, 0.5, 1.0):
            pen.text((20, base - share * tall - 6), f"{share * most:.0f}", fill="grey")
        points = [(left + row["minutes"] / last * (width - 20 - left), base - row[name] / most * tall) for row in rows]
        pen.line(points, fill=(40, 90, 170), width=2)
    pen.text((left, height - 18), f"{last:.0f} minutes, {len(rows)} rounds", fill="black")
    picture.save(path)


def soaked(model: str, minutes: float, journal: Path | None = None) -> list[dict[str, float]]:
    """Round after round for so many minutes; gives what each left.

    Args:
        model: name of the interface.
        journal: file that each round adds a line of JSON to, so that a run which is cut short leaves its figures.
    """
    rows: list[dict[str, float]] = []
    config = Config().with_flags(models_interface=model, ingest_workers=1)
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch, ExitStack() as stack:
        lines = stack.enter_context(journal.open("a", encoding="ascii")) if journal is not None else None
        photos = Path(scratch) / "photos"
        draw_library(photos / "first", 0, PHOTOS, 10)
        index = stack.enter_context(Index.open(Path(scratch) / "index", config=config, create=True))
        started = time.monotonic()
        while time.monotonic() - started < 60 * minutes:
            one_round(index, photos, len(rows))
            rows.append(noted(index, started))
            if lines is not None:
                print(json.dumps(rows[-1]), file=lines, flush=True)
            if len(rows) % 10 == 0:
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description="Everything that an index does, in turn, for hours.")
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--model", default="find-mini")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--rows", type=Path, help="A file to which each round adds a line of JSON.")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = soaked(given.model, given.minutes, given.rows)
    report = {"model": given.model, "rounds": len(rows), "an_hour": slopes(rows), "first": rows[0], "last": rows[-1]}
    if given.plot is not None:
        plot(rows, given.plot)
    print(json.dumps(report | {"rows": rows}) if given.json else json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
