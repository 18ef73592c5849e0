"""What `doctor` looks at: packages, machine, model, index, and a trial of the whole with ten drawn photos.

Every look is by itself: one that fails gives a finding with its reason, and the next one is taken all the same.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from . import __version__
from .building import build_interface
from .config import Config, index_folder, shown_index
from .errors import ConfigError, IndexNotFound, InterleaveError
from .service import Index

PACKAGES = ("numpy", "torch", "sqlalchemy", "pillow", "typer")  # without which nothing runs
EXTRAS = {  # by what a package of them is for
    "faiss-cpu": "search of large indexes",
    "faiss-gpu": "search on a GPU",
    "transformers": "models of a hub",
    "fastapi": "page and REST",
    "watchdog": "watch",
    "psycopg": "catalogs in PostgreSQL",
    "rawpy": "raw files without a preview",
    "imagecodecs": "rare kinds of TIFF",
    "numba": "fast exact search",
}
LOW_MEMORY, LOW_DISK = 2 << 30, 1 << 30  # bytes under which a warning is given
PHOTOS = 10

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: of what was looked at; no two findings of one run have the same.
        level: ``warning``: works, but worth knowing; ``problem``: does not work.
        detail: one line: what was found, and for a problem the remedy.
    """

    name: str
    level: Level
    detail: str


def examine(place: Path | str, config: Config, *, trial: bool = True) -> Iterator[Finding]:
    """Look at everything that a search or an ingest needs, one finding at a time.

    Args:
        place: of the index; there need not be one.
        config: settings in force.
        trial: take in, search and verify ten drawn photos with the model of the settings, in a folder that is removed.
    """
    looks: list[tuple[str, Callable[[], Finding | list[Finding]]]] = [
        ("program", _program),
        ("packages", _packages),
        ("machine", _machine),
        ("gpu", _gpu),
        ("disk", lambda: _disk(place)),
        ("database", _database),
        ("index", lambda: _index(place, config)),
        ("model", lambda: _model(config)),
    ]
    if trial:
        looks.append(("trial", lambda: _trial(config)))
    for name, look in looks:
        try:
            found = look()
        except Exception as error:  # whatever one look meets, the next ones are worth taking
            words = str(error) if isinstance(error, InterleaveError) else f"{type(error).__name__}: {error}"
            found = Finding(name, "problem", " ".join(words.split()))
        yield from found if isinstance(found, list) else [found]


def _program() -> Finding:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("program", "ok", f"interleave-index {__version__}, {python}")


def _packages() -> list[Finding]:
    there = {name: version for name in (*PACKAGES, *EXTRAS) if (version := _version(name)) is not None}
    lacking = [name for name in PACKAGES if name not in there]
    found = [Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in there.items()))]
    if lacking:
        found.append(
            Finding("lacking", "problem", f"{', '.join(lacking)} not installed; install interleave-index again")
        )
    if "faiss-cpu" not in there and "faiss-gpu" not in there:
        words = "faiss is not installed, so that nothing can be searched; install interleave-index[cpu] (or [gpu])"
        found.append(Finding("faiss", "problem", words))
    without = [f"{name} ({use})" for name, use in EXTRAS.items() if name not in there and not name.startswith("faiss")]
    if without:
        found.append(Finding("extras", "ok", f"not installed: {', '.join(without)}"))
    return found


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine() -> Finding:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total, free = _memory()
    if total is None or free is None:
        return Finding("machine", "ok", f"{processors} processors")
    words = f"{processors} processors, {_gib(free)} of {_gib(total)} memory free"
    return Finding("machine", "warning" if free < LOW_MEMORY else "ok", words)


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory in all and free for programs; None where the system tells neither."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        sizes = {name: int(rest.split()[0]) << 10 for name, _, rest in (line.partition(":") for line in lines)}
        return sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return None, None


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
        named = ", ".join(f"{card.name} with {_gib(card.total_memory)}" for card in cards)
        return Finding("gpu", "ok", f"{named}; torch {torch.__version__}")
    if torch.backends.mps.is_available():
        return Finding("gpu", "ok", f"Apple GPU; torch {torch.__version__}")
    return Finding("gpu", "ok", f"none that torch {torch.__version__} can use; models run on the processors")


def _disk(place: Path | str) -> Finding:
    folder = _folder(place)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        return Finding("disk", "warning", f"{folder} cannot be written: an index there can be searched, not changed")
    return Finding("disk", "warning" if free < LOW_DISK else "ok", f"{_gib(free)} free at {folder}")


def _folder(place: Path | str) -> Path:
    try:
        return index_folder(place)
    except ConfigError:  # the finding of the index says so
        return Path.cwd()


def _database() -> Finding:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(text)")
    return Finding("database", "ok", f"SQLite {sqlite3.sqlite_version} with full-text search")


def _index(place: Path | str, config: Config) -> list[Finding]:
    try:
        index = Index.open(place, config=config)
    except IndexNotFound:
        return [Finding("index", "ok", f"none at {shown_index(place)} yet; `interleave-index ingest` makes one")]
    with index:
        facts = index.status()
        counts = f"{facts['photos']} photos, {facts['missing']} missing, {facts['failed']} failed"
        space = facts["space"]
        model = f", searched with {space['interface']}" if space else ", nothing taken in yet"
        found = [Finding("index", "ok", f"{index.folder}: {counts}{model}")]
        found.append(Finding("catalog", "ok", index.database()))
        wrong = [check for check in index.verify() if not check.ok]
        for check in wrong:
            found.append(Finding(f"check of {check.name}", "problem", f"{check.detail}; see `interleave-index repair`"))
        if not wrong:
            found.append(Finding("checks", "ok", "catalog, vectors and FAISS files agree"))
        lacking = facts["photos"] - facts["encodings"]
        if space and lacking:
            found.append(Finding("vectors", "warning", f"{lacking} photos have none; `interleave-index repair`"))
    return found


def _model(config: Config) -> Finding:
    start = time.perf_counter()
    interface = build_interface(config)
    seconds = time.perf_counter() - start
    space = interface.space
    return Finding("model", "ok", f"{space.interface}, {space.dim} numbers a vector, loaded in {seconds:.1f} s")


def _trial(config: Config) -> Finding:
    """Ten drawn photos through the whole program: ingest, a search that must find one of them first, verify."""
    from PIL import Image

    from .demo.scenes import SCENES

    with tempfile.TemporaryDirectory(prefix="interleave-index-") as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        for scene, draw in list(SCENES.items())[:PHOTOS]:
            Image.fromarray(draw().pixels()).save(photos / f"{scene}.jpg", quality=90)
        with Index.open(Path(name) / "index", config=config, create=True) as index:
            start = time.perf_counter()
            report = index.ingest(photos)
            ingest = time.perf_counter() - start
            asked = photos / "red-house.jpg"
            start = time.perf_counter()
            answer = index.search(f"[image:{asked}]", 3)
            search = time.perf_counter() - start
            wrong = [check.name for check in index.verify() if not check.ok]
    first = answer.hits[0].photo.path if answer.hits else None
    if report.added != PHOTOS or wrong or first is None or Path(first).name != asked.name:
        said = f"{report.added} of {PHOTOS} photos taken in, {first} found for {asked.name}, failed checks {wrong}"
        return Finding("trial", "problem", f"{said}; please report this with what stands above")
    return Finding(
        "trial", "ok", f"{PHOTOS} photos taken in in {ingest:.1f} s, found and verified; a search {search:.2f} s"
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
