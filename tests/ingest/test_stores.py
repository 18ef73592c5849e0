"""Photos in stores: S3 as a server of this machine speaks it, and the memory of this process."""

from __future__ import annotations

import io
import json
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from interleave_index import remote
from interleave_index.config import Config
from interleave_index.errors import BackendMissing, InputError, RemoteError
from interleave_index.ingest.pipeline import IngestSettings, ingest
from interleave_index.interface.toy import ToyInterface
from interleave_index.paths import user_path
from interleave_index.records import Filters
from interleave_index.service import Index
from interleave_index.storage.store import Store

HERE = IngestSettings(workers=0, batch=2, model_batch=2)
LARGE = (1200, 1600)  # height, width: more than a thumbnail has


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "photos.index", create=True) as store:
        yield store


@pytest.fixture
def make(pictures):
    """Bytes of a picture that no other number gives."""
    return lambda number, **options: pictures.encoded(pictures.drawn(number, **options), "PNG")


@pytest.fixture
def filled(bucket, make):
    """Four photos in a folder with another one in it."""
    for number, name in enumerate(("a.png", "b.png", "trip/c.png", "trip/d é #1?.png")):
        bucket.put(f"photos/{name}", make(number))
    return bucket


def take_in(store, *roots, settings=HERE, **options):
    report = ingest(store, ToyInterface(), [user_path(root) for root in roots], settings=settings, **options)
    kinds = ("added", "changed", "present", "moved", "duplicate", "missing")
    counts = {kind: getattr(report, kind) for kind in kinds if getattr(report, kind)}
    return counts | ({"failed": len(report.failed)} if report.failed else {})


def states(store):
    """State of every location, by path."""
    with store._session.reading() as connection:
        return dict(connection.execute(text("SELECT path, state FROM location")).all())


# --- listing, reading, and what changed ---------------------------------------------------------


def test_photos_in_a_store_are_those_of_the_same_files_in_a_folder(filled, store, tmp_path):
    for name in filled.names():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(filled.get(name))
    assert take_in(store, f"{filled.url}/photos") == {"added": 4}
    with Store.open(tmp_path / "local.index", create=True) as local:
        assert take_in(local, tmp_path / "photos") == {"added": 4}
        for path in states(local):
            here = local.photo_by_path(path)
            there = store.photo_by_path(f"{filled.url}/{Path(path).relative_to(tmp_path)}")
            assert here is not None and there is not None
            assert (here.sha256, here.width, here.phash) == (there.sha256, there.width, there.phash)
            vectors = [s.vectors(1, [photo.id]) for s, photo in ((local, here), (store, there))]
            assert np.array_equal(vectors[0].image, vectors[1].image)
            assert np.array_equal(vectors[0].regions, vectors[1].regions)


def test_each_object_is_read_once_by_one_request_and_never_again(filled, store):
    url = f"{filled.url}/photos"
    filled.server.asked.clear()
    take_in(store, url)
    assert sorted(filled.reads()) == sorted(filled.names())
    assert not [asked for asked in filled.server.asked if not asked.startswith("GET") or "uploads" in asked]
    filled.server.asked.clear()
    assert take_in(store, url) == {"present": 4}
    assert filled.reads() == []


def test_nothing_is_written_to_a_store(filled, store):
    before = {name: filled.get(name) for name in filled.names()}
    filled.server.asked.clear()
    take_in(store, filled.url)
    assert {asked.split()[0] for asked in filled.server.asked} <= {"GET", "HEAD"}
    assert {name: filled.get(name) for name in filled.names()} == before


def test_new_changed_deleted_and_renamed_objects_are_told_apart(filled, store, make):
    url = f"{filled.url}/photos"
    take_in(store, url)
    filled.put("photos/e.png", make(7))
    filled.put("photos/a.png", make(8))
    filled.put("photos/trip/moved.png", filled.get("photos/b.png"))
    filled.delete("photos/b.png", "photos/trip/c.png")
    filled.server.asked.clear()
    assert take_in(store, url) == {"added": 1, "changed": 1, "moved": 1, "missing": 1, "present": 1}
    assert states(store)[f"{url}/trip/c.png"] == "missing"
    assert "photos/trip/d é #1?.png" not in filled.reads()


def test_an_object_of_the_same_size_written_within_the_same_second_is_seen_to_be_another(bucket, store):
    for _ in range(20):  # until both are written within one second
        before = remote.facts_of(bucket.put("a.png", b"\x89PNG one"))
        after = remote.facts_of(bucket.put("a.png", b"\x89PNG two"))
        if before.mtime_ns // remote.SECOND == after.mtime_ns // remote.SECOND:
            break
    else:
        pytest.skip("this machine is too busy to write twice within a second")
    assert before.bytes == after.bytes and before.mtime_ns != after.mtime_ns
    assert remote.listed(bucket.url) == [after]  # a listing says the same as the object itself


def test_an_object_may_be_named_by_itself(filled, store):
    filled.server.asked.clear()
    assert take_in(store, f"{filled.url}/photos/a.png", f"{filled.url}/photos/trip/") == {"added": 3}
    listings = [asked for asked in filled.server.asked if asked == f"GET /{filled.name}"]
    assert len(listings) == 1  # of the folder
    assert take_in(store, "s3a" + f"{filled.url}/photos"[2:]) == {"added": 1, "present": 3}


def test_the_rules_of_folders_hold_for_stores(bucket, store, make):
    for number, name in enumerate(
        ["plain", "IMG.JPG", "IMG.CR2", ".hidden.png", "@eaDir/x.png", "film.mp4", "deep/er/x.png", "no/way.png"]
    ):
        bucket.put(name, b"0" * 99 if "." in name and not name.endswith(("png", "JPG")) else make(number))
    bucket.put("words", b"no picture")
    bucket.put("folder/", b"")
    bucket.put("deep/.interleaveignore", b"x.png\n")
    report = ingest(
        store, ToyInterface(), [bucket.url], settings=IngestSettings(workers=0, exclude=("no/",), text_kinds=())
    )
    assert sorted(states(store)) == [f"{bucket.url}/IMG.JPG", f"{bucket.url}/plain"] and report.added == 2
    assert report.not_read == {
        "hidden": 1,
        "left_out": 1,
        "left_out_folders": 1,
        "raw_beside_jpeg": 1,
        "system_folders": 1,
        "video": 1,
    }


def test_texts_beside_photos_are_read_from_a_store(filled, store):
    filled.put("photos/a.txt", b"a red kite over the sea")
    filled.put("photos/trip/day.md", b"![c](c.png) a walk, and ![a](../a.png) before")
    report = ingest(store, ToyInterface(), [filled.url], settings=HERE)
    assert report.texts["read"] == 2
    photos = [store.photo_by_path(f"{filled.url}/photos/{name}") for name in ("a.png", "trip/c.png")]
    about = [[passage.text for passage in store.texts.of_photo(photo.id)] for photo in photos if photo is not None]
    assert "a red kite over the sea" in about[0] and len(about[0]) == 2 and len(about[1]) == 1


def test_a_damaged_object_is_a_failure_of_its_own_and_is_not_read_again(filled, store):
    url = filled.put("photos/bad.png", b"\x89PNG\r\n\x1a\n and nothing more")
    assert take_in(store, filled.url) == {"added": 4, "failed": 1}
    assert states(store)[url] == "failed"
    filled.server.asked.clear()
    assert take_in(store, filled.url) == {"present": 4, "failed": 1} and filled.reads() == []


def test_objects_are_decoded_by_other_processes_too(filled, store):
    assert take_in(store, filled.url, settings=IngestSettings(workers=1)) == {"added": 4}


# --- a store that is away -----------------------------------------------------------------------


def test_a_store_that_fails_in_passing_is_asked_again(filled, store, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # s3fs tries by itself
    remote._file_system.cache_clear()
    filled.server.failing = 3
    assert take_in(store, filled.url) == {"added": 4}
    assert filled.server.failing == 0 and len(filled.reads()) == 4 + 3


def test_nothing_is_missing_while_a_store_is_away(filled, store, tmp_path):
    url = f"{filled.url}/photos"
    take_in(store, url)
    filled.server.stop()
    with pytest.raises(RemoteError, match=f"{filled.url} cannot be used: .*connect.*credentials"):
        take_in(store, url)
    assert set(states(store).values()) == {"present"}
    assert store.prune(None) == 0 and store.prunable(None).photos == 0
    filled.server.start()
    assert take_in(store, url) == {"present": 4}


def test_a_store_that_goes_away_in_the_middle_ends_the_run_which_goes_on_later(bucket, store, make):
    for number in range(24):
        bucket.put(f"{number:02}.png", make(number))

    def stop(step):
        if step.encoded and bucket.server.answers:
            bucket.server.stop()

    with pytest.raises(RemoteError, match="of this run are kept, run it again to go on"):
        take_in(store, bucket.url, progress=stop)
    kept = states(store)
    assert 0 < len(kept) < 24 and set(kept.values()) == {"present"}
    bucket.server.start()
    bucket.server.asked.clear()
    assert take_in(store, bucket.url) == {"present": len(kept), "added": 24 - len(kept)}
    assert len(bucket.reads()) == 24 - len(kept)


def test_a_folder_of_which_nothing_is_left_is_not_taken_to_be_deleted(filled, store):
    url = f"{filled.url}/photos/trip"
    take_in(store, url)
    filled.delete("photos/trip/c.png", "photos/trip/d é #1?.png")
    report = ingest(store, ToyInterface(), [url], settings=HERE)
    assert report.missing == 0 and report.unmounted[0].path == url and report.unmounted[0].photos == 2
    assert take_in(store, url, settings=IngestSettings(workers=0, really=True)) == {"missing": 2}
    assert store.prunable(None).gone_folders == ((url, 2),)


def test_of_a_bucket_that_is_no_more_nothing_is_missing_whatever_is_asked_for(filled, store):
    take_in(store, filled.url)
    filled.delete(*filled.names())
    filled.remove()
    for folder in (filled.url, f"{filled.url}/photos"):
        with pytest.raises(InputError, match="The specified bucket does not exist"):
            take_in(store, folder, settings=IngestSettings(workers=0, really=True))
    assert set(states(store).values()) == {"present"}


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("s3://no-such-bucket-here/photos", r"does not exist \(The specified bucket"),
        ("s3://no-such-bucket-here", "The specified bucket does not exist"),
        ("s3://Not_A_Bucket!/x", "cannot be used: .*Invalid bucket name"),
    ],
)
def test_a_wrong_name_is_one_line(bucket, store, folder, words):
    with pytest.raises((InputError, RemoteError), match=words) as error:
        take_in(store, folder)
    assert "\n" not in str(error.value)


def test_a_folder_that_never_was_is_an_error(filled, store):
    with pytest.raises(InputError, match="photo' does not exist, expected a folder or a picture in a store"):
        take_in(store, f"{filled.url}/photo")


def test_without_credentials_that_is_said(filled, store, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    remote._file_system.cache_clear()
    with pytest.raises(RemoteError, match="Unable to locate credentials; see that it answers"):
        take_in(store, filled.url)
    remote._file_system.cache_clear()


@pytest.mark.parametrize(("scheme", "package", "more"), [("s3", "s3fs", ""), ("gs", "gcsfs", " gcsfs")])
def test_a_package_that_is_not_there_is_named_with_what_installs_it(store, scheme, package, more):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    with pytest.raises(BackendMissing, match=rf"pip install 'interleave-index\[remote\]'{more}$"):
        take_in(store, f"{scheme}://bucket/photos")


# --- the whole program --------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path):
    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(tmp_path / "photos.index", config=config, interface=ToyInterface(), create=True) as index:
        yield index


def test_pixels_are_those_of_the_original_while_it_is_unchanged(bucket, index, make, pictures):
    drawn = pictures.drawn(3, size=LARGE)
    url = bucket.put("large.png", pictures.encoded(drawn, "PNG"))
    index.ingest(bucket.url)
    photo = index.photo(1)
    assert photo.path == url
    assert np.array_equal(index.pixels(photo), drawn)
    assert np.array_equal(index.load_picture(url), drawn)
    bucket.put("large.png", make(4))
    with Index.open(index.folder, interface=ToyInterface()) as later:  # which has no pixels in its cache
        assert max(later.pixels(1).shape) <= 512
    bucket.server.stop()
    with Index.open(index.folder, interface=ToyInterface()) as later:
        assert max(later.pixels(1).shape) <= 512
        assert later.search("[photo:1]")[0].photo.path == url


def test_photos_are_named_filtered_and_forgotten_by_their_urls(filled, index):
    trip = f"{filled.url}/photos/trip"
    index.ingest(filled.url)
    assert {hit.photo.path for hit in index.search("[photo:1]", filters=Filters(folder=f"{trip}/"))} == {
        f"{trip}/c.png",
        f"{trip}/d é #1?.png",
    }
    assert [row["name"] for row in index.facets()["folders"]] == [f"{filled.url}/photos", trip]
    assert index.search(f"[image:{trip}/c.png]")[0].photo.path == f"{trip}/c.png"
    assert index.forget([trip]) == 2
    assert index.ingest(filled.url).not_read == {"forgotten_folders": 1}
    assert [row.shown for row in index.forgotten()] == [trip]
    index.undo_forget([trip])
    assert index.ingest(filled.url).added == 2


def test_offline_no_store_is_asked(filled, index, tmp_path):
    index.ingest(filled.url)
    filled.server.asked.clear()
    config = index.config.with_flags(models_offline=True)
    with Index.open(index.folder, config=config, interface=ToyInterface()) as offline:
        for refused in (
            lambda: offline.ingest(filled.url),
            lambda: offline.optimize(publish=f"{filled.url}/faiss"),
            lambda: offline.search(f"[image:{filled.url}/photos/a.png]"),
            lambda: offline.ground(f"{filled.url}/photos/a.png", "[a red] thing"),
        ):
            with pytest.raises(InputError, match="is on the network, but offline is set"):
                refused()
        assert offline.pixels(1).ndim == 3 and offline.search("[photo:1] a [red] thing", ground="exact")
    assert filled.server.asked == []


def test_repair_takes_in_again_what_still_lies_in_its_store(filled, index):
    index.ingest(filled.url)
    for file in (index.folder / "thumbnails").glob("*/*.jpg"):
        file.unlink()
    filled.delete("photos/a.png")
    assert index.repair_plan().thumbnails == tuple(f"{filled.url}/{name}" for name in filled.names())
    filled.server.stop()
    assert index.repair_plan().thumbnails == ()


def test_the_command_line_takes_urls_and_shows_them(filled, run, tmp_path, monkeypatch):
    monkeypatch.setenv("INTERLEAVE_INDEX", str(tmp_path / "cli.index"))
    code, out, err = run("ingest", f"{filled.url}/photos/", "--model", "toy", "--workers", 0, "--json")
    assert (code, json.loads(out)["added"]) == (0, 4), err
    code, out, _ = run("search", "[photo:1]", "--json")
    assert code == 0 and json.loads(out)["hits"][0]["path"] == f"{filled.url}/photos/a.png"
    code, out, _ = run("search", "[photo:1]", "--in", f"{filled.url}/photos/trip")
    assert code == 0 and f"{filled.url}/photos/trip/c.png" in out.replace("\n", "")
    code, _, err = run("ingest", "s3://no-such-bucket-here/x")
    assert code == 1 and err.startswith("error: 's3://no-such-bucket-here/x' does not exist") and err.count("\n") == 1


def test_the_page_gives_originals_and_says_when_their_store_is_away(filled, index):
    from starlette.testclient import TestClient

    from interleave_index.web.app import create_app
    from interleave_index.web.settings import ServeSettings
    from interleave_index.web.state import State

    index.ingest(filled.url)
    state = State(str(index.folder), index.config, ServeSettings(), build=ToyInterface)
    with TestClient(create_app(state), base_url="http://127.0.0.1:8765") as page:
        assert page.get("/api/photos/1").json()["folder"] == f"{filled.url}/photos"
        answer = page.get("/api/photos/1/original")
        assert answer.status_code == 200 and answer.content == filled.get("photos/a.png")
        assert page.get("/api/photos/1/original", headers={"Range": "bytes=1-3"}).content == b"PNG"
        packed = page.post("/api/originals", json={"photos": [1, 2]}).json()
        with zipfile.ZipFile(io.BytesIO(page.get(f"/api/originals/{packed['download']}.zip").content)) as archive:
            assert sorted(map(archive.read, archive.namelist())) == sorted(
                filled.get(f"photos/{name}.png") for name in "ab"
            )
        filled.server.stop()
        assert page.get("/api/photos/1/thumbnail").status_code == 200
        answer = page.get("/api/photos/1/original")
        assert answer.status_code == 503 and "cannot be used" in answer.json()["detail"]
        filled.server.start()
        filled.put("photos/a.png", filled.get("photos/b.png"))
        assert page.get("/api/photos/1/original").status_code == 410


# --- any store that fsspec knows ----------------------------------------------------------------


def test_photos_in_the_memory_of_the_process_are_taken_in(store, make):
    import fsspec

    memory = fsspec.filesystem("memory")
    for number, name in enumerate(("a.png", "deep/b.png")):
        memory.pipe_file(f"/tests-of-stores/{name}", make(number))
    try:
        assert take_in(store, "memory://tests-of-stores") == {"added": 2}
        assert sorted(states(store)) == ["memory://tests-of-stores/a.png", "memory://tests-of-stores/deep/b.png"]
        memory.pipe_file("/tests-of-stores/a.png", make(5))
        assert take_in(store, "memory://tests-of-stores/") == {"changed": 1, "present": 1}
        assert remote.read("memory://tests-of-stores/a.png", most=4) == b"\x89PNG"
        with remote.opened("memory://tests-of-stores/a.png") as file:
            assert file.read() == make(5)
    finally:
        memory.rm("/tests-of-stores", recursive=True)


def test_a_url_of_a_file_is_the_path_of_that_file(tmp_path, index, make):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a b.png").write_bytes(make(1))
    index.ingest(f"file://{tmp_path}/photos")
    assert index.photo(1).path == f"{tmp_path}/photos/a b.png"
