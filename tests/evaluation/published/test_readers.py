"""Readers against small files in the form that the data sets are handed out in."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import ImageUnreadable, InputError
from interleave_index.evaluation.published import coco as reader
from interleave_index.evaluation.published import entity
from interleave_index.evaluation.published.files import rasterise, read_photo, read_plain_pickle
from interleave_index.evaluation.published.karpathy import read_karpathy
from interleave_index.evaluation.published.reasonseg import read_reasonseg
from interleave_index.evaluation.published.refer import read_refer
from interleave_index.evaluation.published.voc import read_voc

SQUARE = [10, 10, 30, 10, 30, 20, 10, 20]  # x, y pairs


# --- COCO ------------------------------------------------------------------------------------


def test_a_panoptic_file_gives_classes_segments_and_masks(coco: Path) -> None:
    found = reader.read_panoptic(coco)
    assert [category.name for category in found.categories] == ["red", "blue", "green", "white", "black"]
    assert list(found.photos) == [1, 2, 3] and found.photos[1].rgb().shape == (64, 96, 3)
    assert found.mask(1, 71001).sum() == 1600 and not found.mask(1, 71002).any()  # a group is no segment
    assert not found.mask(1, 999).any()
    names = found.classes(3)
    assert set(np.unique(names)) == {0, 4, 255} and (names[:, 88:] == 255).all() and (names[:, :48] == 0).all()
    assert (found.classes(1) == 1).sum() == 1600  # for classes a group counts


def test_captions_lose_the_blanks_around_them(coco: Path) -> None:
    assert reader.read_captions(coco) == {1: ("red blue on white",), 2: ("green on white",), 3: ("red on black",)}


def test_what_is_missing_or_does_not_fit_is_named(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"panoptic_train2017\.json cannot be read"):
        reader.read_panoptic(coco, "train2017")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_val2017.json").write_text("{}")
    with pytest.raises(InputError, match="no folder"):
        reader.read_panoptic(tmp_path)
    (tmp_path / "panoptic_val2017").mkdir()
    with pytest.raises(InputError, match="not of the form"):
        reader.read_panoptic(tmp_path)
    with pytest.raises(ImageUnreadable, match="96 x 64 pixels, expected 10 x 10"):
        read_photo(coco / "val2017" / "000000000001.jpg", (10, 10))
    with pytest.raises(ImageUnreadable, match="no photo"):
        read_photo(coco / "val2017" / "none.jpg")


def test_segmentations_come_as_polygons_or_run_lengths_in_both_forms() -> None:
    square = rasterise([SQUARE], (40, 50))
    assert square[12:18, 12:28].all() and not square[:9].any() and square.sum() == pytest.approx(200, abs=30)
    two = rasterise([SQUARE, [0, 0, 4, 0, 4, 4, 0, 4]], (40, 50))
    assert two[:4, :4].all() and (two & square).sum() == square.sum()
    assert rasterise({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)).tolist() == [
        [False, True, False],
        [True, False, False],
    ]
    from interleave_index.geometry import encode_rle

    assert (rasterise(encode_rle(square).to_json(), (40, 50)) == square).all()
    assert not rasterise([], (4, 4)).any()
    with pytest.raises(InputError, match="cannot be used"):
        rasterise({"no": 1}, (4, 4))


# --- pickles ---------------------------------------------------------------------------------


class _Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([_Evil(tmp_path / "made")]))
    with pytest.raises(InputError, match="plain values only"):
        read_plain_pickle(path)
    assert not (tmp_path / "made").exists()
    path.write_bytes(pickle.dumps([{"a": 1}])[:-3])
    with pytest.raises(InputError, match="no whole pickle"):
        read_plain_pickle(path)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_plain_pickles_of_any_age_are_read(tmp_path: Path, protocol: int) -> None:
    content = [{"ann_id": 3, "sentences": [{"sent": "left", "tokens": ["left"]}], "x": (1.5, None, True)}]
    (tmp_path / "refs.p").write_bytes(pickle.dumps(content, protocol))
    assert read_plain_pickle(tmp_path / "refs.p") == content


# --- RefCOCO ---------------------------------------------------------------------------------


def _refs() -> list[dict[str, Any]]:
    def sentence(text: str, number: int, **more: Any) -> dict[str, Any]:
        return {"tokens": text.split(), "raw": text.title(), "sent_id": number, "sent": text, **more}

    return [
        {
            "ref_id": 0,
            "ann_id": 11,
            "image_id": 7,
            "category_id": 1,
            "split": "val",
            "sent_ids": [0, 1],
            "file_name": "COCO_train2014_000000000007_11.jpg",
            "sentences": [sentence("left one", 0), sentence("red", 1)],
        },
        {
            "ref_id": 1,
            "ann_id": 12,
            "image_id": 7,
            "category_id": 1,
            "split": "val",
            "sent_ids": [2],
            "file_name": "COCO_train2014_000000000007_12.jpg",
            "sentences": [sentence("right one", 2)],
        },
        {
            "ref_id": 2,
            "ann_id": 12,
            "image_id": 7,
            "category_id": 1,
            "split": "testA",
            "sent_ids": [3],
            "file_name": "COCO_train2014_000000000007_12.jpg",
            "sentences": [sentence("other", 3)],
        },
    ]


@pytest.fixture
def refcoco(tmp_path: Path) -> Path:
    instances = {
        "images": [{"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "height": 40, "width": 50}],
        "annotations": [
            {"id": 11, "image_id": 7, "segmentation": [SQUARE], "category_id": 1},
            {"id": 12, "image_id": 7, "segmentation": [[40, 0, 48, 0, 48, 30, 40, 30]], "category_id": 1},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(_refs(), 2))
    return tmp_path


def test_every_sentence_of_a_split_has_the_mask_of_its_thing(refcoco: Path) -> None:
    found = read_refer(refcoco / "refs(unc).p", refcoco / "instances.json", Path("photos"), "val")
    assert len(found) == 1 and found[0].file == Path("photos/COCO_train2014_000000000007.jpg")
    assert [one.text for one in found[0].expressions] == ["left one", "red", "right one"]
    masks = found[0].masks()
    assert (masks[0] == masks[1]).all() and masks[0][15, 20] and masks[2][10, 44] and not masks[2][15, 20]
    first = read_refer(refcoco / "refs(unc).p", refcoco / "instances.json", Path(), "val", sentences="first")
    assert [one.text for one in first[0].expressions] == ["left one", "right one"]
    with pytest.raises(InputError, match="no reference of split 'testC'"):
        read_refer(refcoco / "refs(unc).p", refcoco / "instances.json", Path(), "testC")


def test_one_json_file_with_images_and_annotations_is_read_too(tmp_path: Path) -> None:
    rows = [{**_refs()[0], "segmentation": [SQUARE], "bbox": [1, 1, 2, 2], "id": 11}]
    content = {"images": [{"id": 7, "file_name": "000000000007.jpg", "height": 40, "width": 50}], "annotations": rows}
    (tmp_path / "refcocog_umd_val.json").write_text(json.dumps(content))
    found = read_refer(tmp_path / "refcocog_umd_val.json", None, Path(), "val", sentences="first", lower=True)
    assert [one.text for one in found[0].expressions] == ["left one"] and found[0].masks()[0][15, 20]


def test_false_premises_have_no_mask_in_either_form(refcoco: Path) -> None:
    rows = _refs()[:2]
    rows[0]["sentences"][1] |= {"is_false_premise": True, "gt_sent": "red"}
    rows[1] |= {"ann_id": [-1], "exist": False}
    (refcoco / "refs(berkeley_exclude_unified).json").write_text(json.dumps(rows))
    found = read_refer(refcoco / "refs(berkeley_exclude_unified).json", refcoco / "instances.json", Path(), "val")[0]
    assert [one.exists for one in found.expressions] == [True, False, False]
    assert [bool(mask.any()) for mask in found.masks()] == [True, False, False]


def test_references_and_instances_of_two_releases_are_told_apart(refcoco: Path) -> None:
    (refcoco / "instances.json").write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(InputError, match="annotation 11, which its instances lack"):
        read_refer(refcoco / "refs(unc).p", refcoco / "instances.json", Path(), "val")


# --- ReasonSeg -------------------------------------------------------------------------------


def test_shapes_are_painted_largest_first_and_flags_never(tmp_path: Path) -> None:
    def box(x0: int, y0: int, x1: int, y1: int) -> list[list[float]]:
        return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]

    content = {
        "text": ["what keeps the rain off?", "second"],
        "is_sentence": True,
        "shapes": [
            {"label": "ignore", "points": box(10, 10, 14, 14)},
            {"label": "target", "points": box(5, 5, 25, 25)},
            {"label": "flag", "points": box(0, 0, 30, 30)},
        ],
    }
    Image.new("RGB", (40, 32)).save(tmp_path / "a.jpg", "PNG")
    (tmp_path / "a.json").write_text(json.dumps(content))
    Image.new("RGB", (40, 32)).save(tmp_path / "b.jpg", "PNG")
    (tmp_path / "b.json").write_bytes(
        json.dumps({"text": ["café"], "is_sentence": False, "shapes": []}, ensure_ascii=False).encode("cp1252")
    )
    long, short = read_reasonseg(tmp_path)
    truth = long.truth((32, 40))
    assert (truth == 1).sum() == 21 * 21 - 25 and (truth == 255).sum() == 25 and truth[12, 12] == 255
    assert (long.text, long.long, short.text, short.long) == ("what keeps the rain off?", True, "café", False)
    assert not short.truth((32, 40)).any()
    with pytest.raises(InputError, match="holds no NAME"):
        read_reasonseg(tmp_path / "none")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(InputError, match="not of the form of ReasonSeg"):
        read_reasonseg(tmp_path)


# --- Karpathy, VOC ---------------------------------------------------------------------------


def test_karpathy_splits_keep_all_captions_and_find_photos_in_either_layout(tmp_path: Path) -> None:
    def image(name: str, split: str, number: int) -> dict[str, Any]:
        return {
            "filename": name,
            "filepath": "val2014",
            "split": split,
            "cocoid": number,
            "imgid": 0,
            "sentences": [{"raw": f"caption  {n} of {number}\n", "tokens": []} for n in range(5)],
        }

    content = {
        "dataset": "coco",
        "images": [image("a.jpg", "test", 1), image("b.jpg", "restval", 2), image("c.jpg", "test", 3)],
    }
    (tmp_path / "dataset_coco.json").write_text(json.dumps(content))
    (tmp_path / "val2014").mkdir()
    (tmp_path / "val2014" / "a.jpg").write_bytes(b"")
    found = read_karpathy(tmp_path / "dataset_coco.json", tmp_path)
    assert [one.id for one in found] == [1, 3] and found[0].captions[4] == "caption 4 of 1"
    assert [one.file.parent.name for one in found] == ["val2014", tmp_path.name]
    with pytest.raises(InputError, match="no photo of split 'nope'"):
        read_karpathy(tmp_path / "dataset_coco.json", tmp_path, "nope")


def test_voc_items_hold_five_objects_and_outlines_are_ignored(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint8)
    for number in range(1, 8):
        ids[5:15, 4 * number - 3 : 4 * number] = number
    ids[4, :] = 255
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n")
    for folder in ("SegmentationObject", "JPEGImages"):
        (tmp_path / folder).mkdir()
    mask = Image.fromarray(ids, "L")
    mask.putpalette([n % 256 for n in range(768)])
    mask.save(tmp_path / "SegmentationObject" / "2007_000033.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "JPEGImages" / "2007_000033.jpg", "PNG")
    items = read_voc(tmp_path)
    assert [item.objects for item in items] == [(1, 2, 3, 4, 5), (6, 7)]
    truth = items[1].truth()
    assert truth.shape == (2, 20, 30) and (truth[0] == 1).sum() == 30 and (truth[:, 4] == -1).all()


# --- FIND-Bench ------------------------------------------------------------------------------


def test_phrases_are_tied_to_their_characters_without_the_blank_before(coco: Path) -> None:
    sentences = entity.read_entities(coco / "annotations" / "entity_val2017.json")
    sentence = sentences[1][0]
    assert [(p.text, sentence.text[p.start : p.end], p.segment, p.lead) for p in sentence.phrases] == [
        ("red thing", "red thing", 71001, 1),
        ("white", "white", 71100, 1),
    ]
    assert [p.text for p in sentences[3][0].phrases] == ["black", "red"]  # in the order of the sentence
    linked = entity.read_entities(coco / "annotations" / "interleave_val2017.json")[1][0]
    assert linked.phrases[0].reference == entity.Reference(3, 73001) and linked.phrases[1].reference is None


def test_pictures_replace_phrases_where_they_stand(coco: Path) -> None:
    sentence = entity.read_entities(coco / "annotations" / "entity_val2017.json")[1][0]
    shown = entity.Exemplar(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool))
    asked = entity.interleave(sentence, [shown, None])
    assert asked.text == "A [INTERACTIVE] on white ground" and asked.visual == (True, False)
    assert [asked.text[a:b] for a, b in asked.spans] == ["[INTERACTIVE]", "white"]
    both = entity.interleave(sentence, [shown, shown])
    assert [both.text[a:b] for a, b in both.spans] == ["[INTERACTIVE]"] * 2


def test_the_published_replacement_hits_every_occurrence_and_loses_its_spans() -> None:
    phrases = (entity.EntityPhrase("a", 0, 1, 1), entity.EntityPhrase("cat", 2, 5, 2, lead=1))
    sentence = entity.EntitySentence(1, "a cat and a mat", phrases)
    shown = entity.Exemplar(np.zeros((2, 2, 3), np.uint8), np.ones((2, 2), bool))
    asked = entity.interleave(sentence, [shown, None], published=True)
    hole = "[INTERACTIVE]"
    assert asked.text == f"{hole} c{hole}t {hole}nd {hole} m{hole}t"
    assert asked.spans == ((0, 13), (13, 17))  # where "cat" would stand had only the first been replaced


def test_a_phrase_that_is_not_in_its_sentence_is_an_error(tmp_path: Path) -> None:
    strange = {"annotation_id": 5, "phrase": "cat", "start_idx": 0, "_start_idx": 0, "end_idx": 3}
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 1, "sentence": "a dog", "phrase": [strange]}],
    }
    (tmp_path / "entity.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="phrase 'cat' does not stand in 'a dog'"):
        entity.read_entities(tmp_path / "entity.json")
    content["annotations"][0].update(image_id=9, phrase=[])
    (tmp_path / "entity.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="photo 9, which it does not list"):
        entity.read_entities(tmp_path / "entity.json")
