"""All kinds of work that the scripts disturb, and the states in which each begins.

Each function takes a place: a folder with photos, and with an index beside them. The catalog of the index lies in its
folder, or in a database of PostgreSQL where the place says so in `index.url`; see `catalog`.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw
from sqlalchemy import make_url

from interleave_index import Config, Index
from interleave_index.errors import InterleaveError, NotInIndex, StorageError
from interleave_index.interface.toy import COLOURS, DIM, ToyInterface
from interleave_index.records import Space
from interleave_index.storage.backup import restore_backup
from tests.past import fill_database, unpack

PHOTOS, NOTES, MORE = 24, 8, 8  # pictures and pages at first, and pictures that come later
OLD = "0001"  # schema of the catalog that is migrated
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


def catalog(place: Path, name: str = "index") -> str:
    """What opens one of the indexes of a place: its folder, or the URL that a file beside it holds."""
    url = place / f"{name}.url"
    return url.read_text() if url.exists() else str(place / name)


def opened(place: Path, interface: ToyInterface | None = None, name: str = "index") -> Index:
    """An index with the toy model, made if there is none."""
    return Index.open(catalog(place, name), config=CONFIG, interface=interface or ToyInterface(), create=True)


def is_database(name: str) -> bool:
    """Whether the catalog of an index lies in a database."""
    return "://" in name


def empty(name: str) -> None:
    """Take everything out of a database, as who makes it anew."""
    import psycopg

    url = make_url(name)
    try:
        with psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
    except psycopg.OperationalError as error:  # the server was killed during this, which is no work of the program
        raise StorageError(f"database {url.database} cannot be emptied: {error}") from error


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
    with opened(place) as index, suppress(NotInIndex):  # once they are forgotten
        index.forget([place / "photos" / "later"])


def backup(place: Path) -> None:
    """Write a backup, in place of none or of a whole one."""
    with opened(place) as index:
        target = place / "backup.tar"
        try:
            target.unlink(missing_ok=True)
        except OSError as error:  # the disk failed during this, which is no work of the program
            raise StorageError(f"backup {target} cannot be removed: {error}") from error
        index.backup(target)


def restore(place: Path) -> None:
    """Make an index of a backup; what a killed run left in the new folder goes first, as a user would do."""
    again = catalog(place, "again")
    if (place / "again").is_dir():
        shutil.rmtree(place / "again")
    if is_database(again):
        empty(again)
    restore_backup(place / "backup.tar", again)


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
    """Open a catalog of the first schema, which brings it up to date, and take in what it lacks."""
    ingest(place)


def ingest_with_another(place: Path) -> None:
    """Take two folders in while another process, which nobody kills, takes in one of them and a third.

    The other one holds `other.lock` until it has written into `other` how it ended; see `end_of_the_other`.
    """
    (place / "other").unlink(missing_ok=True)
    with (place / "other.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed here and in the other process
        other = Fork.Process(target=_as_the_other, args=(place,))
        other.start()
    with opened(place) as index:
        index.ingest([place / "whole", place / "half"])
    other.join()


def _as_the_other(place: Path) -> None:
    os.setsid()  # so that a kill of the first one's group spares it
    try:
        with opened(place, name="other-index") as index:
            index.ingest([place / "other-half", place / "whole"])
        said = "done"
    except InterleaveError as error:
        said = f"refused: {error}"
    except BaseException as error:
        said = f"error: {type(error).__name__}: {error}"
    (place / "other").write_text(said)


def end_of_the_other(place: Path, longest: float) -> str:
    """How the other process of `ingest_with_another` ended, once it has; empty where there was none.

    Args:
        longest: seconds after which it is said to hang.
    """
    if not (place / "other.lock").exists():
        return ""
    end = time.monotonic() + longest
    with (place / "other.lock").open() as lock:
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > end:
                return "error: took too long"
            time.sleep(0.05)
    return (place / "other").read_text() if (place / "other").exists() else ""


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
    """An index with a catalog of the first schema, with the rows of six photos that lie elsewhere."""
    make_empty(place)
    name = catalog(place)
    if is_database(name):
        fill_database(name, OLD, unpack(OLD, place / "old"))
        shutil.rmtree(place / "old")
    else:
        unpack(OLD, place / "index")


def make_halves(place: Path) -> None:
    """Two folders with half of the photos and pages each, and one that holds all of them again."""
    draw_library(place / "half", 0, PHOTOS // 2, NOTES)
    draw_library(place / "other-half", PHOTOS // 2, PHOTOS // 2, 0)
    for half in ("half", "other-half"):
        shutil.copytree(place / half, place / "whole", dirs_exist_ok=True)


Work: TypeAlias = tuple[Callable[[Path], None], Callable[[Path], None]]  # makes the state, does the work

WORK: dict[str, Work] = {
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
SHARED: dict[str, Work] = {
    "ingest of two": (make_halves, ingest_with_another),  # into one database; one folder has one writer at a time
}
