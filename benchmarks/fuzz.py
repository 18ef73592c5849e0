"""Gives the program files and queries that are broken on purpose, and looks whether each is taken or refused in words.

    python -m benchmarks.fuzz [--images 10000] [--queries 10000] [--checkpoints 2000] [--sidecars 2000] [--seed 0]
        [--processes 2] [--keep FOLDER] [--case images/17] [--json]

Pictures of all formats, queries, files of models and texts beside photos (`fuzz_kinds`) are changed in their bytes and
in their structure (`mutations`), and go through the functions that an ingest, a search and a load call. Each case runs
in a worker process. A fault is: the process dies, an error that is none of this program's own, an answer that must not
be, more than `SECONDS` of its processor's time, or more than `MEMORY` bytes beyond what the process had before. The
file of a fault is kept in the folder of --keep, and --case does that case alone, in this process.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from .fuzz_answers import Outcome
from .fuzz_kinds import KINDS

CASES = {"images": 10_000, "queries": 10_000, "checkpoints": 2_000, "sidecars": 2_000}
SECONDS = 20.0  # of a processor for one case
PATIENCE = 300.0  # seconds by the clock for one case: a machine that others use must not make faults
MEMORY = 1 << 30  # bytes that one case may take
ADDRESSES = 24 << 30  # bytes that a process may ask for at all: a belt for the machine, and no part of the measure
LOOK = 0.1  # seconds between two looks at the workers
PAGE = resource.getpagesize()

Fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Case:
    """One broken thing, which a seed and a number make."""

    kind: str
    number: int
    seed: int

    def make(self) -> tuple[str, bytes]:
        """Its name and its content; the same every time."""
        return KINDS[self.kind].case(Random(f"{self.seed}/{self.kind}/{self.number}"))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a case.

    Attributes:
        outcome: `taken`, `refused`, or `fault`.
        words: of a fault.
        memory: bytes that it took at most.
        seconds: of a processor.
    """

    outcome: Outcome | str
    words: str = ""
    memory: int = 0
    seconds: float = 0.0


# --- in a worker process ------------------------------------------------------------------------------


def serve(connection: Connection, folder: Path) -> None:
    """Do the cases that come, until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()  # a death is counted, not drawn
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # decoders print, and nobody may be asked anything
        os.dup2(nothing, stream)
    import warnings

    warnings.simplefilter("ignore")
    scratch = folder / f"scratch-{os.getpid()}"
    scratch.mkdir()
    with suppress(EOFError):
        while True:
            connection.send(do(connection.recv(), scratch))


def do(case: Case, scratch: Path) -> Result:
    """Make one case and give it to the program."""
    name, content = case.make()
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark of memory begins anew
    before, begun = memory_mark("VmRSS"), time.process_time()
    words = ""
    try:
        outcome: str = KINDS[case.kind].give(name, content, scratch)
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {str(error)[:300]} ({place.filename.rpartition('/')[2]}:{place.lineno})"
        outcome = "fault"
    seconds, taken = time.process_time() - begun, memory_mark("VmHWM") - before
    over = over_limit(taken, seconds)
    return Result("fault" if over else outcome, over or words, taken, seconds)


def memory_mark(name: str) -> int:
    """Bytes of this process's memory: in use (VmRSS), or at most (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/self/status has no {name}")


def over_limit(memory: int, seconds: float) -> str:
    """What is said of a case that took too much; nothing of one that did not."""
    if memory > MEMORY:
        return f"took {memory >> 20} MiB of memory, at most {MEMORY >> 20} are allowed"
    return f"took {seconds:.1f} s, at most {SECONDS:g} are allowed" if seconds > SECONDS else ""


# --- in the parent --------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process that does one case after another, and what is known of the one that it is at."""

    folder: Path
    case: Case | None = None
    begun: float = 0.0
    memory: int = 0  # when the case began
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.connection, inner = Fork.Pipe()
        self.process = Fork.Process(target=serve, args=(inner, self.folder), daemon=True)
        self.process.start()
        inner.close()

    def give(self, case: Case) -> None:
        """Let it do a case."""
        self.case, self.begun = case, time.monotonic()
        self.memory, self.seconds = self._in_use()
        self.connection.send(case)

    def look(self) -> Result | None:
        """The result, if there is one; a process that takes too much is ended."""
        if self.connection.poll():
            try:
                result: Result = self.connection.recv()
                return result
            except (EOFError, ConnectionResetError):
                self.process.join()
                return Result("fault", f"the process ended with status {self.process.exitcode}")
        memory, seconds = self._in_use()
        over = over_limit(memory - self.memory, seconds - self.seconds)
        if not over and time.monotonic() - self.begun > PATIENCE:
            over = f"did not end in {PATIENCE:.0f} s"
        if not over:
            return None
        self.end()
        return Result("fault", over, memory - self.memory, seconds - self.seconds)

    def _in_use(self) -> tuple[int, float]:
        """Bytes of memory and seconds of a processor."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            ticks = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        except (OSError, IndexError):
            return self.memory, self.seconds
        return pages * PAGE, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.kill()
        self.process.join()
        self.connection.close()


@dataclass
class Tally:
    """Counts of one kind of cases."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    memory: int = 0
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        """Count one result."""
        self.cases += 1
        self.outcomes[result.outcome] += 1
        self.memory = max(self.memory, result.memory)
        self.seconds = max(self.seconds, result.seconds)

    def to_json(self) -> dict[str, Any]:
        """Counts, and the most that one case took."""
        counts = {name: self.outcomes[name] for name in ("taken", "refused", "fault")}
        return {"cases": self.cases, **counts, "memory_mib": self.memory >> 20, "seconds": round(self.seconds, 2)}


def run(
    counts: dict[str, int], seed: int, keep: Path, note: Callable[[str], None], *, processes: int = 2
) -> dict[str, Any]:
    """Do so many cases of each kind; gives counts by kind, and every fault with the file that it was.

    Ctrl-C ends it early, with what was done so far.
    """
    rows: dict[str, Any] = {}
    faults: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, suppress(KeyboardInterrupt):
        for kind, count in counts.items():
            if not count:
                continue
            prepare(kind, Path(scratch))
            tally = Tally()
            try:
                for case, result in results(kind, count, seed, Path(scratch), min(processes, count)):
                    tally.add(result)
                    if result.outcome == "fault":
                        faults.append(kept(case, result, keep))
                        note(f"{kind}/{case.number}: {result.words}")
                    if tally.cases % 500 == 0:
                        note(f"{kind}: {tally.cases} of {count}, {dict(tally.outcomes)}")
            finally:
                rows[kind] = tally.to_json()
    return {"seed": seed, "kinds": rows, "faults": faults}


def prepare(kind: str, scratch: Path) -> None:
    """Make what the cases of a kind start from, in a process of its own, so that this one stays small."""
    child = Fork.Process(target=_prepare, args=(kind, scratch / kind))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"what {kind} start from could not be made")
    KINDS[kind].start_from(scratch / kind)


def _prepare(kind: str, shared: Path) -> None:
    KINDS[kind].prepare(shared)


def results(kind: str, count: int, seed: int, folder: Path, processes: int) -> Iterator[tuple[Case, Result]]:
    """Every case with its result, in the order in which they are done."""
    waiting = iter(Case(kind, number, seed) for number in range(count))
    workers = [Worker(folder) for _ in range(processes)]
    try:
        for worker in workers:
            worker.give(next(waiting))
        while workers:
            wait([worker.connection for worker in workers], timeout=LOOK)
            for worker in list(workers):
                case, result = worker.case, worker.look()
                if case is None or result is None:
                    continue
                yield case, result
                following = next(waiting, None)
                if following is None or not worker.process.is_alive():
                    worker.end()
                    workers.remove(worker)
                    if following is not None:
                        worker = Worker(folder)
                        workers.append(worker)
                if following is not None:
                    worker.give(following)
    finally:
        for worker in workers:
            worker.end()


def kept(case: Case, result: Result, keep: Path) -> dict[str, Any]:
    """What is said of a fault; its file is put into the folder."""
    name, content = case.make()
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"{case.seed}-{case.kind}-{case.number}-{name.replace('/', '-').replace(' ', '-')}"
    file.write_bytes(content)
    where = {"kind": case.kind, "number": case.number, "seed": case.seed, "name": name, "file": str(file)}
    return where | {"words": result.words}


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description="Give the program files and queries that are broken on purpose.")
    for kind, count in CASES.items():
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "fuzz-faults")
    parser.add_argument("--case", help="do one alone, such as images/17, and let its error through")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.case:
        kind, _, number = given.case.partition("/")
        one_alone(Case(kind, int(number), given.seed))
        return
    counts = {kind: getattr(given, kind) for kind in CASES}
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    report = run(counts, given.seed, given.keep, say, processes=given.processes)
    if given.json:
        print(json.dumps(report))
    else:
        for kind, row in report["kinds"].items():
            print(f"{kind:<14}" + "".join(f"{name} {value:<10}" for name, value in row.items()))
        print("\n".join(f"{fault['file']}: {fault['words']}" for fault in report["faults"]) or "no fault")
    raise SystemExit(bool(report["faults"]))


def one_alone(case: Case) -> None:
    """Do one case in this process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        prepare(case.kind, Path(scratch))
        print(KINDS[case.kind].give(*case.make(), Path(scratch)))


if __name__ == "__main__":
    main()
