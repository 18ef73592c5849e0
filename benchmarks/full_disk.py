"""Lets the disk run full at random points of everything that is written, and looks whether anything is lost or double.

    python -m benchmarks.full_disk [--points 60] [--seed 0] [--only ingest,optimize] [--json]

As `benchmarks/kills.py`, but nothing is killed: photos and index lie in a tmpfs with a random amount of space
left. What cannot be done must end in an error of this program's own, in words. `verify` has to be clean in what is
left, the same work must succeed once there is space, and the index be equal to one that never lacked any. It needs
Linux, where an ordinary user may mount in a namespace of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.disturbed import arguments, carry_out, expect, faults_left, in_child, state_of
from benchmarks.work import WORK

KINDS = ("ingest", "ingest of changes", "optimize", "repair", "backup", "prune", "migrate")
INSIDE = "--inside"  # said to the process that may mount
SPACE = 512 << 20  # bytes of a disk with space enough
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
        self._place, self._kept = folder / "place", folder / "kept"
        self._place.mkdir(parents=True)
        mount(self._place, SPACE)
        expect(in_child(make, self._place))
        shutil.copytree(self._place, self._kept)
        before = used(self._place)
        expect(in_child(self._do, self._place))
        self._needs = max(0, used(self._place) - before) + SLACK
        self._wanted = expect(in_child(state_of, self._place))[1]

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Leave this share of the space that is needed; gives whether it was too little, and what is wrong then."""
        place = self._place
        self.close()
        mount(place, SPACE)
        shutil.copytree(self._kept, place, dirs_exist_ok=True)
        mount(place, used(place) + int(share * self._needs), again=True)
        kind, value, _ = in_child(self._do, place)
        wrong = [f"ended otherwise than in words: {value}"] if kind == "error" else []
        mount(place, SPACE, again=True)
        return kind != "done", wrong + faults_left(self.name, self._do, place, self._wanted)

    def close(self) -> None:
        """Let go of the disk."""
        subprocess.run(["umount", str(self._place)], check=True)


def main() -> None:
    """See the head of this file."""
    parser = arguments("Let the disk run full at random points of everything that is written.", 60, KINDS)
    parser.add_argument(INSIDE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.inside:
        words = [sys.executable, "-m", "benchmarks.full_disk", *sys.argv[1:], INSIDE]
        raise SystemExit(subprocess.run(["unshare", "--mount", "--map-root-user", *words]).returncode)
    raise SystemExit(not carry_out(FullDisk, KINDS, given, "ran full"))


if __name__ == "__main__":
    main()
