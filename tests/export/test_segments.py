"""Segments in files: id maps in colours, JSON of both forms, painted photos; and many photos in one folder."""

import json
import os

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from interleave_index.errors import InputError
from interleave_index.evaluation.published.files import read_ids
from interleave_index.export.segment_files import SegmentFolder, names_of, segment_files
from interleave_index.export.segments import colours_of, id_map, id_of, painted, segment_rows
from interleave_index.ingest.decode import load_picture
from interleave_index.interface.toy import ToyInterface
from interleave_index.marks import is_marked_file
from interleave_index.records import Panoptic, PanopticSegment
from interleave_index.segmentation.classes import SegmentClass
from interleave_index.segmentation.segmenters import RegionSegmenter

CLASSES = (
    SegmentClass(5, "red", "red", True, (200, 30, 30)),
    SegmentClass(9, "blue", "blue", True, (0, 0, 0)),
    SegmentClass(40, "white", "white", False, (90, 90, 90)),
)
IDS = np.repeat(np.array([[1, 2, 3, 0]], np.int32), 10, 0).repeat(10, 1)
FOUND = Panoptic(
    IDS, (PanopticSegment(1, 0, True, 0.9), PanopticSegment(2, 0, True, 0.8), PanopticSegment(3, 1, True, 0.7))
)


# --- one photo -------------------------------------------------------------------------------


def test_every_segment_has_a_colour_of_its_own_near_that_of_its_class_and_none_is_black():
    many = Panoptic(IDS, tuple(PanopticSegment(n + 1, n % 2, True) for n in range(40)))
    colours = colours_of(many, CLASSES)
    assert len(set(colours)) == 40 and (0, 0, 0) not in colours
    for segment, colour in zip(many.segments, colours, strict=True):
        assert np.abs(np.array(colour) - CLASSES[segment.category].colour).max() <= 40
    assert colours[0] == (200, 30, 30)
    assert colours == colours_of(many, CLASSES)


def test_an_id_map_reads_back_as_the_ids_of_the_json(tmp_path):
    colours = colours_of(FOUND, CLASSES)
    Image.fromarray(id_map(FOUND, colours)).save(tmp_path / "a.png")
    ids = read_ids(tmp_path / "a.png")
    rows = segment_rows(FOUND, colours, CLASSES)
    assert [row["id"] for row in rows] == [id_of(colour) for colour in colours]
    for number, row in enumerate(rows, 1):
        assert np.array_equal(ids == row["id"], number == IDS)
    assert (ids[IDS == 0] == 0).all()
    assert [(row["category_id"], row["area"], row["bbox"], row["score"]) for row in rows] == [
        (5, 100, [0, 0, 10, 10], 0.9),
        (5, 100, [10, 0, 10, 10], 0.8),
        (9, 100, [20, 0, 10, 10], 0.7),
    ]


def test_a_painted_photo_is_tinted_where_segments_are_and_named_where_there_is_room():
    photo = np.full((200, 300, 3), 255, np.uint8)
    ids = np.zeros((200, 300), np.int32)
    ids[20:180, 20:180], ids[100:104, 250:254] = 1, 2
    found = Panoptic(ids, (PanopticSegment(1, 0, True), PanopticSegment(2, 0, True)))
    shown = painted(photo, found, colours_of(found, CLASSES), CLASSES)
    assert (shown[ids == 0] == 255).all()
    assert (shown[ids == 1] != 255).any(1).mean() > 0.95
    assert (shown[90:110, 80:120] == 0).all(2).any()  # the black line around a name in the middle
    assert not (shown[ids == 2] == 0).all(1).any()
    assert (photo == 255).all()


# --- many photos -----------------------------------------------------------------------------


class Counting:
    """The toy's colours as classes; counts the photos that it sees."""

    def __init__(self, classes=CLASSES, name="toy 0"):
        self._inner, self.classes, self.name, self.seen = RegionSegmenter(ToyInterface(), classes), classes, name, 0

    def segment(self, photo):
        self.seen += 1
        return self._inner.segment(photo)


@pytest.fixture
def photos(tmp_path, draw):
    """Two photos, one of the same name in a folder below, and a broken one."""
    folder = tmp_path / "photos"
    draw.save(draw.paint({"red": draw.disc(40, 40, 25)}), folder / "a.png")
    draw.save(draw.paint({"red": draw.disc(30, 48, 20), "blue": draw.rectangle(70, 30, 110, 70)}), folder / "b.png")
    draw.save(draw.paint({"blue": draw.rectangle(0, 0, 64, 96)}), folder / "below" / "a.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    return folder


def run(photos, out, segmenter=None, **options):
    segmenter = segmenter or Counting()
    into = SegmentFolder(out, segmenter.name, segmenter.classes, **options)
    return segment_files([photos], segmenter, into, load_picture), segmenter


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_a_folder_of_photos_becomes_maps_pictures_and_json(tmp_path, photos, drawn_photos):
    report, _ = run(photos, tmp_path / "out")
    assert (report.segmented, report.before, report.segments) == (3, 0, 7)
    assert [(file.path, file.reason) for file in report.failed] == [(str(photos / "broken.jpg"), "ImageUnreadable")]
    assert "broken.jpg" not in report.failed[0].detail
    panoptic = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert [(row["id"], row["name"], row["isthing"]) for row in panoptic["categories"]] == [
        (5, "red", 1),
        (9, "blue", 1),
        (40, "white", 0),
    ]
    shown = {}
    for image, row in zip(panoptic["images"], panoptic["annotations"], strict=True):
        assert row["image_id"] == image["id"] and (image["width"], image["height"]) == (128, 96)
        ids = read_ids(tmp_path / "out" / "panoptic" / row["file_name"])
        assert {one["id"] for one in row["segments_info"]} == set(np.unique(ids).tolist()) - {0}
        shown[os.path.relpath(image["file_name"], photos)] = {one["category_id"] for one in row["segments_info"]}
    assert shown == {"a.png": {5, 40}, "b.png": {5, 9, 40}, os.path.join("below", "a.png"): {9, 40}}
    pictures = [*(tmp_path / "out" / "panoptic").iterdir(), *(tmp_path / "out" / "overlay").iterdir()]
    assert len(pictures) == 6 and all(is_marked_file(file) for file in pictures)


def test_cocos_own_reader_takes_the_json(tmp_path, photos, capsys):
    run(photos, tmp_path / "out")
    read = COCO(str(tmp_path / "out" / "coco.json"))
    assert len(read.imgs) == 3 and len(read.anns) == 7
    annotations = read.loadAnns(read.getAnnIds(catIds=[5]))
    for one in annotations:
        mask = read.annToMask(one)
        assert mask.sum() == one["area"] and mask.shape == (96, 128)
    assert len(annotations) == 2


def test_what_is_finished_is_left_and_what_changed_is_made_anew(tmp_path, photos, draw):
    run(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    report, segmenter = run(photos, tmp_path / "out")
    assert (report.segmented, report.before, segmenter.seen) == (0, 3, 0)
    assert contents(tmp_path / "out") == before
    draw.save(draw.paint({"red": draw.disc(90, 40, 30)}), photos / "a.png")
    draw.save(draw.paint({"blue": draw.disc(90, 40, 30)}), photos / "new.png")
    next(file for file in (tmp_path / "out" / "panoptic").iterdir() if file.name.startswith("b-")).unlink()
    report, segmenter = run(photos, tmp_path / "out")
    assert (report.segmented, report.before, segmenter.seen) == (3, 1, 3)
    panoptic = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert len(panoptic["images"]) == len({image["file_name"] for image in panoptic["images"]}) == 4


def test_a_run_that_was_stopped_keeps_what_it_finished(tmp_path, photos):
    segmenter = Counting()
    into = SegmentFolder(tmp_path / "out", segmenter.name, segmenter.classes)

    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_files([photos], segmenter, into, load_picture, finished=stop)
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == 1
    with (tmp_path / "out" / "segments.jsonl").open("a") as journal:
        journal.write('{"path": "torn')  # the machine was switched off
    report, segmenter = run(photos, tmp_path / "out")
    assert (report.segmented, report.before, segmenter.seen) == (2, 1, 2)
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == 3
    assert all(json.loads(line) for line in (tmp_path / "out" / "segments.jsonl").read_text().splitlines())


def test_segments_of_another_model_or_other_classes_are_not_mixed_in(tmp_path, photos):
    run(photos, tmp_path / "out")
    before = contents(tmp_path / "out")
    for other, words in ((Counting(name="toy 1"), "another model"), (Counting(CLASSES[:2]), "other classes")):
        with pytest.raises(InputError, match=words):
            run(photos, tmp_path / "out", other)
        assert contents(tmp_path / "out") == before
    report, _ = run(photos, tmp_path / "out", Counting(name="toy 1"), overwrite=True)
    assert report.segmented == 3
    assert json.loads((tmp_path / "out" / "segments.jsonl").read_text().splitlines()[0])["model"] == "toy 1"


def test_own_maps_and_overlays_among_the_photos_are_passed_over(tmp_path, photos):
    run(photos, photos / "segments")
    report, _ = run(photos, photos / "segments")
    assert (report.segmented, report.before, report.own) == (0, 3, 6)


def test_no_file_of_others_is_written_over(tmp_path, photos, draw):
    out = tmp_path / "out"
    out.mkdir()
    (out / "coco.json").write_text("mine")
    with pytest.raises(InputError, match=r"coco\.json exists already"):
        run(photos, out)
    assert contents(out) == {"coco.json": b"mine"}
    draw.save(draw.paint({}), tmp_path / "picture.png")
    (out / "coco.json").unlink()
    os.rename(tmp_path / "picture.png", out / "panoptic.json")
    with pytest.raises(InputError, match="pictures are never written over"):
        run(photos, out, overwrite=True)
    (out / "panoptic.json").unlink()
    (out / "segments.jsonl").write_text("mine")
    with pytest.raises(InputError, match="cannot be read as segments"):
        run(photos, out)
    with pytest.raises(InputError, match="belongs to the index"):
        run(photos, tmp_path / "index", protected=lambda path: path.name == "index")
    assert not (tmp_path / "index").exists()
    with pytest.raises(InputError, match="there is no folder"):
        run(photos, tmp_path / "none" / "out")


def test_a_photo_is_told_in_words():
    row = {"segments": [{"category_id": 9}, {"category_id": 5}, {"category_id": 9}]}
    assert names_of(row, CLASSES) == "blue ×2, red"
