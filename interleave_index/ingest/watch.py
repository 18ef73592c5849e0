"""Folders kept in the index while they change: events are gathered until they are quiet, then taken in together.

What a change means is left to the ingest, which tells new, changed, moved and deleted files by itself; here only the
places are gathered where something happened. Everything is taken in once at the start, so that nothing is lost that
happened while nobody watched. A root that vanishes, such as a share that goes away, is left alone until it comes back.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BackendMissing
from ..paths import lies_in

QUIET_SECONDS = 2.0  # without an event before a place is taken in
LONGEST_WAIT = 30.0  # seconds after which a place is taken in though it never is quiet
LOOK_EVERY = 0.25  # seconds between two looks at what is due
LOOK_AT_ROOTS = 5.0  # seconds between two looks whether roots are there


@dataclass(slots=True)
class Gathered:
    """Places where something happened, until they are due.

    Args:
        clock: seconds, never falling.
    """

    clock: Callable[[], float] = time.monotonic
    _first: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def happened(self, folder: str) -> None:
        """Something happened in a folder."""
        now = self.clock()
        with self._guard:
            self._first.setdefault(folder, now)
            self._last[folder] = now

    def due(self) -> list[str]:
        """Every place, once all are quiet or one has waited long enough; what is given is forgotten.

        A file that moves shows in two folders: they are given together, so that the move is seen as one.
        """
        now = self.clock()
        with self._guard:
            if not self._last:
                return []
            quiet = now - max(self._last.values()) >= QUIET_SECONDS
            if not quiet and now - min(self._first.values()) < LONGEST_WAIT:
                return []
            places = sorted(self._last)
            self._first.clear()
            self._last.clear()
        return places


def places_to_take_in(places: Iterable[str], roots: Collection[str]) -> list[Path]:
    """Folders to ingest for some places: each that is there, or the nearest one above it below its root; none twice.

    A folder that was deleted is seen as missing by an ingest of the one above it. Places whose root is gone are left.

    >>> places_to_take_in(["/no/such/place"], ["/no/such"])
    []
    """
    found: set[str] = set()
    for place in places:
        root = next((root for root in roots if lies_in(place, root)), None)
        if root is None or not os.path.isdir(root):
            continue
        while place != root and not os.path.isdir(place):
            place = os.path.dirname(place)
        found.add(place)
    outer = [place for place in found if not any(other != place and lies_in(place, other) for other in found)]
    return [Path(place) for place in sorted(outer)]


def changes(roots: Iterable[Path | str], stop: threading.Event) -> Iterator[list[Path]]:
    """What to take in, one list after the other, until `stop` is set: first all roots, then what changed.

    Args:
        roots: folders; one that is not there is watched for.
    Raises:
        BackendMissing: watchdog is not installed.
    """
    observer_of = _observer()
    paths = list(dict.fromkeys(os.path.realpath(root) for root in roots))
    gathered = Gathered()
    watched: dict[str, Any] = {}
    observer = observer_of()
    observer.start()
    looked = -LOOK_AT_ROOTS
    try:
        while not stop.is_set():
            now = time.monotonic()
            if now - looked >= LOOK_AT_ROOTS:
                looked = now
                came = _watch(observer, paths, watched, gathered)
                if came:
                    yield [Path(root) for root in came]
                    continue
            some = places_to_take_in(gathered.due(), paths)
            if some:
                yield some
            else:
                stop.wait(LOOK_EVERY)
    finally:
        observer.stop()
        observer.join()


def _watch(observer: Any, roots: list[str], watched: dict[str, Any], gathered: Gathered) -> list[str]:
    """Begin to watch roots that are there and were not watched; those that are gone are let go. Gives the new ones."""
    came: list[str] = []
    for root in roots:
        there = os.path.isdir(root)
        if root in watched and not there:
            with suppress(KeyError, OSError):
                observer.unschedule(watched.pop(root))
        elif root not in watched and there:
            with suppress(OSError):  # it went away just now, or there are too many folders to watch
                watched[root] = observer.schedule(_handler(gathered), root, recursive=True)
                came.append(root)
    return came


def _observer() -> Any:
    try:
        from watchdog.observers import Observer
    except ImportError as error:
        raise BackendMissing(
            "watching folders needs the package watchdog, which is not installed; "
            "install it by `pip install 'interleave-index[watch]'`"
        ) from error
    return Observer


def _handler(gathered: Gathered) -> Any:
    from watchdog.events import FileSystemEvent, FileSystemEventHandler

    class Handler(FileSystemEventHandler):
        """Notes the folder of every change; that a file was opened or read is none."""

        def on_any_event(self, event: FileSystemEvent) -> None:
            """See watchdog."""
            if event.event_type in ("opened", "closed_no_write"):
                return
            for path in (event.src_path, event.dest_path):
                if path:
                    gathered.happened(os.path.dirname(os.fsdecode(path)))

    return Handler()
