"""What the scripts share that disturb the program at its work: a child that does it, and what must come of it.

`kills.py` and `full_disk.py` do some work (`work.py`) on a copy of an index, disturb it, and compare what is left with
an index that was never disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.work import CONFIG, Fork, OtherToy, catalog, end_of_the_other, is_database
from interleave_index import Index
from interleave_index.errors import IndexNotFound, InterleaveError
from interleave_index.interface.toy import ToyInterface
from interleave_index.storage.backup import restore_backup

QUERIES = ("red", "[blue] beside [green]", "a yellow thing -[red]")
LONGEST = 300.0  # seconds for one thing, on a busy machine; more means that it hangs
LOOK_EVERY, LONGEST_LOOK = 0.05, 1.0  # seconds between two looks whether a child is there, and when they were paused

# --- looking at what is left ----------------------------------------------------------------------


def state_of(place: Path) -> dict[str, Any]:
    """All that must be the same in an index that was killed and one that was not; paths below the folder."""
    name = catalog(place, "again" if (place / "again").is_dir() else "index")
    with Index.open(name, config=CONFIG) as index:
        active = next((row.space.interface for row in index.spaces() if row.state == "active"), None)
    with Index.open(name, config=CONFIG, interface=OtherToy() if active == "toy-two" else ToyInterface()) as index:
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
    """Checks of `verify` that are not clean in what a disturbed process left; nothing where it left no index.

    A backup that lies there is looked at as what can be restored from it.
    """
    failed = []
    for name in ("index", "other-index", "again"):
        opens = catalog(place, name)
        if not is_database(opens) and not (place / name / "catalog.sqlite").exists():
            continue
        with suppress(IndexNotFound), Index.open(opens, config=CONFIG, interface=ToyInterface()) as index:
            failed += _failed(index)
    if (place / "backup.tar").exists():
        with tempfile.TemporaryDirectory(dir=place) as folder:
            restore_backup(place / "backup.tar", Path(folder) / "restored")
            with Index.open(Path(folder) / "restored", config=CONFIG, interface=ToyInterface()) as index:
                failed += [f"of the backup: {words}" for words in _failed(index)]
    return failed


def _failed(index: Index) -> list[str]:
    return [f"{check.name}: {check.detail}" for check in index.verify() if not check.ok]


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What befalls a process at its work.

    Attributes:
        after: seconds from its start.
        strike: what happens then; is given its number, which is that of its group too.
    """

    after: float
    strike: Callable[[int], None]


def killed(number: int) -> None:
    """End a process and its group at once."""
    with suppress(ProcessLookupError):
        os.killpg(number, signal.SIGKILL)


def in_child(
    function: Callable[[Path], Any], place: Path, disturbance: Disturbance | None = None
) -> tuple[str, Any, float]:
    """Run a function in a process of its own; gives what became of it, a value, and seconds.

    It is ``done`` with its value, ``killed``, ``refused`` with the words of an error of this program; or in ``error``.

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
    said, struck = None, False
    if disturbance is not None:
        said = _said(receive, process, disturbance.after)
        struck = said is None and process.is_alive()
        if struck:
            disturbance.strike(process.pid or 0)  # a started process has a number
    said = said or _said(receive, process, LONGEST)
    seconds = time.monotonic() - start
    if said is not None:
        process.join()
        return (*said, seconds)
    if process.is_alive():
        killed(process.pid or 0)
        process.join()
        return "error", "took too long", seconds
    if struck and process.exitcode == -signal.SIGKILL:
        return "killed", None, seconds
    return "error", f"ended with {process.exitcode}", seconds


def _said(receive: Connection, process: BaseProcess, seconds: float) -> tuple[str, Any] | None:
    """What a child sends within so many seconds; None when it ended without a word, or says nothing so long.

    It is taken out of the pipe at once, since a child whose word does not fit into it waits for that. Time in which
    this process was stopped, and the child with it, does not count.
    """
    left, looked = seconds, time.monotonic()
    while process.is_alive() or receive.poll(0):
        if receive.poll(min(left, LOOK_EVERY)):
            try:
                return cast(tuple[str, Any], receive.recv())
            except EOFError:
                process.join(left)
                return None
        if not left:
            return None
        now = time.monotonic()
        left, looked = max(0.0, left - min(now - looked, LONGEST_LOOK)), now
    return None


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
    other = end_of_the_other(place, LONGEST)
    if other not in ("", "done"):
        wrong.append(f"the other one cannot go on: {other}")
    looked, state, _ = in_child(state_of, place)
    wrong += differences(state, wanted) if looked == "done" else [f"cannot be read: {state}"]
    looked, found, _ = in_child(failed_checks, place)
    return wrong + [f"after going on: {words}" for words in (found if looked == "done" else [found])]


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
                found = [f"{name} at {at:.3f}: {fault}" for fault in faults]
                wrong += found
                for line in found:
                    note(line)
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
    unknown = [name for name in only if name not in names]
    if unknown:
        raise SystemExit(f"--only has {', '.join(unknown)}, expected some of {', '.join(names)}")
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
