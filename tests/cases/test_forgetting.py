"""What is forgotten is gone and stays gone, until that is undone; what only vanished is asked about."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

from interleave_index.cli.app import app
from interleave_index.errors import NotInIndex
from interleave_index.interface.toy import ToyInterface
from interleave_index.records import Filters
from interleave_index.service import Index
from tests.cases.test_files import picture, put


@pytest.fixture
def photos(tmp_path):
    for number, name in enumerate(("a.jpg", "b.jpg", "private/c.jpg", "private/deep/d.jpg")):
        put(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path, photos):
    with Index.open(tmp_path / "index", interface=ToyInterface(), create=True) as made:
        made.ingest(photos)
        yield made


def names(index: Index) -> list[str]:
    return sorted(Path(str(photo.path)).name for photo, _ in index.library())


def test_a_path_means_that_place_and_not_the_copies_of_its_photo(index, photos):
    shutil.copy(photos / "a.jpg", photos / "copy.jpg")
    index.ingest(photos)
    gone = index.forget_all([photos / "copy.jpg"])
    assert (gone.photos, gone.locations) == (0, 1) and (photos / "copy.jpg").is_file()
    assert [Path(place.path).name for place in index.locations(1)] == ["a.jpg"]
    report = index.ingest(photos)
    assert report.not_read == {"forgotten": 1} and report.present == 4
    assert index.forget([photos / "a.jpg"]) == 1 and names(index) == ["b.jpg", "c.jpg", "d.jpg"]


@pytest.mark.parametrize("what", ["id", "path"])
def test_a_photo_is_forgotten_with_every_copy_of_now_and_of_later(what, index, photos):
    shutil.copy(photos / "a.jpg", photos / "copy.jpg")
    index.ingest(photos)
    named = index.locations(1)[0].path
    gone = index.forget_all([1] if what == "id" else [named], photo=what == "path")
    assert (gone.photos, gone.locations) == (1, 2)
    shutil.copy(photos / "a.jpg", photos / "later.jpg")
    (photos / "a.jpg").rename(photos / "renamed.jpg")
    report = index.ingest(photos)
    assert report.added == 0 and report.not_read == {"forgotten": 3} and names(index) == ["b.jpg", "c.jpg", "d.jpg"]
    assert len(list((index.folder / "thumbnails").rglob("*.jpg"))) == 3  # nor is a picture of it left


def comment(path: Path, words: str) -> None:
    """Write a PNG anew with its pixels and another comment."""
    info = PngInfo()
    info.add_text("Comment", words)
    with Image.open(path) as image:
        image.load()
        image.save(path, pnginfo=info)


def test_a_forgotten_photo_stays_out_when_only_the_facts_in_its_file_are_edited(index, photos):
    picture(7).save(photos / "e.png")
    index.ingest(photos)
    (known,) = (photo for photo, _ in index.library() if str(photo.path).endswith("e.png"))
    index.forget([known.id])
    comment(photos / "e.png", "seen again")
    for _ in range(2):
        report = index.ingest(photos)
        assert report.added == 0 and report.not_read == {"forgotten": 1}
    assert len(list((index.folder / "thumbnails").rglob("*.jpg"))) == 4
    index.undo_forget([photos / "e.png"])
    assert index.ingest(photos).added == 1


def test_a_photo_stays_though_another_one_with_its_pixels_is_forgotten(index, photos):
    picture(7).save(photos / "e.png")
    shutil.copy(photos / "e.png", photos / "f.png")
    comment(photos / "f.png", "another content")
    index.ingest(photos)
    ids = {Path(str(photo.path)).name: photo.id for photo, _ in index.library()}
    index.forget([ids["e.png"]])
    index.thumbnail(ids["f.png"]).unlink()  # so that it is read again
    assert index.ingest(photos).not_read == {"forgotten": 1} and "f.png" in names(index)
    comment(photos / "f.png", "edited")
    assert index.ingest(photos).changed == 1 and "f.png" in names(index)


def test_a_forgotten_folder_takes_nothing_in_again_nor_anything_new(index, photos):
    assert index.forget([photos / "private"]) == 2
    put(photos / "private" / "new.jpg", 9)
    report = index.ingest(photos)
    assert names(index) == ["a.jpg", "b.jpg"] and report.not_read == {"forgotten_folders": 1}
    assert index.ingest(photos / "private").added == 0
    assert index.ingest(photos / "private" / "new.jpg").not_read == {"forgotten": 1}


def test_undo_lets_the_next_ingest_take_it_in_again(index, photos):
    index.forget([photos / "private", photos / "a.jpg", 2])
    assert [row.kind for row in index.forgotten()] == ["content", "file", "folder"]
    with pytest.raises(NotInIndex, match="was forgotten with its folder"):
        index.undo_forget([photos / "private" / "c.jpg"])
    with pytest.raises(NotInIndex, match="nothing was forgotten at"):
        index.undo_forget([photos / "a.jpg", photos / "never.jpg"])
    assert len(index.forgotten()) == 3
    assert [row.kind for row in index.undo_forget([photos / "private"])] == ["folder"]
    assert index.ingest(photos).added == 2
    assert len(index.undo_forget([photos])) == 2
    assert index.ingest(photos).added == 2 and names(index) == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert index.forgotten() == []


def test_nothing_is_forgotten_when_one_name_is_unknown(index, photos):
    for stranger in (photos / "never.jpg", 99):
        with pytest.raises(NotInIndex):
            index.forget([photos / "a.jpg", 1, stranger])
    assert len(names(index)) == 4 and index.forgotten() == []


def test_a_forgotten_file_that_failed_is_not_tried_again(index, photos):
    (photos / "broken.jpg").write_bytes(b"no picture")
    index.ingest(photos)
    gone = index.forget_all([photos / "broken.jpg"])
    assert (gone.photos, gone.locations) == (0, 1)
    assert index.ingest(photos).failed == () and index.failed() == []


def said(index: Index) -> list[str]:
    return sorted(passage.text for passage in index.texts())


@pytest.mark.parametrize("by", ["path", "id", "folder"])
def test_what_a_sidecar_says_goes_with_its_photo_and_comes_back_with_it(index, photos, by):
    private = photos / "private"
    (private / "c.txt").write_text("my secret")
    (photos / "b.txt").write_text("no secret")
    (photos / "page.md").write_text("Two ![](private/c.jpg) and ![](b.jpg) shown")
    index.ingest(photos)
    (secret,) = [passage for passage in index.texts() if passage.text == "my secret"]
    what = {"path": private / "c.jpg", "id": secret.photos[0], "folder": private}[by]
    gone = index.forget_all([what])
    assert gone.locations == (4 if by == "folder" else 2) - (by == "folder")
    kept = [text for text in said(index) if text != "no secret"]
    assert len(said(index)) == 2 and kept[0].startswith("Two")
    report = index.ingest(photos)
    assert len(said(index)) == 2 and report.texts["missing"] == 0
    assert report.not_read == ({"forgotten_folders": 1} if by == "folder" else {"forgotten": 2})
    assert index.ingest([private / "c.txt"]).texts["read"] == 0  # by itself, too
    index.undo_forget([private])
    index.ingest(photos)
    assert "my secret" in said(index) and all(check.ok for check in index.verify())


def test_a_sidecar_stays_while_one_of_its_photos_does(index, photos):
    put(photos / "a.png", 9)
    (photos / "a.txt").write_text("of both")
    index.ingest(photos)
    index.forget([photos / "a.jpg"])
    index.ingest(photos)
    assert said(index) == ["of both"]
    index.forget([photos / "a.png"])
    assert said(index) == []


def test_a_search_tells_an_index_of_missing_photos_from_an_empty_one(index, photos, tmp_path):
    photos.rename(tmp_path / "away")
    photos.mkdir()
    index.ingest(photos, really=True)
    answer = index.search("red box")
    assert not answer.hits and any("all 4 photos of the index are missing" in note for note in answer.notes)
    assert len(index.search("red box", filters=Filters(include_missing=True))) == 4
    index.prune()
    assert not any("missing" in note for note in index.search("red box").notes)


# --- commands --------------------------------------------------------------------------------


@pytest.fixture
def run(index, monkeypatch):
    folder = index.folder
    index.close()

    def go(*words: object, given: str = "") -> tuple[int, str, str]:
        done = CliRunner().invoke(app, [*map(str, words), "--index", str(folder)], input=given)
        return done.exit_code, done.stdout, done.stderr

    return go


def test_the_command_forgets_names_and_undoes(run, photos):
    assert json.loads(run("forget", photos / "private", "--json")[1]) == {"forgotten": 2, "locations": 2}
    assert json.loads(run("forget", "--photo", photos / "a.jpg", "--json")[1]) == {"forgotten": 1, "locations": 1}
    listed = json.loads(run("forget", "--list", "--json")[1])["forgotten"]
    assert [(row["kind"], row["path"]) for row in listed] == [
        ("content", str(photos / "a.jpg")),
        ("folder", str(photos / "private")),
    ]
    assert f"folder  {photos / 'private'}" in run("forget", "--list")[1]
    status, out, _ = run("forget", "--undo", photos)
    assert status == 0 and out.startswith("2 no longer left out")
    assert run("forget")[0] == 2 and run("forget", "--undo", "--list", photos)[0] == 2
    status, out, _ = run("ingest", photos, "--model", "toy", "--workers", 0)
    assert status == 0 and out.startswith("3 added")


def test_prune_only_looks_until_it_is_told_and_warns_of_folders_that_are_gone(run, photos):
    (photos / "a.jpg").unlink()
    shutil.rmtree(photos / "private")
    run("ingest", photos, "--model", "toy", "--workers", 0)
    assert run("prune")[:2] == (0, "0 photos and 0 paths would be forgotten\n")
    status, out, err = run("prune", "--dry-run", "--grace", 0)
    assert (status, out) == (0, "3 photos and 3 paths would be forgotten\n")
    assert f"nothing is left of {photos / 'private'} (2 files" in err
    assert "3 paths missing for less than 7 days stay; --grace 0" in run("prune", "--yes")[2]
    looked = json.loads(run("prune", "--grace", "0", "--json")[1])
    assert looked["gone_folders"] == [{"path": str(photos / "private"), "files": 2}]
    assert run("prune", "--grace", 0)[1] == "3 photos and 3 paths would be forgotten; --yes does it\n"
    assert json.loads(run("status", "--json")[1])["photos"] == 4
    assert run("prune", "--yes", "--grace", 0)[1] == "3 forgotten\n"
    assert run("prune", "--yes")[1] == "0 forgotten\n"


def test_an_empty_mount_point_is_a_folder_that_is_gone(run, photos):
    for path in (photos / "private").rglob("*.jpg"):
        path.unlink()
    (photos / "private" / "deep").rmdir()
    run("ingest", photos, "--model", "toy", "--workers", 0)
    assert f"nothing is left of {photos / 'private'} (2 files" in run("prune", "--grace", 0)[2]
    (photos / "private" / "text").write_text("somebody is here")
    assert "nothing is left" not in run("prune", "--grace", 0)[2]


def test_failures_are_told_once_by_ingest_and_always_by_status(run, photos):
    (photos / "broken.jpg").write_bytes(b"no picture")
    status, out, _ = run("ingest", photos, "--model", "toy", "--workers", 0)
    assert status == 3 and "broken.jpg" in out and "1 failed" in out and "photos/s" not in out
    status, out, _ = run("ingest", photos, "--model", "toy", "--workers", 0)
    assert status == 0 and "0 failed (1 more failed before)" in out and "broken.jpg" not in out
    assert "broken.jpg" in run("status")[1] and "broken.jpg" in run("status", "--failed")[1]
    (failure,) = json.loads(run("status", "--failed", "--json")[1])["failures"]
    assert failure["path"] == str(photos / "broken.jpg") and failure["reason"] == "ImageUnreadable"
    assert "failures" not in json.loads(run("status", "--json")[1])
    (photos / "broken.jpg").write_bytes(b"no picture, but another one")
    assert run("ingest", photos, "--model", "toy", "--workers", 0)[0] == 3
