"""The write lock of an index: one writer at a time, named. Knows no SQL.

The lock is the operating system's lock on the open file, so that it ends with its process, however that ends.
The content of the file is only for people: who holds the lock, on which machine, for what, and since when.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ..errors import IndexBusy
from ..regular import worded

if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, 1 << 30, os.SEEK_SET)  # a byte past the text, which others must be able to read
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        os.lseek(fd, 1 << 30, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


class WriteLock:
    """A lock file that one process holds at a time; the same thread may take it again and again.

    Args:
        path: the lock file; made when it is not there. What a dead process left in it is overwritten.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._threads = threading.RLock()
        self._depth = 0
        self._fd = -1

    @contextmanager
    def held(self, purpose: str, wait: float = 2.0) -> Iterator[None]:
        """Hold the lock while the body runs.

        Args:
            purpose: what it is for, in a word or two, shown to whoever finds the index busy.
            wait: seconds to wait for another holder.
        Raises:
            IndexBusy: somebody else still holds it; the message names them.
            StorageError: the lock file cannot be opened.
        """
        end = time.monotonic() + wait
        if not self._threads.acquire(timeout=wait):
            raise IndexBusy(self._busy(purpose))
        try:
            if self._depth == 0:
                self._fd = self._take(purpose, end)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._release()
        finally:
            self._threads.release()

    def holder(self) -> dict[str, str] | None:
        """The last holder by the file: pid, host, purpose, since; None when it is empty."""
        try:
            holder = json.loads(self.path.read_text("utf-8") or "null")
        except (OSError, ValueError):
            return None
        return {str(k): str(v) for k, v in holder.items()} if isinstance(holder, dict) else None

    def _take(self, purpose: str, end: float) -> int:
        with worded(f"lock {self.path} cannot be opened ({purpose})"):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        while not _try_lock(fd):
            if time.monotonic() >= end:
                os.close(fd)
                raise IndexBusy(self._busy(purpose))
            time.sleep(0.02)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "purpose": purpose,
            "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        with suppress(OSError):  # on a full disk nobody learns the name, but the lock holds
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, json.dumps(holder).encode())
        return fd

    def _release(self) -> None:
        fd, self._fd = self._fd, -1
        with suppress(OSError):  # a disk that fails must neither keep the lock nor hide the error that ended the work
            os.ftruncate(fd, 0)
        _unlock(fd)
        os.close(fd)

    def _busy(self, purpose: str) -> str:
        who = self.holder()
        named = (
            f"process {who.get('pid')} on {who.get('host')} ({who.get('purpose')}, since {who.get('since')})"
            if who
            else "another process"
        )
        return f"cannot write to {self.path.parent} ({purpose}): {named} is writing; wait until it has finished"
