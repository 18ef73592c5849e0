"""Lists of classes: COCO's own, those of a file, and those of a model."""

import json

import pytest

from interleave_index.errors import InputError
from interleave_index.interface.published.classes import COCO_PANOPTIC, THINGS
from interleave_index.segmentation.classes import SegmentClass, coco_classes, named_classes, read_classes


def test_cocos_classes_are_those_of_the_task_in_their_order():
    found = coco_classes()
    assert tuple(one.name for one in found) == COCO_PANOPTIC
    assert [one.name for one in found if one.thing] == list(THINGS)
    assert (found[0].id, found[79].id, found[80].id, found[-1].id) == (1, 90, 92, 200)
    assert (
        len({one.id for one in found}) == len({one.words for one in found}) == len({one.colour for one in found}) == 133
    )
    assert not any("-" in one.words or "merged" in one.words for one in found)


def test_a_plain_list_has_things_and_below_a_line_stuff(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("a dog\n\n  wine   glass \nStuff:\nsky\nthings:\nkite\n", encoding="utf-8")
    found = read_classes(file)
    assert [(one.id, one.name, one.words, one.thing) for one in found] == [
        (1, "a dog", "a dog", True),
        (2, "wine glass", "wine glass", True),
        (3, "sky", "sky", False),
        (4, "kite", "kite", True),
    ]
    assert len({one.colour for one in found}) == 4


def test_categories_of_coco_keep_their_ids_and_colours(tmp_path):
    rows = [
        {"id": 7, "name": "sky-other-merged", "isthing": 0, "color": [1, 2, 3], "words": "sky", "supercategory": "sky"},
        {"id": 3, "name": "dog"},
    ]
    for content in (rows, {"categories": rows, "images": []}):
        (tmp_path / "c.json").write_text(json.dumps(content))
        sky, dog = read_classes(tmp_path / "c.json")
        assert sky == SegmentClass(7, "sky-other-merged", "sky", False, (1, 2, 3))
        assert (dog.id, dog.words, dog.thing) == (3, "dog", True)


def test_classes_of_a_model_are_stuff_where_coco_says_so():
    found = named_classes(["person", "wall-other-merged", "wall", "LABEL_3"])
    assert [(one.id, one.name, one.thing) for one in found] == [
        (1, "person", True),
        (2, "wall-other-merged", False),
        (3, "wall", False),
        (4, "LABEL_3", True),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "lists 0 classes"),
        (b"stuff:\n", "lists 0 classes"),
        (b"dog\ncat\ndog\n", "the name dog twice"),
        (b'[{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]', "the id 3 twice"),
        (b'[{"id": 0, "name": "a"}]', "not of the form"),
        (b'[{"title": "a"}]', "expected objects with a name"),
        (b'["dog"]', "not of the form"),
        (b'{"images": []}', "not of the form"),
        (b"[broken", "not of the form"),
        (b"\xff\xfe", "no UTF-8"),
    ],
)
def test_what_is_no_list_of_classes_is_said_in_one_line(tmp_path, content, words):
    (tmp_path / "c").write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_classes(tmp_path / "c")
    assert "\n" not in str(error.value) and "expected" in str(error.value)


def test_a_list_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be read: no such file"):
        read_classes(tmp_path / "none.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_classes(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"a": 1}', "no 'categories'"), ('[{"id": 1}]', "no 'name'"), ('[{"id": 1e999, "name": "cat"}]', "infinity")],
)
def test_json_that_is_no_categories_is_refused_in_words(tmp_path, text, said):
    file = tmp_path / "classes.json"
    file.write_text(text, "utf-8")
    with pytest.raises(InputError, match=f"form of COCO's categories: .*{said}"):
        read_classes(file)
