"""Kills the program at random moments of everything that it writes, and looks whether anything is lost or double.

    python -m benchmarks.kills [--points 200] [--seed 0] [--only ingest,optimize] [--json]
                               [--database postgresql [--server-every 3]]

Each point is one copy of an index and of a folder of drawn photos, notes and sidecars. A process of its own does one
thing (ingest, optimize, activate, prune, repair, forget, backup, restore, watch, or migrating an old catalog) and gets
SIGKILL after a random part of the time that this takes when nobody disturbs it. Another process opens what is left:
`verify` has to be clean. A third one does the thing once more, to its end, and compares with an index that was never
killed: the same photos, locations, texts and passages, each once, and the same answers to the last digit.

With `--database postgresql` the catalogs lie in a server that the script starts (Debian: apt install postgresql). At
every third point of a kind, or as `--server-every` says, the server is killed with all its processes, and the program
must end in words. One more kind of work is two processes that write one catalog at once, of which the other one has to
come to its end.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.disturbed import (
    LONGEST,
    Disturbance,
    arguments,
    carry_out,
    expect,
    faults_left,
    in_child,
    killed,
    state_of,
)
from benchmarks.work import SHARED, WORK, end_of_the_other
from tests.postgres import Server, programs

CATALOGS = {"index": "index", "other-index": "index", "again": "again"}  # indexes of a place, by the database they use
SERVER_EVERY = 3  # points of one kind, of which the last one kills the server


class Copies:
    """A place that is put into the same state for each point; always the same folder, since indexes keep whole paths.

    Args:
        folder: to work in, new.
        make: makes the state in an empty place.
        server: holds the catalogs; None keeps them in their folders.
    """

    def __init__(self, folder: Path, make: Callable[[Path], None], server: Server | None) -> None:
        self.place, self._kept, self._server = folder / "place", folder / "kept", server
        self.place.mkdir(parents=True)
        self._used: dict[str, str] = {}
        self._take_databases(dict.fromkeys(CATALOGS.values(), "template0"))
        expect(in_child(make, self.place))
        self._templates, self._used = self._used, {}
        self.place.rename(self._kept)

    def begin_anew(self) -> None:
        """Put the state in its place again."""
        self._leave()
        shutil.copytree(self._kept, self.place)
        self._take_databases(self._templates)

    def close(self) -> None:
        """Let go of everything."""
        self._leave()
        self._used, self._templates = self._templates, {}
        self._leave()
        shutil.rmtree(self._kept.parent)

    def _take_databases(self, templates: dict[str, str]) -> None:
        if self._server is None:
            return
        self._used = {name: self._server.new_database(template) for name, template in templates.items()}
        # PostgreSQL does not log the next numbers of a sequence that was copied a moment ago: a crash would give them
        # out twice. It does so again after a checkpoint.
        self._server.sql("CHECKPOINT")
        for index, name in CATALOGS.items():
            url = self._server.url(self._used[name], self.place / index)
            (self.place / f"{index}.url").write_text(url)

    def _leave(self) -> None:
        if self.place.exists():
            shutil.rmtree(self.place)
        if self._server is not None:
            for database in self._used.values():
                self._server.drop(database)
        self._used = {}


class Killed:
    """One kind of work that is killed: its starting state, how long it takes, and what comes of it undisturbed.

    Args:
        name: of the kind.
        scratch: folder to work in.
        server: holds the catalogs; None keeps them in their folders.
        server_every: points of which the last one kills the server in place of the program.
    """

    def __init__(
        self, name: str, scratch: Path, server: Server | None = None, server_every: int = SERVER_EVERY
    ) -> None:
        self.name = name
        make, self._do = (WORK | SHARED)[name]
        self._server, self._server_every, self._points = server, server_every, 0
        self._copies = Copies(scratch / name.replace(" ", "-"), make, server)
        self._copies.begin_anew()
        *_, self.seconds = expect(in_child(self._do, self._copies.place))
        self._wanted = expect(in_child(state_of, self._copies.place))[1]

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Kill at this share of the time; gives whether it was still at work, and what is wrong afterwards."""
        self._copies.begin_anew()
        self._points += 1
        server = self._server if self._points % self._server_every == 0 else None
        place, after = self._copies.place, share * self.seconds
        if server is None:
            kind, value, _ = in_child(self._do, place, Disturbance(after, killed))
            allowed = ("done", "killed")
        else:
            kind, value, _ = in_child(self._do, place, Disturbance(after, lambda _: server.kill()))
            allowed = ("done", "refused")
        other = end_of_the_other(place, LONGEST)
        if server is not None and server.process.poll() is not None:
            server.start()
        wrong = [] if kind in allowed else [f"failed by itself: {value}"]
        if other.partition(":")[0] not in ("", *allowed):
            wrong.append(f"the other one failed by itself: {other}")
        return kind not in ("done", "error"), wrong + faults_left(self.name, self._do, place, self._wanted)

    def close(self) -> None:
        """Let go of the folder and the databases."""
        self._copies.close()


def main() -> None:
    """See the head of this file."""
    parser = arguments("Kill at random moments of everything that is written.", 200, [*WORK, *SHARED])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--server-every", type=int, default=SERVER_EVERY)
    given = parser.parse_args()
    if given.database == "sqlite":
        raise SystemExit(not carry_out(Killed, list(WORK), given, "killed"))
    if programs() is None:
        raise SystemExit("no server of PostgreSQL is installed; expected initdb (Debian: apt install postgresql)")
    server = Server()
    try:
        make = functools.partial(Killed, server=server, server_every=given.server_every)
        well = carry_out(make, [*WORK, *SHARED], given, "killed")
    finally:
        server.remove()
    raise SystemExit(not well)


if __name__ == "__main__":
    main()
