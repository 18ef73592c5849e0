"""Lets the disk fail at random moments of everything that is written, and looks whether anything is lost or double.

    python -m benchmarks.failing_disk [--points 140] [--seed 0] [--only ingest,optimize] [--json]

As `benchmarks/kills.py`, but nothing is killed: from a random moment on the kernel answers with EIO, as a disk that
dies does, when the process writes, flushes, renames, removes or makes a file, and when SQLite reads. What cannot be
done must end in an error of this program's own, in words. `verify` has to be clean in what is left, the same work must
succeed on a disk that is whole, and the index be equal to one that never failed. A filter of system calls does it
(seccomp), which any process may put upon itself; it needs Linux on x86-64 or 64-bit ARM.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.disturbed import arguments, carry_out, expect, faults_left, in_child, state_of
from benchmarks.kills import Copies
from benchmarks.work import WORK

KINDS = ("ingest", "ingest of changes", "optimize", "repair", "backup", "prune", "forget", "migrate")
# Numbers of system calls (Linux, asm/unistd.h); `write` and `writev` stay allowed on what is no file.
ON_ANY = {
    "x86_64": (17, 18, 74, 75, 76, 77, 82, 83, 84, 87, 264, 258, 263, 285, 296, 316),
    "aarch64": (67, 68, 82, 83, 45, 46, 38, 34, 35, 47, 70, 276),
}
ON_FILES = {"x86_64": (1, 20), "aarch64": (64, 66)}
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, end
NUMBER_AT, FIRST_ARGUMENT_AT = 0, 16  # in struct seccomp_data; the lower half of the argument
FAIL, ALLOW = 0x00050000 | errno.EIO, 0x7FFF0000
SET_NO_NEW_PRIVILEGES, SET_FILTER, ALL_THREADS = 38, 1, 1
SECCOMP = {"x86_64": 317, "aarch64": 277}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _step(code: int, value: int, if_so: int = 0, else_: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_so, else_, value)


def _no_files() -> list[int]:
    """Numbers of open descriptors that are pipes, sockets or terminals."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # that of the listing itself
            continue
        if target.startswith(("pipe:", "socket:", "/dev/")):
            found.append(int(name))
    return found


def fail_from_now_on() -> None:
    """Let all threads of this process get EIO from its disks, for good."""
    machine = platform.machine()
    steps = [_step(LOAD, NUMBER_AT)]
    for call in ON_ANY[machine]:
        steps += [_step(EQUALS, call, 0, 1), _step(RETURN, FAIL)]
    allowed = _no_files()
    for call in ON_FILES[machine]:
        body = [_step(LOAD, FIRST_ARGUMENT_AT)]
        for descriptor in allowed:
            body += [_step(EQUALS, descriptor, 0, 1), _step(RETURN, ALLOW)]
        body.append(_step(RETURN, FAIL))
        steps += [_step(EQUALS, call, 0, len(body)), *body]
    steps.append(_step(RETURN, ALLOW))
    held = ctypes.create_string_buffer(b"".join(steps))
    program = _Program(len(steps), ctypes.cast(held, ctypes.c_void_p))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    if library.syscall(SECCOMP[machine], SET_FILTER, ALL_THREADS, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "seccomp")


def on_a_failing_disk(do: Callable[[Path], None], after: float, place: Path) -> bool:
    """Do some work while the disk fails so many seconds after its begin; gives whether it did before the end."""
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        fail_from_now_on()

    timer = threading.Timer(after, fail)
    timer.daemon = True
    timer.start()
    do(place)
    return failed.is_set()


class FailingDisk:
    """One kind of work on a disk that fails at a wanted moment."""

    def __init__(self, name: str, scratch: Path) -> None:
        self.name = name
        make, self._do = WORK[name]
        self._copies = Copies(scratch / name.replace(" ", "-"), make, None)
        self._copies.begin_anew()
        *_, self._seconds = expect(in_child(self._do, self._copies.place))
        self._wanted = expect(in_child(state_of, self._copies.place))[1]

    def one(self, share: float) -> tuple[bool, list[str]]:
        """Fail at this share of the time; gives whether it was still at work, and what is wrong afterwards."""
        self._copies.begin_anew()
        place = self._copies.place
        kind, value, _ = in_child(partial(on_a_failing_disk, self._do, share * self._seconds), place)
        wrong = [f"ended otherwise than in words: {value}"] if kind == "error" else []
        return kind != "done", wrong + faults_left(self.name, self._do, place, self._wanted)

    def close(self) -> None:
        """Let go of the folder."""
        self._copies.close()


def main() -> None:
    """See the head of this file."""
    given = arguments("Let the disk fail at random moments of everything that is written.", 140, KINDS).parse_args()
    raise SystemExit(not carry_out(FailingDisk, KINDS, given, "failed"))


if __name__ == "__main__":
    main()
