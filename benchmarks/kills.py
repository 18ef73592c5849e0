"""Kills the program at random moments of everything that it writes, and looks whether anything is lost or double.

    python -m benchmarks.kills [--points 200] [--seed 0] [--only ingest,optimize] [--json]

Each point is one copy of an index and of a folder of drawn photos, notes and sidecars. A process of its own does one
thing (ingest, optimize, activate, prune, repair, forget, backup, restore, watch, or migrating an old catalog) and gets
SIGKILL after a random part of the time that this takes when nobody disturbs it. Another process opens what is left:
`verify` has to be clean. A third one does the thing once more, to its end, and compares with an index that was never
killed: the same photos, locations, texts and passages, each once, and the same answers to the last digit.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.disturbed import WORK, arguments, carry_out, expect, faults_left, in_child, state_of


class Killed:
    """One kind of work that is killed: its starting state, how long it takes, and what comes of it undisturbed."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        make, self._do = WORK[name]
        folder = scratch / name.replace(" ", "-")
        self._place, self._kept = folder / "place", folder / "kept"
        self._place.mkdir(parents=True)
        expect(in_child(make, self._place))
        self._place.rename(self._kept)
        self._begin_anew()
        *_, self.seconds = expect(in_child(self._do, self._place))
        self._wanted = expect(in_child(state_of, self._place))[1]

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Kill at this share of the time; gives whether it was still at work, and what is wrong afterwards."""
        self._begin_anew()
        kind, value, _ = in_child(self._do, self._place, kill_after=share * self.seconds)
        wrong = [] if kind in ("done", "killed") else [f"failed by itself: {value}"]
        return kind == "killed", wrong + faults_left(self.name, self._do, self._place, self._wanted)

    def close(self) -> None:
        """Let go of the folder."""
        shutil.rmtree(self._place.parent)

    def _begin_anew(self) -> None:
        """Put the starting state in its place again; always the same one, since indexes keep whole paths."""
        if self._place.exists():
            shutil.rmtree(self._place)
        shutil.copytree(self._kept, self._place)


def main() -> None:
    """See the head of this file."""
    given = arguments("Kill at random moments of everything that is written.", 200, list(WORK)).parse_args()
    raise SystemExit(not carry_out(Killed, list(WORK), given, "killed"))


if __name__ == "__main__":
    main()
