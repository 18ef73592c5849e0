"""The demo, whole, on the weightless interface: photos, tables, report."""

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from interleave_index.config import Config
from interleave_index.demo import photos, run
from interleave_index.demo.scenes import HEIGHT, RED, SCENES, SKY_OF_HARBOUR, WIDTH, harbour
from interleave_index.errors import BackendMissing, InputError
from interleave_index.interface.toy import ToyInterface

needs_photos = pytest.mark.skipif(
    find_spec("skimage") is None or find_spec("sklearn") is None, reason="the extra [demo] is not installed"
)


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_the_same_every_time(name):
    first, second = SCENES[name]().pixels(), SCENES[name]().pixels()
    assert first.shape == (HEIGHT, WIDTH, 3) and first.dtype == np.uint8 and np.array_equal(first, second)
    assert first.std() > 10


def test_the_box_of_the_demo_holds_sky_and_nothing_of_the_sail():
    picture = harbour().pixels().astype(int)
    red = np.abs(picture - np.array(RED)).sum(-1) < 40
    x0, y0, x1, y1 = (int(v) for v in SKY_OF_HARBOUR)
    blue = picture[..., 2] > picture[..., 0]
    assert red.sum() > 3000 and red[y0:y1, x0:x1].sum() == 0 and blue[y0:y1, x0:x1].mean() > 0.8


@needs_photos
def test_photos_come_from_the_wheels_and_the_pen(tmp_path):
    written = photos.write_photos(tmp_path / "photos")
    names = {path.name for path in written}
    assert {"cat.png", "astronaut.png", "coffee.png", "motorcycle.png", "temple.jpg", "flower.jpg"} <= names
    assert len(written) == len(names) >= 25 and {f"{name}.jpg" for name in SCENES} <= names
    for path in written:
        with Image.open(path) as picture:
            picture.load()


def test_without_the_extra_the_demo_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(BackendMissing, match=r"scikit-image, which is not installed; .*interleave-index\[demo\]"):
        photos.write_photos(tmp_path)


def test_a_wheel_without_the_photos_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "_data", lambda package, below: tmp_path / "empty")
    with pytest.raises(BackendMissing, match="none of the demo's photos"):
        photos.write_photos(tmp_path)
    with pytest.raises(BackendMissing, match="motorcycle_right"):
        photos.write_query_pictures(tmp_path)


def few_photos(folder: Path) -> list[Path]:
    """Scenes only: the toy knows flat colours, and the test should be quick."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = ("red-car", "house-in-snow", "sailing-boat-by-day", "hot-air-balloon")
    return [photos._save(SCENES[name](), folder / f"{name}.jpg") for name in kept]


@needs_photos
def test_the_demo_asks_five_queries_and_writes_a_report(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "write_photos", few_photos)
    monkeypatch.setattr(run, "TOP_K", 2)
    screen = Console(file=io.StringIO(), width=140)
    for _ in range(2):  # the second run finds the folder of the first
        page = run.run_demo(
            tmp_path / "demo", interface=ToyInterface(), console=screen, config=Config().with_flags(ingest_workers=0)
        )
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert page == tmp_path / "demo" / "report.html" and "4 added, 0 failed" in shown
    for question in run.questions(photos.write_query_pictures(tmp_path / "q")):
        assert shown.count(question.heading) >= 2
    text = page.read_text("utf-8")
    assert text.count("<section>") == 5 and text.count("data:image/jpeg") >= 5 * 2
    assert "house-in-snow.jpg" in shown and ("match" in shown or "Nothing here matches well" in shown)
    assert text.count("Picture of the query") == 3


@pytest.mark.parametrize("own", ["index/catalog.sqlite", "photos/cat.png", "queries/notes.txt", "report.html"])
def test_a_folder_that_no_demo_made_is_left_alone(tmp_path, own):
    """Folders of the user's may be named as the demo's are; so may those of a demo before there was a mark."""
    (tmp_path / "queries").mkdir()
    (tmp_path / own).parent.mkdir(exist_ok=True)
    (tmp_path / own).write_text("keep")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=r"no demo of this version.*name another one, or remove this one if a demo"):
        run.run_demo(tmp_path, interface=ToyInterface())
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / own).read_text() == "keep"


def test_a_file_is_no_folder_for_a_demo(tmp_path):
    (tmp_path / "demo").write_text("keep")
    for named in (tmp_path / "demo", tmp_path / "demo" / "below"):
        with pytest.raises(InputError, match=r"is a file|cannot be written to"):
            run.run_demo(named, interface=ToyInterface())
    assert (tmp_path / "demo").read_text() == "keep"


def test_the_mark_is_there_before_anything_is_written(tmp_path, monkeypatch):
    """A run that stops at once, as without the extra, may be repeated."""

    def stops(folder):
        assert [path.name for path in folder.parent.iterdir()] == [run.MARK]
        raise BackendMissing("no photos")

    monkeypatch.setattr(run, "write_photos", stops)
    for _ in range(2):
        with pytest.raises(BackendMissing):
            run.run_demo(tmp_path / "new" / "demo", interface=ToyInterface())


def test_the_five_questions_are_of_five_kinds(tmp_path):
    pictures = {"motorcycle": tmp_path / "m.png", "harbour": tmp_path / "h.jpg"}
    words, picture, part, mixed, negative = (q.query for q in run.questions(pictures))
    assert len(words.entities) == 1 and not words.negatives
    assert picture.entities[0].box is None and part.entities[0].box == SKY_OF_HARBOUR  # type: ignore[union-attr]
    assert any(isinstance(p, str) for p in mixed) and not any(isinstance(p, str) for p in part)
    assert len(negative.negatives) == 1
