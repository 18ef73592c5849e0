"""Lets the disk run full at random points of everything that is written, and looks whether anything is lost or double.

    python -m benchmarks.full_disk [--points 60] [--seed 0] [--only ingest,optimize] [--json]

As `benchmarks/kills.py`, but nothing is killed: photos and index lie in a tmpfs of its own with a random amount of room
left. What cannot be done must end in an error of this program's own, in words. `verify` has to be clean in what is
left, the same work must succeed once there is room, and the index be equal to one that never lacked any. It needs
Linux, where an ordinary user may mount in a namespace of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.kills import WORK, differences, expect, failed_checks, in_child, state_of

KINDS = ("ingest", "ingest of changes", "optimize", "repair", "backup", "prune", "migrate")
INSIDE = "--inside"  # said to the process that may mount
ROOM = 512 << 20  # bytes of a disk with room
SLACK = 1 << 20  # bytes beyond what is kept in the end: journals and drafts come and go


def used(folder: Path) -> int:
    """Bytes that are in use in a file system."""
    facts = os.statvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize


def mount(folder: Path, size: int, *, again: bool = False) -> None:
    """Put a tmpfs of so many bytes in place of a folder, or give the one that is there another size."""
    options = f"{'remount,' if again else ''}size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


class FullDisk:
    """One kind of work on a disk that is as full as is wanted."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        make, self._do = WORK[name]
        folder = scratch / name.replace(" ", "-")
        self.place, self._kept = folder / "place", folder / "kept"
        self.place.mkdir(parents=True)
        mount(self.place, ROOM)
        expect(in_child(make, self.place))
        shutil.copytree(self.place, self._kept)
        before = used(self.place)
        expect(in_child(self._do, self.place))
        self._needs = max(0, used(self.place) - before) + SLACK
        self._wanted = expect(in_child(state_of, self.place))[1]

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Leave this share of the room that is needed; gives whether it was too little, and what is wrong then."""
        place = self.place
        subprocess.run(["umount", str(place)], check=True)
        mount(place, ROOM)
        shutil.copytree(self._kept, place, dirs_exist_ok=True)
        mount(place, used(place) + int(share * self._needs), again=True)
        kind, value, _ = in_child(self._do, place)
        wrong = []
        if kind == "error":
            wrong.append(f"ended otherwise than in words: {value}")
        mount(place, ROOM, again=True)
        looked, found, _ = in_child(failed_checks, place)
        if looked != "done":
            wrong.append(f"cannot be opened: {found}")
        elif self.name != "repair":
            wrong += found
        again, said, _ = in_child(self._do, place)
        if again != "done":
            return kind != "done", [*wrong, f"cannot go on: {said}"]
        look, state, _ = in_child(state_of, place)
        wrong += differences(state, self._wanted) if look == "done" else [f"cannot be read: {state}"]
        return kind != "done", wrong


def run(points: int, seed: int, only: list[str], note: Callable[[str], None]) -> dict[str, Any]:
    """As many points, evenly over the kinds of work; counts by kind, and everything that went wrong."""
    generator = random.Random(seed)
    names = only or list(KINDS)
    rows: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="full-disk-") as scratch:
        for place, name in enumerate(names):
            share = points // len(names) + (place < points % len(names))
            if not share:
                continue
            disk = FullDisk(name, Path(scratch))
            full = 0
            for _ in range(share):
                room = generator.uniform(0.0, 1.0)
                was_full, faults = disk.one(room)
                full += was_full
                wrong += [f"{name} with {room:.3f} of the room: {fault}" for fault in faults]
            rows[name] = {"points": share, "full": full}
            note(f"{name}: {share} points, {full} ran full")
            subprocess.run(["umount", str(disk.place)], check=True)
    return {"points": points, "seed": seed, "work": rows, "wrong": wrong}


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(
        description="Let the disk run full at random points of everything that is written."
    )
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help=f"kinds by commas, of {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        words = [sys.executable, "-m", "benchmarks.full_disk", *sys.argv[1:], INSIDE]
        raise SystemExit(subprocess.run(["unshare", "--mount", "--map-root-user", *words]).returncode)
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    report = run(given.points, given.seed, only, lambda line: print(line, file=sys.stderr, flush=True))
    if given.json:
        print(json.dumps(report))
    else:
        for name, row in report["work"].items():
            print(f"{name:<20}{row['points']:>6} points{row['full']:>6} ran full")
        print("\n".join(report["wrong"]) or "nothing lost, nothing double, verify clean, every error in words")
    raise SystemExit(bool(report["wrong"]))


if __name__ == "__main__":
    main()
