"""The pool of decode processes: pixels come back whole, memory is bounded, and a death costs one file."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from typing import Any

import numpy as np
import pytest

from interleave_index.ingest import decode_pool as workers
from interleave_index.ingest.decode import decode
from interleave_index.ingest.decode_pool import InProcess, WorkerPool
from interleave_index.ingest.decode_task import Recipe, Task, work


@pytest.fixture
def recipe(tmp_path):
    return Recipe(str(tmp_path / "thumbnails"), max_pixels=10**6, long_side=100, thumbnail_side=32)


def write(folder, pictures, count):
    paths = []
    for number in range(count):
        paths.append(folder / f"{number}.png")
        paths[-1].write_bytes(pictures.encoded(pictures.drawn(number), "PNG"))
    return paths


def answer(pool, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        outcome = pool.next(timeout=0.1)
        if outcome is not None:
            return outcome
    raise TimeoutError("the pool gave no answer")


def test_pixels_hash_facts_and_thumbnail_come_back_for_every_task_and_slots_are_used_again(recipe, pictures, tmp_path):
    paths = write(tmp_path, pictures, 7)
    pool = WorkerPool(recipe, workers=2, slots=3)
    try:
        done, waiting = {}, list(enumerate(paths))
        while waiting or pool.outstanding:
            while waiting and pool.free_slots:
                number, path = waiting.pop()
                pool.submit(Task(number, str(path)))
            assert pool.outstanding <= 3
            outcome = answer(pool)
            done[outcome.task.number] = (outcome.rgb.copy(), outcome.reply)
            pool.release(outcome)
        for number, path in enumerate(paths):
            rgb, reply = done[number]
            assert np.array_equal(rgb, decode(path).rgb)
            assert reply.bytes == path.stat().st_size and reply.facts.sha256 == reply.sha256
            assert (tmp_path / "thumbnails" / reply.sha256[:2] / f"{reply.sha256}.jpg").exists()
    finally:
        pool.close()


def test_a_task_for_the_hash_alone_decodes_nothing(recipe, pictures, tmp_path):
    (path,) = write(tmp_path, pictures, 1)
    reply, rgb = work(Task(0, str(path), pixels=False), recipe)
    assert rgb is None and reply.facts is None and reply.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not (tmp_path / "thumbnails").exists()


def test_a_file_that_went_away_is_gone_and_a_damaged_one_has_a_lasting_failure(recipe, tmp_path):
    assert work(Task(0, str(tmp_path / "nowhere.jpg")), recipe)[0].gone
    (tmp_path / "text.jpg").write_bytes(b"text")
    reply, _ = work(Task(0, str(tmp_path / "text.jpg")), recipe)
    assert (reply.reason, reply.lasting) == ("ImageUnreadable", True)


def test_a_thumbnail_that_cannot_be_written_does_not_cost_the_photo(pictures, tmp_path):
    (path,) = write(tmp_path, pictures, 1)
    (tmp_path / "file").write_bytes(b"in the way")
    reply, rgb = work(Task(0, str(path)), Recipe(str(tmp_path / "file"), 10**6, 100, 32))
    assert rgb is not None and reply.reason is None


def test_in_process_decoding_has_the_same_manners(recipe, pictures, tmp_path):
    (path,) = write(tmp_path, pictures, 1)
    pool = InProcess(recipe)
    assert (pool.free_slots, pool.outstanding, pool.next(0)) == (1, 0, None)
    pool.submit(Task(0, str(path)))
    assert (pool.free_slots, pool.outstanding) == (0, 1)
    outcome = pool.next(0)
    assert outcome is not None and outcome.rgb is not None
    assert np.array_equal(outcome.rgb, decode(path).rgb)
    pool.release(outcome)
    assert outcome.rgb is None
    pool.submit(Task(1, str(path)))
    pool.close()
    assert pool.free_slots == 1


def test_a_process_that_dies_twice_over_a_file_costs_that_file_only(recipe, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SECONDS_A_FILE", 1000)
    (good,) = write(tmp_path, pictures, 1)
    crash = tmp_path / "site" / "sitecustomize.py"
    crash.parent.mkdir()
    crash.write_text(
        "import hashlib, os, signal\nreal = hashlib.sha256\n"
        "def crashing(data=b'', **k):\n"
        "    if b'CRASH' in bytes(data): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return real(data, **k)\nhashlib.sha256 = crashing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(crash.parent))
    bad = tmp_path / "bad.png"
    bad.write_bytes(good.read_bytes() + b"CRASH")
    pool = WorkerPool(recipe, workers=1, slots=4)
    try:
        for number, path in enumerate((good, bad, good)):
            pool.submit(Task(number, str(path)))
        outcomes = {outcome.task.number: outcome for outcome in (answer(pool) for _ in range(3))}
        assert outcomes[0].rgb is not None and outcomes[2].rgb is not None
        assert outcomes[1].reply.reason == "ImageUnreadable" and outcomes[1].reply.lasting
        assert "ended by SIGSEGV" in outcomes[1].reply.detail
        assert outcomes[1].reply.bytes == bad.stat().st_size
    finally:
        pool.close()


def test_a_process_that_hangs_is_ended_and_its_file_may_be_tried_again_by_the_next_run(
    recipe, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(workers, "SECONDS_A_FILE", 1.0)
    (good,) = write(tmp_path, pictures, 1)
    os.mkfifo(tmp_path / "pipe.jpg")
    pool = WorkerPool(recipe, workers=1, slots=4)
    try:
        pool.submit(Task(0, str(tmp_path / "pipe.jpg")))
        pool.submit(Task(1, str(good)))
        first, second = answer(pool), answer(pool)
        assert "took longer than 1 s" in first.reply.detail and not first.reply.lasting
        assert second.rgb is not None
    finally:
        pool.close()


def test_closing_ends_processes_and_memory_even_in_the_middle_of_work(recipe, pictures, tmp_path):
    paths = write(tmp_path, pictures, 4)
    pool = WorkerPool(recipe, workers=2, slots=8)
    for number, path in enumerate(paths):
        pool.submit(Task(number, str(path)))
    answer(pool)
    processes = [servant._process for servant in pool._servants if servant._process]
    name = pool._memory.name
    pool.close()
    assert all(process.poll() is not None for process in processes)
    assert not os.path.exists(f"/dev/shm/{name}")


def test_a_worker_does_not_outlive_a_parent_that_is_killed(tmp_path):
    import subprocess
    import sys

    script = (
        "import sys, time\nfrom interleave_index.ingest.decode_task import Recipe, Task\n"
        "from interleave_index.ingest.decode_pool import WorkerPool\n"
        f"pool = WorkerPool(Recipe({str(tmp_path)!r}, 1000, 100, 32), 1, 2)\n"
        "pool.submit(Task(0, '/nowhere.jpg'))\nwhile pool.next(0.1) is None: pass\n"
        "print(pool._servants[0]._process.pid, pool._memory.name, flush=True)\ntime.sleep(60)\n"
    )
    parent: Any = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pid, name = parent.stdout.readline().split()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while time.monotonic() < end and (alive(int(pid)) or os.path.exists(f"/dev/shm/{name.decode()}")):
        time.sleep(0.02)
    assert not alive(int(pid)) and not os.path.exists(f"/dev/shm/{name.decode()}")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except OSError:
        return False
