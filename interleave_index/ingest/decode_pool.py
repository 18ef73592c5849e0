"""The pool of decode processes: tasks in, replies with pixels out, and what happens when a process dies.

Every process is served by one thread of the parent, which keeps two tasks in its pipe so that it never waits. Pixels
come back through one block of shared memory cut into slots; the number of slots bounds the memory of a run. A process
that dies (killed for memory, crashed in a decoder) or hangs takes only the file that it was working on with it.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import BackendMissing
from ..records import RGB, PhotoEncoding
from .decode_process import receive, send
from .decode_task import Recipe, Reply, Task, work
from .scan import file_time

IN_PIPE = 2  # tasks given to a process at a time: one to work on, one so that it need not wait
TRIES = 2  # a process may be killed for what another did; a file that kills two is the culprit
SECONDS_A_FILE = 300.0
STARTS = 3  # failures in a row to start a process, after which the pool gives up


@dataclass(slots=True)
class Outcome:
    """A reply and its pixels. `rgb` lies in shared memory and is only valid until `release`.

    `encoded` stands in the place of the pixels where a picture was encoded where it was decoded.
    """

    task: Task
    reply: Reply
    rgb: RGB | None
    slot: int
    encoded: PhotoEncoding | Exception | None = None


class Decoders(Protocol):
    """Anything that works on tasks ahead of the model."""

    @property
    def free_slots(self) -> int:
        """How many more tasks may be given now."""

    @property
    def outstanding(self) -> int:
        """Tasks given and not yet answered."""

    def submit(self, task: Task) -> None:
        """Give one task; only while there is a free slot."""

    def next(self, timeout: float) -> Outcome | None:
        """The next answer in the order of completion, or None when there is none in time."""

    def release(self, outcome: Outcome) -> None:
        """Give the memory of an answer back; its `rgb` must not be used any more."""

    def close(self) -> None:
        """Drop what is outstanding and end the processes."""


class InProcess:
    """Decodes in the process of the model, one file at a time: for debugging, and where no process may be started."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._waiting: deque[Task] = deque()

    @property
    def free_slots(self) -> int:
        """One at a time."""
        return 1 - len(self._waiting)

    @property
    def outstanding(self) -> int:
        """0 or 1."""
        return len(self._waiting)

    def submit(self, task: Task) -> None:
        """Remember the task; the work is done by `next`."""
        self._waiting.append(task)

    def next(self, timeout: float) -> Outcome | None:
        """Do the waiting task."""
        if not self._waiting:
            return None
        task = self._waiting.popleft()
        reply, rgb = work(task, self.recipe)
        return Outcome(task, reply, rgb, -1)

    def release(self, outcome: Outcome) -> None:
        """Let go of the pixels."""
        outcome.rgb = None

    def close(self) -> None:
        """Forget the waiting task."""
        self._waiting.clear()


class WorkerPool:
    """Processes that decode ahead of the model.

    Args:
        recipe: what every file is put through.
        workers: processes, at least 1.
        slots: pictures that may be decoded and not yet released, at least 2; lowered when shared memory is short.
    Raises:
        BackendMissing: (from `next`) the processes cannot be started.
    """

    def __init__(self, recipe: Recipe, workers: int, slots: int) -> None:
        from multiprocessing import shared_memory

        self.recipe = recipe
        slots = _affordable(slots, recipe.slot_bytes)
        self._memory = shared_memory.SharedMemory(create=True, size=slots * recipe.slot_bytes)
        self._free = list(range(slots))  # a stack: a slot used lately is used again, so that few pages are touched
        self._slot_of: dict[int, int] = {}
        self._tasks: queue.Queue[Task | None] = queue.Queue()
        self._answers: queue.Queue[tuple[Task, Reply] | BaseException] = queue.Queue()
        self._servants = [_Servant(self, number) for number in range(workers)]
        for servant in self._servants:
            servant.start()

    @property
    def free_slots(self) -> int:
        """Free slots."""
        return len(self._free)

    @property
    def outstanding(self) -> int:
        """Tasks given and not yet answered."""
        return len(self._slot_of)

    def submit(self, task: Task) -> None:
        """Give one task; only while there is a free slot."""
        self._slot_of[task.number] = self._free.pop()
        self._tasks.put(task)

    def next(self, timeout: float) -> Outcome | None:
        """The next answer in the order of completion, or None when there is none in time."""
        try:
            answer = self._answers.get(timeout=timeout) if timeout > 0 else self._answers.get_nowait()
        except queue.Empty:
            for servant in self._servants:
                servant.end_if_hung()
            return None
        if isinstance(answer, BaseException):
            raise answer
        task, reply = answer
        slot = self._slot_of.pop(task.number)
        rgb = np.ndarray(reply.shape, np.uint8, self._memory.buf, self.offset(slot)) if reply.shape else None
        return Outcome(task, reply, rgb, slot)

    def release(self, outcome: Outcome) -> None:
        """Give the slot back."""
        outcome.rgb = None
        self._free.append(outcome.slot)

    def offset(self, slot: int) -> int:
        """First byte of a slot."""
        return slot * self.recipe.slot_bytes

    def close(self) -> None:
        """Drop what is outstanding and end the processes; pixels of answers are gone afterwards."""
        for servant in self._servants:
            servant.stopping = True
        while True:
            try:
                self._tasks.get_nowait()
            except queue.Empty:
                break
        for _ in self._servants:
            self._tasks.put(None)
        for servant in self._servants:
            servant.finish()
        with contextlib.suppress(BufferError):  # somebody still holds a view; the memory goes when the view does
            self._memory.close()
        self._memory.unlink()


class _Servant(threading.Thread):
    """Feeds one process and takes its replies; starts another one when it dies."""

    def __init__(self, pool: WorkerPool, number: int) -> None:
        super().__init__(name=f"decode-{number}", daemon=True)
        self.pool = pool
        self.stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._in_pipe: deque[Task] = deque()
        self._since = 0.0  # when the file at the head of the pipe was begun, or 0
        self._hung = False

    def run(self) -> None:
        """Serve until the pool closes."""
        try:
            while self._fill():
                self._take_reply()
        except Exception as trouble:  # the parent waits for an answer: give it this one
            self.pool._answers.put(trouble)
        finally:
            self._end()

    def end_if_hung(self) -> None:
        """Kill the process when one file takes too long; called by the thread that waits for answers."""
        process, since = self._process, self._since
        if process is not None and since and time.monotonic() - since > SECONDS_A_FILE:
            self._hung = True
            process.kill()

    def finish(self) -> None:
        """Wait for the end; a process that does not come to it is killed."""
        self.join(2.0)
        if self.is_alive() and self._process is not None:
            self._process.kill()
            self.join(2.0)

    def _fill(self) -> bool:
        """Keep the pipe full; False when the pool closes and nothing is left to wait for."""
        while len(self._in_pipe) < IN_PIPE and not self.stopping:
            try:
                task = self.pool._tasks.get(block=not self._in_pipe)
            except queue.Empty:
                break
            if task is None:
                self.stopping = True
                break
            self._give(task)
        return bool(self._in_pipe)

    def _give(self, task: Task) -> None:
        if not self._in_pipe:
            if self._process is not None and self._process.poll() is not None:
                self._end()  # it died idle, which is not the fault of this file
            if self._process is None:
                self._start()
            self._since = time.monotonic()
        self._in_pipe.append(task)
        with contextlib.suppress(OSError):  # it died; the reply that does not come will tell
            send(self._stream("stdin"), (task, self.pool.offset(self.pool._slot_of[task.number])))

    def _take_reply(self) -> None:
        try:
            reply: Reply = receive(self._stream("stdout"))
        except (EOFError, OSError):
            self._bury()
            return
        self._since = time.monotonic()
        self.pool._answers.put((self._in_pipe.popleft(), reply))

    def _bury(self) -> None:
        """The process died. The head of its pipe is to blame; the rest goes back to the others."""
        code = self._end()
        words = f"took longer than {SECONDS_A_FILE:.0f} s" if self._hung else _how_it_ended(code)
        culprit = self._in_pipe.popleft()
        for task in self._in_pipe:
            self.pool._tasks.put(task)
        self._in_pipe.clear()
        tries = culprit.tries + 1
        if tries < TRIES and not self._hung and not self.stopping:
            self.pool._tasks.put(replace(culprit, tries=tries))
        else:
            detail = f"decoding this file {words}" if self._hung else f"the process that decoded this file {words}"
            size, mtime = culprit.listed or _facts(culprit.path)
            # Memory may be there next time; a decoder that crashes on this content will crash again.
            lasting = not self._hung and code != -getattr(signal, "SIGKILL", 9)
            self.pool._answers.put(
                (culprit, Reply(culprit.number, size, mtime, reason="ImageUnreadable", detail=detail, lasting=lasting))
            )
        self._hung = False

    def _start(self) -> None:
        for _ in range(STARTS):
            self._process = process = _spawn()
            try:
                send(self._stream("stdin"), (self.pool.recipe, self.pool._memory.name))
                receive(self._stream("stdout"))
                return
            except (EOFError, OSError):
                code = self._end()
        raise BackendMissing(
            f"decode processes do not start: {process.args!r} {_how_it_ended(code)}; "
            "run `python -m interleave_index.ingest.decode_process` to see why, or set ingest.workers to 0"
        )

    def _stream(self, name: str) -> Any:
        return getattr(self._process, name)

    def _end(self) -> int:
        """Close the pipes and wait for the process; its exit status."""
        process, self._process, self._since = self._process, None, 0.0
        if process is None:
            return 0
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # an unsent frame of a process that has died
                if stream is not None:
                    stream.close()
        try:
            return process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _spawn() -> subprocess.Popen[bytes]:
    """Start one process; nothing of the folder that the user stands in may be imported by it."""
    package_home = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([package_home, *([inherited] if inherited else [])]),
    }
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "interleave_index.ingest.decode_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _affordable(slots: int, slot_bytes: int) -> int:
    """Containers often have a tiny /dev/shm, and writing past its end is a crash: take at most half of what is free."""
    try:
        facts = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return slots
    return max(2, min(slots, facts.f_bavail * facts.f_frsize // 2 // slot_bytes))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}" + (" (out of memory?)" if -code == getattr(signal, "SIGKILL", 9) else "")


def _facts(path: str) -> tuple[int, int]:
    try:
        facts = os.stat(path)
    except OSError:
        return 0, 0
    return facts.st_size, file_time(facts)
