import json
import os
import tracemalloc

import numpy as np
import pytest
from pycocotools.coco import COCO

from interleave_index.export.coco import answer_to_coco, write_coco, write_library_coco
from interleave_index.geometry import encode_rle, resize_mask
from interleave_index.records import Answer, Photo, Region


def load(path):
    return COCO(str(path))


def written(answer, path):
    write_coco(answer, path)
    return path


def test_pycocotools_gives_the_drawn_mask_back(answer, tmp_path):
    coco = load(written(answer, tmp_path / "hits.json"))
    (found,) = coco.loadAnns(coco.getAnnIds(imgIds=[7]))
    expected = np.zeros((30, 40), bool)
    expected[5:15, 10:20] = True
    assert np.array_equal(coco.annToMask(found).astype(bool), expected)
    assert found["bbox"] == [10, 5, 10, 10] and found["area"] == 100 and found["iscrowd"] == 0


def test_stored_masks_are_brought_to_photo_size(answer, tmp_path):
    coco = load(written(answer, tmp_path / "hits.json"))
    for found in coco.loadAnns(coco.getAnnIds(imgIds=[9])):
        assert coco.annToMask(found).shape == (50, 20) and found["area"] == 100 and found["bbox"] == [0, 0, 10, 10]


def test_each_entity_is_a_category_and_empty_masks_are_left_out(answer):
    made = answer_to_coco(answer, absent=True)
    assert [(c["id"], c["name"], c["negative"]) for c in made["categories"]] == [
        (1, "red disc", False),
        (2, "a <b>", True),
    ]
    assert [(a["image_id"], a["category_id"], a["present"]) for a in made["annotations"]] == [
        (7, 1, True),
        (9, 1, False),
        (9, 2, True),
    ]
    assert [a["id"] for a in made["annotations"]] == [1, 2, 3]


def test_images_tell_whether_they_are_meant_and_annotations_how_likely_they_are(answer):
    made = answer_to_coco(answer, absent=True)
    assert made["info"]["cutoff"] == 0.5 and [image["meant"] for image in made["images"]] == [True, False]
    assert [a["probability"] for a in made["annotations"]] == [0.7, 0.2, 0.7]


def test_images_carry_size_rank_and_a_reversible_name(answer, tmp_path):
    images = json.loads(written(answer, tmp_path / "hits.json").read_text("ascii"))["images"]
    assert [(i["id"], i["height"], i["width"], i["rank"]) for i in images] == [(7, 30, 40, 1), (9, 50, 20, 2)]
    assert b"caf\xe9" in os.fsencode(images[1]["file_name"])


@pytest.mark.parametrize("absent", [False, True])
def test_writing_tells_how_many_images_and_annotations(answer, tmp_path, absent):
    counts = write_coco(answer, tmp_path / "hits.json", absent=absent)
    file = json.loads((tmp_path / "hits.json").read_text())
    assert counts == (len(file["images"]), len(file["annotations"])) == (2, 3 if absent else 2)


def test_an_answer_without_hits_is_a_valid_file(tmp_path):
    coco = load(written(Answer("[x]", "exact", ()), tmp_path / "none.json"))
    assert coco.getImgIds() == [] and coco.getAnnIds() == [] and coco.getCatIds() == []


def library(count):
    mask = encode_rle(resize_mask(np.eye(4, dtype=bool), (12, 16)))
    for n in range(1, count + 1):
        yield (
            Photo(n, f"/pics/{n}.jpg", 16, 12),
            tuple(Region(n * 256 + r, 0.5, (0.0, 0.0, 16.0, 12.0), mask) for r in range(n % 4)),
        )


def test_a_library_holds_every_photo_and_region_even_photos_without_one(tmp_path):
    assert write_library_coco(library(10), tmp_path / "all.json") == (10, 15)
    coco = load(tmp_path / "all.json")
    assert len(coco.getImgIds()) == 10 and len(coco.getAnnIds()) == 15 and coco.getCatIds(catNms=["region"]) == [1]
    assert coco.annToMask(coco.loadAnns([1])[0]).sum() == 48
    assert sorted(a["region_id"] for a in coco.loadAnns(coco.getAnnIds(imgIds=[3]))) == [768, 769, 770]


def test_an_empty_library_is_a_valid_file(tmp_path):
    assert write_library_coco([], tmp_path / "all.json") == (0, 0)
    assert load(tmp_path / "all.json").getImgIds() == []


def test_memory_does_not_grow_with_the_library(tmp_path):
    def peak(count):
        tracemalloc.start()
        write_library_coco(library(count), tmp_path / "all.json", overwrite=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(50)
    assert peak(2000) < peak(200) + 200_000


def test_masks_of_what_is_not_there_are_written_only_when_asked(answer):
    judged = [annotation["present"] for annotation in answer_to_coco(answer)["annotations"]]
    assert judged and all(judged)
    assert len(answer_to_coco(answer, absent=True)["annotations"]) > len(judged)
