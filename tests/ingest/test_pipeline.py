"""What a run does with new, known, moved, copied, edited and lost files, and how it ends when it is cut short."""

from __future__ import annotations

import multiprocessing
import os
import platform
import resource
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from interleave_index.errors import BackendMissing, ConfigError, IndexBusy, InputError, ModelError
from interleave_index.ingest import scheduler as run_module
from interleave_index.ingest.pipeline import IngestProgress, IngestSettings, ingest
from interleave_index.records import Photo, Space
from interleave_index.storage.store import Store
from tests.ingest.conftest import Counting, fill, rows


def photo_at(store: Store, path: Path) -> Photo:
    photo = store.photo_by_path(path)
    assert photo is not None
    return photo


def clean(library):
    return [check for check in library.store.verify() if not check.ok]


def test_new_photos_are_added_with_their_facts_vectors_and_thumbnails(library):
    fill(library)
    report = library.ingest()
    assert library.counts(report) == {"added": 4} and report.photos_per_s > 0
    photo = photo_at(library.store, library.folder / "2.png")
    assert (photo.width, photo.height, photo.format) == (64, 48, "PNG") and photo.phash is not None
    assert library.store.thumbnail_path(photo.sha256).exists()
    space_id, _ = library.store.active_space()
    assert library.store.count(space_id)[0] == 4
    stored = library.store.vectors(space_id, [photo.id])
    wanted = library.model.encode_photos([library_pixels(photo.path)])[0]
    assert np.allclose(stored.image[0], wanted.image, atol=1e-3) and np.allclose(stored.boxes, wanted.boxes)
    assert not clean(library)


def library_pixels(path):
    from interleave_index.ingest.decode import decode

    return decode(path).rgb


def test_a_second_run_reads_nothing_and_changes_nothing(library):
    fill(library)
    library.ingest()
    seen = library.model.photos
    report = library.ingest()
    assert library.counts(report) == {"present": 4} and library.model.photos == seen


def test_worker_processes_give_what_decoding_in_this_process_gives(library, tmp_path):
    fill(library, 6)
    library.ingest(workers=2, model_batch=2)
    space_id, _ = library.store.active_space()
    with Store.open(tmp_path / "other", create=True) as other:
        ingest(other, library.model, [library.folder], settings=IngestSettings(workers=0))
        for number in range(6):
            here, there = (photo_at(store, library.folder / f"{number}.png") for store in (library.store, other))
            assert here.sha256 == there.sha256 and here.phash == there.phash
            assert np.array_equal(
                library.store.vectors(space_id, [here.id]).regions, other.vectors(space_id, [there.id]).regions
            )


def test_a_renamed_photo_moves_its_one_row_and_sees_no_model(library):
    fill(library)
    library.ingest()
    before, seen = rows(library), library.model.photos
    (library.folder / "1.png").rename(library.folder / "renamed.png")
    report = library.ingest()
    assert library.counts(report) == {"moved": 1, "present": 3} and library.model.photos == seen
    after = rows(library)
    assert after.pop("renamed.png") == before.pop("1.png") and after == before
    assert not clean(library)


def test_a_moved_folder_is_so_many_moves(library):
    for number in range(3):
        library.add(f"old/{number}.png", number)
    library.ingest()
    (library.folder / "old").rename(library.folder / "new")
    assert library.counts(library.ingest()) == {"moved": 3}
    assert library.store.status()["missing"] == 0


def test_a_copy_is_a_duplicate_and_a_copy_of_the_same_run_too(library):
    first = library.add("a.png", 1)
    shutil.copy(first, library.folder / "b.png")
    assert library.counts(library.ingest()) == {"added": 1, "duplicate": 1}
    shutil.copy(first, library.folder / "c.png")
    assert library.counts(library.ingest()) == {"duplicate": 1, "present": 2}
    assert library.model.photos == 1 and len({photo for _, photo in rows(library).values()}) == 1


def test_a_copy_made_while_the_original_moves_is_one_move_and_one_duplicate(library):
    first = library.add("a.png", 1)
    library.ingest()
    shutil.copy(first, library.folder / "b.png")
    first.rename(library.folder / "c.png")
    assert library.counts(library.ingest()) == {"moved": 1, "duplicate": 1}
    assert sorted(rows(library)) == ["b.png", "c.png"]


def test_an_edited_file_is_a_new_photo_at_the_old_path(library):
    fill(library)
    library.ingest()
    before = rows(library)
    library.add("1.png", 77)
    assert library.counts(library.ingest()) == {"changed": 1, "present": 3}
    after = rows(library)
    assert after["1.png"][1] not in {photo for _, photo in before.values()}
    assert library.store.status()["photos"] == 4  # the old picture is nowhere any more, and so is its photo
    assert not clean(library)


def test_two_files_that_swap_their_names_are_changed_and_nothing_is_encoded_again(library):
    one, two = fill(library, 2)
    library.ingest()
    before, seen = rows(library), library.model.photos
    one.rename(library.folder / "x")
    two.rename(one)
    (library.folder / "x").rename(two)
    os.utime(one, ns=(1, 1))
    os.utime(two, ns=(2, 2))
    assert library.counts(library.ingest()) == {"changed": 2} and library.model.photos == seen
    assert rows(library) == {"0.png": before["1.png"], "1.png": before["0.png"]}


def test_a_touched_file_is_still_present_and_remembered_with_its_new_time(library):
    (path,) = fill(library, 1)
    library.ingest()
    os.utime(path, ns=(5, 5))
    assert library.counts(library.ingest()) == {"present": 1}
    (row,) = library.store.known_locations([library.folder]).values()
    assert row.mtime_ns == 5 and library.model.photos == 1


@pytest.mark.sqlite
def test_thousands_of_files_may_be_named_one_by_one(library):
    fill(library, 3)
    library.ingest()
    (library.folder / "2.png").rename(library.folder / "3.png")
    many = [library.put(f"{number}.bin", b"no picture") for number in range(1500)]
    names = [library.folder / "0.png", *many, library.folder / "1.png", library.folder / "3.png"]
    assert library.counts(library.ingest(*names)) == {"present": 2, "duplicate": 1, "failed": 1500}
    assert library.counts(library.ingest()) == {"present": 3, "failed": 1500, "missing": 1}


def test_a_failed_file_is_listed_again_but_read_again_only_when_it_changes(library, pictures, monkeypatch):
    path = library.put("bad.jpg", b"no picture")
    first = library.ingest()
    assert [(f.path, f.reason) for f in first.failed] == [(str(path), "ImageUnreadable")]
    assert library.ingest().failed == first.failed
    path.write_bytes(pictures.encoded(pictures.drawn(1), "PNG"))
    assert library.counts(library.ingest()) == {"added": 1}
    path.write_bytes(b"broken again")
    assert library.counts(library.ingest()) == {"failed": 1} and rows(library) == {"bad.jpg": ("failed", None)}
    assert not clean(library)


def test_a_picture_above_the_limit_is_tried_again_since_the_limit_may_be_raised(library):
    fill(library, 1)
    assert library.ingest(max_pixels=100).failed[0].reason == "ImageTooLarge"
    assert library.counts(library.ingest()) == {"added": 1}


def test_boxes_are_in_pixels_of_the_whole_photo_when_the_model_saw_a_smaller_one(library, pictures):
    rgb = np.full((400, 800, 3), 255, np.uint8)
    rgb[104:296, 200:600] = (220, 40, 40)
    library.put("large.png", pictures.encoded(rgb, "PNG"))
    library.ingest(long_side=100)
    space_id, _ = library.store.active_space()
    boxes = library.store.vectors(space_id, [1]).boxes
    assert [200, 104, 600, 296] in boxes.tolist()
    assert library.store.masks(space_id, 1)[0].size == (50, 100)


def test_one_bad_photo_in_a_batch_is_the_only_failure_and_is_tried_again(library):
    fill(library, 5)
    fussy = Counting(refuse=lambda rgb: tuple(rgb[0, 0]) == (3, 0, 7))
    report = library.ingest(model=fussy)
    assert library.counts(report) == {"added": 4, "failed": 1}
    failure = report.failed[0]
    assert failure.path.endswith("3.png") and failure.reason == "ModelError" and "not to my taste" in failure.detail
    assert fussy.batches == [5, 1, 1, 1, 1, 1] and not clean(library)
    assert library.counts(library.ingest()) == {"added": 1, "present": 4}


def test_a_failure_of_the_run_is_tried_again_also_for_a_file_without_a_time(library):
    os.utime(library.add("from an archive.png", 1), ns=(0, 0))
    assert library.ingest(max_pixels=100).failed[0].reason == "ImageTooLarge"
    assert library.counts(library.ingest()) == {"added": 1}


def test_a_model_that_refuses_everything_ends_the_run_and_one_without_its_weights_at_once(library, monkeypatch):
    monkeypatch.setattr(run_module, "LOST_IN_A_ROW", 3)
    fill(library, 6)
    with pytest.raises(ModelError, match="3 photos in a row failed in toy"):
        library.ingest(model=Counting(refuse=lambda rgb: True), model_batch=2)

    class Unbuilt(Counting):
        def encode_photos(self, photos):
            raise BackendMissing("no torch here")

    with pytest.raises(BackendMissing, match="no torch"):
        library.ingest(model=Unbuilt())
    assert library.counts(library.ingest()) == {"added": 6}


def test_a_new_model_fills_its_own_space_beside_the_old_one(library):
    fill(library, 3)
    shutil.copy(library.folder / "0.png", library.folder / "copy.png")
    library.ingest()

    class Newer(Counting):
        space = Space("toy", "1" * 64, "nearest of eight colours", 16)

    newer = Newer()
    assert library.counts(library.ingest(model=newer)) == {"present": 4}
    assert newer.photos == 3
    assert [(row.state, row.encodings) for row in library.store.spaces()] == [("active", 3), ("building", 3)]
    assert library.counts(library.ingest(model=newer)) == {"present": 4} and newer.photos == 3


def test_a_photo_that_only_the_new_model_refuses_stays_in_the_old_space(library):
    fill(library, 2)
    library.ingest()

    class Newer(Counting):
        space = Space("toy", "1" * 64, "nearest of eight colours", 16)

    before = rows(library)
    shutil.copy(library.folder / "1.png", library.folder / "copy.png")
    report = library.ingest(model=Newer(refuse=lambda rgb: tuple(rgb[0, 0]) == (1, 0, 7)))
    assert library.counts(report) == {"present": 1, "failed": 2}
    assert rows(library) == {**before, "copy.png": before["1.png"]}
    report = library.ingest(model=Newer(), max_pixels=100)
    assert [failure.reason for failure in report.failed] == ["ImageTooLarge"] * len(report.failed) and report.failed
    assert rows(library) == {**before, "copy.png": before["1.png"]} and not clean(library)


def test_a_lost_thumbnail_is_made_again_without_the_model(library):
    fill(library, 2)
    library.ingest()
    thumbnail = library.store.thumbnail_path(library.store.photo(1).sha256)
    thumbnail.unlink()
    assert library.counts(library.ingest()) == {"present": 2}
    assert thumbnail.exists() and library.model.photos == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_writes_the_batch_in_flight_and_the_next_run_goes_on(workers, library):
    fill(library, 12)

    class Interrupted(Counting):
        def encode_photos(self, photos):
            if len(self.batches) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return super().encode_photos(photos)

    before = signal.getsignal(signal.SIGINT)
    report = library.ingest(model=Interrupted(), workers=workers, batch=4, model_batch=4)
    assert report.interrupted and 8 <= report.added < 12 and report.missing == 0
    assert signal.getsignal(signal.SIGINT) is before
    assert library.store.status()["photos"] == report.added and not clean(library)
    again = library.ingest()
    assert again.added == 12 - report.added and again.present == report.added and not again.interrupted


def test_a_second_ctrl_c_aborts_and_what_was_written_is_whole(library):
    fill(library, 6)

    class Impatient(Counting):
        def encode_photos(self, photos):
            if self.batches:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)  # two at once are one to a thread that is not the main one
                os.kill(os.getpid(), signal.SIGINT)
            return super().encode_photos(photos)

    with pytest.raises(KeyboardInterrupt):
        library.ingest(model=Impatient(), batch=2, model_batch=2)
    assert not clean(library)
    assert library.ingest().added + library.store.status()["photos"] >= 6
    assert library.store.status()["photos"] == 6


def test_photos_are_written_while_the_model_has_the_next_ones(library, monkeypatch):
    fill(library, 4)
    decoded, second = threading.Event(), threading.Event()
    taken, take = [], run_module.Run._take

    def taking(run, outcome):
        take(run, outcome)
        taken.append(outcome)
        if len(taken) == 4:
            decoded.set()

    class Marking(Counting):
        def encode_photos(self, photos):
            (second.set() if self.batches else decoded.wait(5))
            return super().encode_photos(photos)

    met, write = [], library.store.write

    def waits_for_the_model(batch):
        met.append(second.wait(5))
        return write(batch)

    monkeypatch.setattr(run_module.Run, "_take", taking)
    monkeypatch.setattr(library.store, "write", waits_for_the_model)
    assert library.counts(library.ingest(model=Marking(), batch=2, model_batch=2)) == {"added": 4}
    assert met == [True, True]


def test_another_thread_may_stop_a_run(library):
    fill(library, 4)
    stop = threading.Event()
    stop.set()
    report = ingest(library.store, library.model, [library.folder], stop=stop, settings=IngestSettings(workers=0))
    assert report.interrupted and report.added == 0


def test_a_run_outside_the_main_thread_works_without_signals(library):
    fill(library, 2)
    reports = []
    thread = threading.Thread(target=lambda: reports.append(library.ingest()))
    thread.start()
    thread.join()
    assert library.counts(reports[0]) == {"added": 2}


@pytest.mark.sqlite
@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc leaves it")
def take_in(index, folder):
    """Take a folder into an index of its own."""
    with Store.open(index, create=True) as store:
        report = ingest(store, Counting(), [folder], settings=IngestSettings(workers=0))
    os._exit(report.added)


@pytest.mark.sqlite
def test_the_model_takes_the_photos_of_all_runs_in_one_thread_and_in_another_one_after_a_fork(library, tmp_path):
    class Noting(Counting):
        def encode_photos(self, photos):
            threads.append(threading.current_thread().name)
            idents.add(threading.get_ident())
            return super().encode_photos(photos)

    threads, idents = list[str](), set[int]()
    for number in range(3):
        library.add(f"{number}.png", number)
        library.ingest(model=Noting())
    assert threads == ["model_0"] * 3 and len(idents) == 1
    child = multiprocessing.get_context("fork").Process(
        target=take_in, args=(tmp_path / "other", library.folder), daemon=True
    )
    child.start()
    child.join(60)
    assert child.exitcode == 3


def test_memory_that_the_model_has_freed_is_given_back(library):
    class Greedy(Counting):
        """Takes 48 MiB in pieces that are no mappings of their own, and keeps the last piece."""

        kept: np.ndarray

        def encode_photos(self, photos):
            pieces = [np.ones(12_288, np.float64) for _ in range(512)]
            self.kept = pieces[-1]
            return super().encode_photos(photos)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20

    fill(library)
    library.ingest()
    library.add("new.png", 7)
    model, before = Greedy(), resident()
    assert library.ingest(model=model).added == 1
    assert model.kept.size and resident() - before < 24


def test_workers_that_are_killed_once_cost_nothing(library):
    fill(library, 30)
    killed: list[int] = []

    class Killer(Counting):
        def encode_photos(self, photos):
            if not killed:
                killed.extend(pid for pid in children() if b"ingest.decode_process" in command(pid))
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            return super().encode_photos(photos)

    report = library.ingest(model=Killer(), workers=2, batch=2, model_batch=2)
    assert killed and library.counts(report) == {"added": 30} and not clean(library)


def children():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                if int(file.read().rsplit(")", 1)[1].split()[1]) == os.getpid():
                    found.append(int(name))
        except OSError:
            continue
    return found


def command(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def test_progress_tells_stage_count_and_total_and_ends_at_the_total(library):
    fill(library, 5)
    told: list[IngestProgress] = []
    ingest(library.store, library.model, [library.folder], progress=told.append, settings=IngestSettings(workers=0))
    assert (told[0].stage, told[0].total) == ("scan", None)
    assert next((p.done, p.total) for p in told if p.stage == "ingest") == (0, 5)
    assert (told[-1].stage, told[-1].done, told[-1].total, told[-1].encoded) == ("optimize", 5, 5, 5)
    assert set(told[-1].decoder_seconds) == {"read", "hash", "decode", "small"}


def test_two_runs_at_once_are_refused_and_wrong_settings_and_roots_too(library, tmp_path):
    fill(library, 1)
    with Store.open(library.store.name) as other, other.writer("a test"), pytest.raises(IndexBusy, match="a test"):
        library.ingest()
    with pytest.raises(InputError, match="does not exist"):
        library.ingest(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"ingest\.batch is 257, expected 1 to 256"):
        IngestSettings(batch=257)
