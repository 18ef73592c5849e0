"""One writer at a time, who can be named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interleave_index.errors import IndexBusy
from interleave_index.storage.lock import WriteLock

HOLD = """
import sys, time
from pathlib import Path
from interleave_index.storage.lock import WriteLock
with WriteLock(Path(sys.argv[1])).held("a long ingest"):
    print("held", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock; killed at the end."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_busy_index_names_who_writes_and_why(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    with (
        holder(path) as process,
        pytest.raises(IndexBusy, match=rf"process {process.pid} on .*a long ingest, since 20"),
        WriteLock(path).held("optimize", wait=0),
    ):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    path = tmp_path / "writer.lock"
    with holder(path) as process:
        process.kill()
        process.wait()
    assert json.loads(path.read_text())["pid"] == process.pid
    lock = WriteLock(path)
    with lock.held("ingest", wait=0):
        assert lock.holder() is not None
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_the_same_thread_may_take_the_lock_again(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "writer.lock")
    other = WriteLock(tmp_path / "writer.lock")
    with lock.held("ingest"):
        with lock.held("write"):
            assert lock.holder() is not None
        with pytest.raises(IndexBusy), other.held("other", wait=0):  # the inner one gave nothing away
            pass
    with other.held("other", wait=0):
        assert other.holder() is not None


def test_another_thread_waits_and_then_gives_up(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "writer.lock")
    said: list[str] = []

    def try_it() -> None:
        try:
            with lock.held("forget", wait=0.05):
                said.append("held")
        except IndexBusy as error:
            said.append(str(error))

    with lock.held("ingest"):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(said) == 1 and "(ingest, since" in said[0]


def test_a_short_writer_is_waited_for(tmp_path: Path) -> None:
    lock, other = WriteLock(tmp_path / "writer.lock"), WriteLock(tmp_path / "writer.lock")
    started = threading.Event()

    def hold() -> None:
        with other.held("write"):
            started.set()
            time.sleep(0.1)

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    with lock.held("optimize", wait=5):
        assert json.loads((tmp_path / "writer.lock").read_text())["purpose"] == "optimize"
    thread.join()


def test_an_error_in_the_body_lets_the_lock_go(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "writer.lock")
    with pytest.raises(KeyError), lock.held("ingest"):
        raise KeyError("x")
    with WriteLock(tmp_path / "writer.lock").held("other", wait=0):
        pass


def test_a_full_disk_costs_the_name_of_the_holder_and_not_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    lock = WriteLock(tmp_path / "writer.lock")
    for _ in range(2):
        with (
            lock.held("forget", wait=0),
            pytest.raises(IndexBusy, match="another process"),
            WriteLock(lock.path).held("ingest", wait=0),
        ):
            pass


def test_a_failing_disk_neither_keeps_the_lock_nor_hides_what_ended_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    lock = WriteLock(tmp_path / "writer.lock")
    with pytest.raises(KeyError, match="the work"), lock.held("ingest"):
        monkeypatch.setattr(os, "ftruncate", fail)
        raise KeyError("the work")
    for holder in (lock, WriteLock(lock.path)):
        with holder.held("ingest", wait=0):
            pass
