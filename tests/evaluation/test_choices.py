"""What is asked of a pack: which words name a label, which photos take part, which region stands for a word."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from interleave_index.evaluation.annotations import References, class_name, lone_regions
from interleave_index.evaluation.interleaved import MOST_PHOTOS, questions
from interleave_index.evaluation.outcome import text_chance
from interleave_index.evaluation.packs import PackPhoto, PackRegion
from interleave_index.evaluation.words import mentions
from interleave_index.geometry import encode_rle


def _region(
    label: str | None, *, area: float = 4, crowd: bool = False, mask: bool = True, kind: str = "instance"
) -> PackRegion:
    rle = encode_rle(np.ones((2, 2), bool)) if mask else None
    return PackRegion(label, kind, (0, 0, 2, 2), area, rle, crowd)


def _photo(key: str, *regions: PackRegion, captions: tuple[str, ...] = (), labels: tuple[str, ...] = ()) -> PackPhoto:
    return PackPhoto(key, "drawn", b"", 2, 2, captions, labels, regions)


@pytest.mark.parametrize(
    "caption, label, words",
    [
        ("A Dog and two dogs.", "dog", ["Dog", "dogs"]),
        ("hotdog dogma bulldog dog's", "dog", ["dog"]),
        ("People and a person", "person", ["People", "person"]),
        ("two men", "man", ["men"]),
        ("potted plants, a potted  plant; plants", "potted plant", ["potted plants", "potted  plant"]),
        ("a T-shirt, t shirts", "t-shirt", ["T-shirt", "t shirts"]),
        ("buses and a bus", "bus", ["buses", "bus"]),
        ("a sofa", "couch", []),
        ("a c++ book", "c++", ["c"]),
    ],
)
def test_a_label_is_named_by_its_whole_words_or_their_plural_and_by_no_synonym(
    caption: str, label: str, words: list[str]
) -> None:
    assert [caption[start:end] for start, end in mentions(caption, label)] == words


def test_only_a_lone_masked_region_is_asked_for_and_a_group_never() -> None:
    photos = [
        _photo("a", _region("cat"), _region("dog"), _region("dog")),
        _photo("b", _region("cat"), _region("cat", mask=False), _region(None)),
        _photo("c", _region("cat", crowd=True)),
        _photo("d", _region("cat"), _region("cat", crowd=True)),
    ]
    assert [(found.position, found.label) for found in lone_regions(photos)] == [(0, "cat"), (1, "cat")]


def test_the_reference_follows_from_the_sha1_of_the_key_and_is_the_largest_region_there() -> None:
    photos = [
        _photo(key, _region("cat", area=3), _region("cat", area=9), _region("cat", area=99, crowd=True))
        for key in "abcde"
    ] + [_photo("f", _region("dog"))]
    references = References(photos)
    hashes = [int(hashlib.sha1(photo.key.encode()).hexdigest(), 16) for photo in photos[:5]]
    for position, number in enumerate(hashes):
        others = [other for other in range(5) if other != position]
        wanted = others[number % 4]
        found = references.choose(position, "cat")
        assert found is not None and found.position == wanted
    assert references.choose(5, "dog") is None
    assert references.choose(0, "cow") is None and references.positions("cow") == []
    assert references.labels() == ["cat", "dog"]
    assert references.positions("cat") == sorted(range(5), key=lambda position: hashes[position])


def test_a_question_takes_the_first_caption_that_names_the_label_once() -> None:
    captions = ("A pet.", "A cat and a cat.", "Cats", "Two cats, asleep.", "The cat.")
    asked = questions(
        [_photo("a", _region("cat"), captions=captions), _photo("b", _region("cat"))],
        References([_photo("a", _region("cat"), captions=captions), _photo("b", _region("cat"))]),
    )
    (only,) = asked
    assert (only.before, only.word, only.after, only.reference.position) == ("Two ", "cats", ", asleep.", 1)


def test_at_most_ten_photos_a_label_are_asked_whatever_their_order() -> None:
    photos = [_photo(f"key{number}", _region("cat"), captions=("one cat here",)) for number in range(25)]
    keys = {photos[question.position].key for question in questions(photos, References(photos))}
    turned = photos[::-1]
    assert keys == {turned[question.position].key for question in questions(turned, References(turned))}
    assert len(keys) == MOST_PHOTOS


def test_a_class_name_is_the_only_label_of_a_photo_nobody_described() -> None:
    assert class_name(_photo("a", labels=("lobster",))) == "lobster"
    assert class_name(_photo("a", _region("lobster", kind="auto"), labels=("lobster",))) == "lobster"
    assert class_name(_photo("a", _region("person"), labels=("person",))) is None
    assert class_name(_photo("a", labels=("a", "b"))) is None and class_name(_photo("a")) is None
    assert class_name(_photo("a", labels=("dog",), captions=("A dog.",))) is None


def test_the_chance_of_text_retrieval_agrees_with_drawing_captions() -> None:
    random = np.random.default_rng(0)
    draws = np.array([random.permutation(20)[:5] for _ in range(20000)])
    wanted = 100 * np.mean([(draws < own).any(1).mean() for own in (1, 4)])
    assert text_chance(np.array([1, 4]), 20)["TR@5"] == pytest.approx(wanted, abs=1)
