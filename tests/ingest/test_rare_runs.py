"""Models that answer wrongly, and decode processes that do not start or do not end."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from interleave_index.errors import BackendMissing, WeightsMissing
from interleave_index.ingest import decode_pool, text_stage
from interleave_index.ingest.decode_pool import WorkerPool
from interleave_index.ingest.decode_task import Recipe, Task
from interleave_index.ingest.text import sources
from interleave_index.marks import HEAD_BYTES
from tests.ingest.conftest import Counting, fill
from tests.ingest.test_workers import alive, answer


@pytest.fixture
def recipe(tmp_path):
    return Recipe(str(tmp_path / "thumbnails"), max_pixels=10**6, long_side=100, thumbnail_side=32)


# --- models: photos --------------------------------------------------------------------------


class Changed(Counting):
    """The toy whose encodings are changed before they are given out."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def encode_photos(self, photos):
        return self.change(super().encode_photos(photos))


def not_a_number(encodings):
    encodings[-1].regions[0, 0] = np.nan
    return encodings


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda encodings: encodings[1:], "the model gave 0 encodings for 1 photos"),
        (not_a_number, "the model gave a vector that is not finite"),
    ],
)
def test_a_model_that_answers_wrongly_loses_the_photo_and_nothing_is_written(library, change, words):
    fill(library, 2)
    report = library.ingest(model=Changed(change))
    assert [(failure.reason, words in failure.detail) for failure in report.failed] == [("ModelError", True)] * 2
    assert library.store.status()["photos"] == 0
    assert library.counts(library.ingest()) == {"added": 2}


@pytest.mark.sqlite
def test_weights_that_are_missed_only_photo_by_photo_end_the_run_too(library):
    class Late(Counting):
        def encode_photos(self, photos):
            if len(photos) == 1:
                raise WeightsMissing("the file of weights went away")
            raise RuntimeError("too many at once")

    fill(library, 3)
    with pytest.raises(WeightsMissing, match="went away"):
        library.ingest(model=Late())
    assert library.counts(library.ingest()) == {"added": 3}


# --- models: texts ---------------------------------------------------------------------------


class Reader(Counting):
    """The toy whose way of reading is replaced."""

    def __init__(self, queries=None, query=None, phrases=None) -> None:
        super().__init__()
        given = {"encode_queries": queries, "encode_query": query, "encode_stored_phrases": phrases}
        for name, function in given.items():
            if function is not None:
                setattr(self, name, function)


def refuse(error):
    def function(*_: object):
        raise error

    return function


@pytest.fixture
def page(library):
    """A page of two passages beside no photo."""
    path = library.folder / "page.md"
    path.write_text("# One\n\nThe red kite rises over the sea.\n\n# Two\n\nA green lake lies below.\n")
    return path


def reports(library, model):
    return library.ingest(model=model, text_kinds=("markdown",))


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "model",
    [
        Reader(queries=refuse(WeightsMissing("no weights"))),
        Reader(queries=refuse(RuntimeError("too many")), query=refuse(WeightsMissing("no weights"))),
        Reader(phrases=refuse(WeightsMissing("no weights"))),
    ],
)
def test_a_model_without_its_weights_ends_the_reading_at_once(library, page, model):
    with pytest.raises(WeightsMissing, match="no weights"):
        reports(library, model)
    assert reports(library, Counting()).texts["passages"] == 2


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Reader(phrases=refuse(RuntimeError("no phrases"))), "RuntimeError: no phrases"),
        (Reader(phrases=lambda phrases: np.full((len(phrases), 16), np.nan, np.float32)), "vector that is not finite"),
    ],
)
def test_a_model_that_cannot_read_phrases_loses_those_passages(library, page, model, words):
    report = reports(library, model)
    assert report.texts["passages"] == 0
    assert [(failure.path, failure.reason) for failure in report.failed] == [(str(page), "ModelError")] * 2
    assert all(words in failure.detail for failure in report.failed)
    assert reports(library, Counting()).texts["passages"] == 2


@pytest.mark.sqlite
def test_phrases_are_kept_between_passages_only_so_far(library, page, monkeypatch):
    monkeypatch.setattr(text_stage, "PHRASES_KEPT", 1)
    assert reports(library, Counting()).texts["passages"] == 2
    assert not [check for check in library.store.verify() if not check.ok]


@pytest.mark.sqlite
def test_a_source_that_cannot_be_read_just_now_is_tried_again_by_the_next_run(library, page, monkeypatch):
    def locked(path: str, kind: str) -> bytes:
        raise PermissionError(13, os.strerror(13), path)

    with monkeypatch.context() as patched:
        patched.setattr(text_stage, "_bytes_of", locked)
        (failure,) = reports(library, Counting()).failed
        assert (failure.reason, failure.detail) == ("TextUnreadable", "file cannot be read: permission denied")
    assert reports(library, Counting()).texts["passages"] == 2


@pytest.mark.sqlite
def test_whatever_one_source_raises_is_the_failure_of_that_source(library, page, monkeypatch):
    (library.folder / "good.md").write_text("A blue house.")

    def fragile(path, *rest):
        if path.endswith("page.md"):
            raise IndexError("list index out of range")
        return sources.read_source(path, *rest)

    monkeypatch.setattr("interleave_index.ingest.text_stage.read_source", fragile)
    report = reports(library, Counting())
    assert [failure.detail for failure in report.failed] == ["IndexError: list index out of range"]
    assert report.texts["passages"] == 1
    again = reports(library, Counting())  # nothing changed: it is told again and not read
    assert [(failure.detail, failure.new) for failure in again.failed] == [
        ("IndexError: list index out of range", False)
    ]


@pytest.mark.sqlite
def test_a_text_of_more_bytes_than_its_kind_may_have_is_refused(library, page, monkeypatch):
    most = HEAD_BYTES + 10
    monkeypatch.setitem(sources.MAX_BYTES, "markdown", most)
    page.write_text("a" * (most + 1))
    (failure,) = reports(library, Counting()).failed
    assert failure.detail == f"text source has more than {most} bytes, expected at most that; split the file"
    page.write_text("a red kite ".ljust(most))
    assert reports(library, Counting()).texts["passages"] == 1


# --- decode processes ------------------------------------------------------------------------


def test_processes_that_do_not_start_are_an_error_that_says_how_to_see_why(recipe, monkeypatch):
    monkeypatch.setattr(decode_pool, "sys", SimpleNamespace(executable="/bin/false"))
    pool = WorkerPool(recipe, workers=1, slots=2)
    try:
        pool.submit(Task(0, "/nowhere.jpg"))
        with pytest.raises(BackendMissing, match=r"do not start: .* ended with status 1; run `python -m"):
            answer(pool)
    finally:
        pool.close()


def test_a_file_that_takes_its_process_and_itself_away_is_told_by_the_number_of_the_signal(
    recipe, pictures, tmp_path, monkeypatch
):
    crash = tmp_path / "site" / "sitecustomize.py"
    crash.parent.mkdir()
    seen, bad = tmp_path / "seen", tmp_path / "bad.png"
    crash.write_text(
        f"import hashlib, os\nreal, seen, bad = hashlib.sha256, {str(seen)!r}, {str(bad)!r}\n"
        "def crashing(data=b'', **k):\n"
        "    if b'CRASH' in bytes(data):\n"
        "        if os.path.exists(seen): os.unlink(bad)\n"  # the second process takes the file away
        "        open(seen, 'w').close()\n"
        "        os.kill(os.getpid(), 40)\n"
        "    return real(data, **k)\nhashlib.sha256 = crashing\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(crash.parent))
    bad.write_bytes(pictures.encoded(pictures.drawn(1), "PNG") + b"CRASH")
    pool = WorkerPool(recipe, workers=1, slots=2)
    try:
        pool.submit(Task(0, str(bad)))
        reply = answer(pool).reply
        assert reply.detail == "the process that decoded this file was ended by signal 40" and reply.lasting
        assert (reply.bytes, reply.mtime_ns) == (0, 0)  # it is not there any more
    finally:
        pool.close()


def test_closing_ends_a_process_that_is_stuck_in_its_file(recipe, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    pool = WorkerPool(recipe, workers=1, slots=2)
    pool.submit(Task(0, str(tmp_path / "pipe.jpg")))
    (servant,) = pool._servants
    end = time.monotonic() + 20
    while not servant._since and time.monotonic() < end:
        time.sleep(0.05)
    assert pool.next(timeout=0.5) is None  # nothing ever comes out of that pipe
    process = servant._process
    assert process is not None
    pool.close()
    assert not alive(process.pid)


def test_slots_are_as_many_as_half_of_the_shared_memory_holds(recipe, monkeypatch):
    def slots(blocks: int | None) -> int:
        def facts(path: str) -> os.statvfs_result:
            if blocks is None:
                raise OSError(2, os.strerror(2), path)
            return os.statvfs_result((4096, 4096, 0, 0, blocks, 0, 0, 0, 0, 255))

        monkeypatch.setattr(os, "statvfs", facts)
        pool = WorkerPool(recipe, workers=1, slots=8)
        free = pool.free_slots
        pool.close()
        return free

    pages = -(-recipe.slot_bytes // 4096)
    assert [slots(None), slots(100 * pages), slots(10 * pages), slots(0)] == [8, 8, 5, 2]
    assert decode_pool.IN_PIPE == 2
