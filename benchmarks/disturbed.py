"""What the scripts share that disturb the program at its work: a library, all kinds of work, and what must come of it.

`kills.py` and `full_disk.py` do some work on a copy of an index, disturb it, and compare what is left with an index
that was never disturbed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from PIL import Image, ImageDraw

from interleave_index import Config, Index
from interleave_index.errors import InterleaveError
from interleave_index.interface.toy import COLOURS, DIM, ToyInterface
from interleave_index.records import Space
from interleave_index.storage.backup import restore_backup

PHOTOS, NOTES, MORE = 24, 8, 8  # pictures and pages at first, and pictures that come later
QUERIES = ("red", "[blue] beside [green]", "a yellow thing -[red]")
LONGEST = 120.0  # seconds for one thing; more means that it hangs
CONFIG = Config().with_flags(ingest_workers=0, ingest_batch=4, models_interface="toy")

Fork = multiprocessing.get_context("fork")


class OtherToy(ToyInterface):
    """The toy model with another name, for a second space."""

    space = Space(interface="toy-two", checkpoint="1" * 64, preprocessing="nearest of eight colours", dim=DIM)


# --- the library --------------------------------------------------------------------------------


def draw_library(folder: Path, first: int, count: int, notes: int) -> None:
    """Write drawn photos, text files beside every third of them, and pages that show some."""
    folder.mkdir(parents=True, exist_ok=True)
    colours = list(COLOURS)[:6]
    for number in range(first, first + count):
        generator = random.Random(number)
        picture = Image.new("RGB", (96, 72), generator.choice(("white", "black")))
        pen = ImageDraw.Draw(picture)
        for _ in range(generator.randint(1, 3)):
            x, y, side = generator.randint(0, 70), generator.randint(0, 50), generator.randint(12, 24)
            pen.rectangle((x, y, x + side, y + side), fill=COLOURS[generator.choice(colours)])
        picture.save(folder / f"{number:03}.png")
        if number % 3 == 0:
            (folder / f"{number:03}.txt").write_text(f"a {generator.choice(colours)} box, number {number}")
    for number in range(notes):
        pictures = "\n\n".join(f"A page about ![box {n}]({n:03}.png) and more." for n in range(number, number + 3))
        (folder / f"note-{number}.md").write_text(f"# Note {number}\n\n{pictures}\n")


def opened(place: Path, interface: ToyInterface | None = None) -> Index:
    """An index with the toy model, made if there is none."""
    return Index.open(place / "index", config=CONFIG, interface=interface or ToyInterface(), create=True)


# --- what is done -------------------------------------------------------------------------------


def ingest(place: Path) -> None:
    """Take photos, sidecars and pages in."""
    with opened(place) as index:
        index.ingest(place / "photos")


def ingest_again(place: Path) -> None:
    """Take in what was added, moved, edited and deleted; it was prepared by `change_library`."""
    with opened(place) as index:
        index.ingest(place / "photos", really=True)


def optimize(place: Path) -> None:
    """Fold all into new FAISS files."""
    with opened(place) as index:
        index.optimize()


def activate(place: Path) -> None:
    """Search the other space; going there twice changes nothing more."""
    with opened(place) as index:
        wanted = next(row for row in index.spaces() if row.space.interface == "toy-two")
        if wanted.state != "active":
            index.activate(wanted.id)


def prune(place: Path) -> None:
    """Forget what is missing."""
    with opened(place) as index:
        index.prune()


def repair(place: Path) -> None:
    """Mend damaged FAISS files, lost thumbnails and lost vectors."""
    with opened(place) as index:
        index.repair()


def forget(place: Path) -> None:
    """Take out a folder of photos for good."""
    with opened(place) as index, suppress(Exception):  # NotInIndex once they are forgotten
        index.forget([place / "photos" / "later"])


def backup(place: Path) -> None:
    """Write a backup, in place of none or of a whole one."""
    with opened(place) as index:
        target = place / "backup.tar"
        target.unlink(missing_ok=True)
        index.backup(target)


def restore(place: Path) -> None:
    """Make an index of a backup; what a killed run left in the new folder goes first, as a user would do."""
    if (place / "again").is_dir():
        shutil.rmtree(place / "again")
    restore_backup(place / "backup.tar", place / "again")


def watch(place: Path) -> None:
    """Watch the folder while photos come, for some seconds; then take in whatever is left."""
    from interleave_index.ingest.watch import changes

    stop = threading.Event()
    photos = place / "photos"

    def add() -> None:
        for number in range(PHOTOS, PHOTOS + MORE):
            draw_library(photos, number, 1, 0)
            time.sleep(0.4)
        stop.set()

    threading.Thread(target=add, daemon=True).start()
    with opened(place) as index:
        for places in changes([photos], stop):
            index.ingest(places)
    ingest(place)


def migrate(place: Path) -> None:
    """Open a catalog of the schema before the texts, which brings it up to date, and take in what it lacks."""
    ingest(place)


# --- the states in which it is done -------------------------------------------------------------


def make_empty(place: Path) -> None:
    """A folder of photos and no index."""
    draw_library(place / "photos", 0, PHOTOS, NOTES)


def make_filled(place: Path) -> None:
    """An index that holds the whole folder."""
    make_empty(place)
    ingest(place)


def make_changed(place: Path) -> None:
    """An index that holds the folder as it was before photos were added, moved, edited and deleted."""
    make_filled(place)
    photos = place / "photos"
    draw_library(photos / "later", PHOTOS, MORE, 0)
    (photos / "moved").mkdir()
    for number in range(4):
        (photos / f"{number:03}.png").rename(photos / "moved" / f"{number:03}.png")
    (photos / "005.png").unlink()
    (photos / "006.txt").unlink()
    Image.new("RGB", (96, 72), "blue").save(photos / "007.png")
    (photos / "note-1.md").write_text("# Other words\n\nA purple box ![](008.png) stands here.\n")


def make_grown(place: Path) -> None:
    """An index with FAISS files and as much again that is not in them."""
    make_filled(place)
    optimize(place)
    draw_library(place / "photos" / "later", PHOTOS, MORE, 0)
    ingest(place)


def make_two_spaces(place: Path) -> None:
    """An index with a second space beside the one that is searched."""
    make_filled(place)
    with opened(place, OtherToy()) as index:
        index.ingest(place / "photos")
    with opened(place) as index:
        first = next(row for row in index.spaces() if row.space.interface == "toy")
        if first.state != "active":
            index.activate(first.id)


def make_missing(place: Path) -> None:
    """An index of which some photos and texts are gone from the disk."""
    make_grown(place)
    shutil.rmtree(place / "photos" / "later")
    (place / "photos" / "note-2.md").unlink()
    ingest_again(place)


def make_damaged(place: Path) -> None:
    """An index with a damaged FAISS file, no thumbnails, and a file that failed and can be read now."""
    (place / "photos").mkdir(parents=True)
    (place / "photos" / "late.png").write_bytes(b"half a picture")
    make_grown(place)
    Image.new("RGB", (96, 72), "green").save(place / "photos" / "late.png")
    damaged = next((place / "index" / "faiss").glob("region-*"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 0xFF
    damaged.write_bytes(data)
    shutil.rmtree(place / "index" / "thumbnails")


def make_backed_up(place: Path) -> None:
    """A backup of an index."""
    make_grown(place)
    backup(place)


def make_old(place: Path) -> None:
    """An index whose catalog has the schema before texts were kept."""
    from sqlalchemy import text

    from interleave_index.storage import database, schema

    make_empty(place)
    old = place / "index"
    old.mkdir()
    engine = database.connect(old)
    schema.upgrade(engine, "0003")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


WORK: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "ingest": (make_empty, ingest),
    "ingest of changes": (make_changed, ingest_again),
    "optimize": (make_grown, optimize),
    "activate": (make_two_spaces, activate),
    "prune": (make_missing, prune),
    "repair": (make_damaged, repair),
    "forget": (make_grown, forget),
    "backup": (make_grown, backup),
    "restore": (make_backed_up, restore),
    "watch": (make_filled, watch),
    "migrate": (make_old, migrate),
}


# --- looking at what is left ----------------------------------------------------------------------


def state_of(place: Path) -> dict[str, Any]:
    """All that must be the same in an index that was killed and one that was not; paths below the folder."""
    config, folder = CONFIG, place / ("again" if (place / "again").is_dir() else "index")
    with Index.open(folder, config=config) as index:
        active = next((row.space.interface for row in index.spaces() if row.state == "active"), None)
    with Index.open(folder, config=config, interface=OtherToy() if active == "toy-two" else ToyInterface()) as index:
        photos = {photo.id: photo for photo, _ in index.library()}
        locations = Counter(
            (os.path.relpath(each.path, place), each.present)
            for photo in photos.values()
            for each in index.locations(photo)
        )
        passages = Counter(
            (os.path.relpath(passage.path or "", place), passage.text)
            for photo in photos.values()
            for passage in index.texts(photo)
        )
        status = index.status()
        answers = [
            sorted((os.path.basename(hit.photo.path or ""), round(hit.score, 6)) for hit in index.search(query, 100))
            for query in QUERIES
        ]
        texts = [
            sorted((os.path.relpath(hit.passage.path or "", place), hit.passage.text) for hit in found.texts or ())
            for found in (index.search(query, 100, target="texts") for query in QUERIES)
        ]
    counts = {name: status[name] for name in ("photos", "locations", "missing", "failed", "encodings", "regions")}
    return {
        "active": active,
        "counts": counts | {"texts": status["texts"]},
        "locations": sorted(locations.items()),
        "passages": sorted(passages.items()),
        "answers": answers,
        "texts": texts,
    }


def failed_checks(place: Path) -> list[str]:
    """Checks of `verify` that are not clean in what a killed process left; nothing where it left no index."""
    failed = []
    for name in ("index", "again"):
        if not (place / name / "catalog.sqlite").exists():
            continue
        with Index.open(place / name, config=CONFIG, interface=ToyInterface()) as index:
            failed += [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]
    return failed


def in_child(function: Callable[[Path], Any], place: Path, kill_after: float | None = None) -> tuple[str, Any, float]:
    """Run a function in a process of its own; gives what became of it, a value, and seconds.

    It is ``done`` with its value, ``killed``, ``refused`` with the words of an error of this program, or in ``error``.

    The process of this program opens no index itself: threads of FAISS do not outlive a fork.
    """
    receive, send = Fork.Pipe(duplex=False)

    def run() -> None:
        os.setsid()
        try:
            send.send(("done", function(place)))
        except InterleaveError as error:
            send.send(("refused", str(error)))
        except BaseException as error:
            send.send(("error", f"{type(error).__name__}: {error}"))

    start = time.monotonic()
    process = Fork.Process(target=run)
    process.start()
    send.close()
    process.join(LONGEST if kill_after is None else kill_after)
    seconds = time.monotonic() - start
    if process.is_alive():
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # type: ignore[arg-type]  # a started process has a number
        process.join()
        return ("killed" if kill_after is not None else "error", "took too long", seconds)
    kind, value = receive.recv() if receive.poll(0) else ("error", f"ended with {process.exitcode}")
    return kind, value, seconds


def expect(outcome: tuple[str, Any, float]) -> tuple[str, Any, float]:
    """The outcome of a child that has to be done."""
    if outcome[0] != "done":
        raise SystemExit(f"the undisturbed run did not work: {outcome[1]}")
    return outcome


def differences(state: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What of a state is otherwise than it must be, in words."""
    return [f"{name} is {state[name]}, expected {wanted[name]}" for name in wanted if state[name] != wanted[name]]


def faults_left(name: str, do: Callable[[Path], None], place: Path, wanted: dict[str, Any]) -> list[str]:
    """What is wrong with what a disturbed process left: by `verify`, and once the same work was done to its end.

    Args:
        name: of the kind of work; a repair begins with an index that is not sound.
        wanted: the state of an index that was never disturbed.
    """
    wrong: list[str] = []
    looked, found, _ = in_child(failed_checks, place)
    if looked != "done":
        wrong.append(f"cannot be opened: {found}")
    elif name != "repair":
        wrong += found
    again, said, _ = in_child(do, place)
    if again != "done":
        return [*wrong, f"cannot go on: {said}"]
    looked, state, _ = in_child(state_of, place)
    wrong += differences(state, wanted) if looked == "done" else [f"cannot be read: {state}"]
    return wrong + [f"after going on: {words}" for words in in_child(failed_checks, place)[1]]


class Disturbed(Protocol):
    """One kind of work that can be disturbed again and again."""

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Disturb it once, at a share of what it takes; gives whether it was disturbed, and what is wrong then."""

    def close(self) -> None:
        """Let go of what is held."""


def run(
    make: Callable[[str, Path], Disturbed],
    names: Sequence[str],
    points: int,
    seed: int,
    verb: str,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Disturb at so many points, evenly over the kinds of work.

    Args:
        make: gives a kind of work by its name and a folder to work in.
        verb: what became of those that were disturbed, for rows and lines.
    Returns:
        counts by kind, and everything that went wrong.
    """
    generator = random.Random(seed)
    rows: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="disturbed-") as scratch:
        for place, name in enumerate(names):
            share = points // len(names) + (place < points % len(names))
            if not share:
                continue
            work = make(name, Path(scratch))
            disturbed = 0
            for _ in range(share):
                at = generator.uniform(0.0, 1.0)
                was_disturbed, faults = work.one(at)
                disturbed += was_disturbed
                wrong += [f"{name} at {at:.3f}: {fault}" for fault in faults]
            work.close()
            rows[name] = {"points": share, verb: disturbed}
            note(f"{name}: {share} points, {disturbed} {verb}")
    return {"points": points, "seed": seed, "work": rows, "wrong": wrong}


def arguments(description: str, points: int, names: Sequence[str]) -> argparse.ArgumentParser:
    """The arguments of such a script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--points", type=int, default=points)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help=f"kinds by commas, of {', '.join(names)}")
    parser.add_argument("--json", action="store_true")
    return parser


def carry_out(
    make: Callable[[str, Path], Disturbed], names: Sequence[str], given: argparse.Namespace, verb: str
) -> bool:
    """Run as the arguments say and print what came of it; gives whether all was well."""
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    report = run(
        make, only or names, given.points, given.seed, verb, lambda line: print(line, file=sys.stderr, flush=True)
    )
    if given.json:
        print(json.dumps(report))
    else:
        for name, row in report["work"].items():
            print(f"{name:<20}{row['points']:>6} points{row[verb]:>6} {verb}")
        print("\n".join(report["wrong"]) or "nothing lost, nothing double, verify clean, every error in words")
    return not report["wrong"]
