"""What is said of answers, on libraries of a few photos whose scores are set by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import InputError
from interleave_index.evaluation import negatives
from interleave_index.evaluation.annotations import References, strangers, things
from interleave_index.evaluation.answers import ask
from interleave_index.evaluation.forms import FORMS
from interleave_index.evaluation.judgement import judgement
from interleave_index.evaluation.library import Library, asked, encode_library
from interleave_index.evaluation.negatives import pairs, tally
from interleave_index.evaluation.packs import PackPhoto, PackRegion
from interleave_index.evaluation.plot import reliability_plot
from interleave_index.evaluation.precision import (
    average_precision,
    best_f1,
    calibration_error,
    precision_recall,
    reliability,
)
from interleave_index.evaluation.remembered import remembering
from interleave_index.grammar import Query
from interleave_index.interface.calibration import BANKS, KINDS, Calibration, Curve
from interleave_index.interface.protocol import Interface, TextReading
from interleave_index.records import (
    REGIONS_PER_PHOTO,
    RGB,
    Entity,
    Floats,
    GroundedMask,
    Not,
    PhotoEncoding,
    PhotoRef,
    QueryEncoding,
    ResolvedQuery,
    Rle,
    Space,
)
from interleave_index.storage.rows import StoredVectors

NAMES = ("cat", "dog", "bus")
EVEN = Curve(slope=10, offset=-5, bar=0.5, anything_slope=10, anything_size=0, anything_offset=-5, anything_bar=0.5)


class Axes(Interface):
    """Every name is an axis, so that a photo's vector is what it scores for each of them."""

    space = Space("axes", "0" * 64, "none", len(NAMES))
    calibration = Calibration.of_banks(
        {name: np.zeros((0, len(NAMES)), np.float32) for name in BANKS}, dict.fromkeys(KINDS, EVEN)
    )

    def __init__(self) -> None:
        self.encoded: list[ResolvedQuery] = []

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        self.encoded.append(query)
        rows = {
            role: [_axis(part.label) for part in query if part.role == role]
            for role in ("caption", "entity", "negative")
        }
        stacked = {role: np.array(some, np.float32).reshape(-1, len(NAMES)) for role, some in rows.items()}
        return QueryEncoding(
            stacked["caption"].sum(0) + stacked["entity"].sum(0), stacked["entity"], stacked["negative"]
        )

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        raise NotImplementedError

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        return []


def _axis(text: str) -> Floats:
    return np.array([name in text.split() for name in NAMES], np.float32)


def _photo(key: str, *things: tuple[str, float], labels: tuple[str, ...] = (), closed: bool = True) -> PackPhoto:
    """A photo of 10 x 10 pixels with things of these areas."""
    regions = tuple(PackRegion(name, "box", (0, 0, 1, 1), area, None) for name, area in things)
    return PackPhoto(key, "drawn", _jpeg(), 10, 10, (), labels, regions, "all 3 things" if closed else None)


def _jpeg() -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (10, 10)).save(stream, "JPEG")
    return stream.getvalue()


def _library(*photos: tuple[PackPhoto, tuple[float, float, float]]) -> Library:
    count = len(photos)
    nothing = np.zeros(0, np.float32)
    block = StoredVectors(
        photo_ids=np.arange(count),
        image=np.array([vector for _, vector in photos], np.float32),
        regions=np.zeros((0, len(NAMES)), np.float32),
        offsets=np.zeros(count + 1, np.int64),
        boxes=np.zeros((0, 4), np.float32),
        areas=nothing,
        scores=nothing,
    )
    return Library(tuple(photo for photo, _ in photos), block, ((),) * count, Axes())


CAT = ("cat", 50.0)


@pytest.fixture
def library() -> Library:
    """Cats that score .9, .8 and .3, a photo without that scores .6, and one whose cat is too small to count."""
    return _library(
        (_photo("a", CAT), (0.9, 0, 0)),
        (_photo("b", CAT), (0.8, 0, 0)),
        (_photo("c", CAT), (0.3, 0, 0)),
        (_photo("d"), (0.6, 0, 0)),
        (_photo("e", ("cat", 0.5)), (1.0, 0, 0)),
        (_photo("f", closed=False), (1.0, 0, 0)),
    )


def _judged(library: Library) -> tuple[dict[str, Any], dict[str, Any]]:
    found = judgement(library, References(library.photos), lambda what, done, total: None)
    return found.figures, found.arrays


def _chance(score: float, best: float) -> float:
    return 1 / (1 + math.exp(5 - 10 * score)) / (1 + math.exp(5 - 10 * best))


def test_missed_and_false_answers_are_counted_at_the_cut_off(library: Library) -> None:
    # .9, .8 and the wrong .6 lie above the cut-off; of the photos without a cat, .6 is claimed
    figures, _ = _judged(library)
    for kind in ("words", "bracketed"):
        found = figures[kind]
        assert found["missed"] == pytest.approx(100 / 3) and found["false"] == 100
        assert found["precision"] == found["recall"] == found["f1"] == pytest.approx(200 / 3)
        # a cut below .3 would claim all four, three of them right
        assert found["best_f1"] == found["best_f1_score"] == pytest.approx(600 / 7)
        assert found["f1_share"] == pytest.approx(100 * (2 / 3) / (6 / 7)) and found["monotone"] == 100
        assert (found["n"], found["absent"], found["pairs"]) == (1, 1, 5)
        assert found["things"]["f1"] == found["f1"] and found["classes"]["n"] == 0


def test_chances_of_the_first_hits_are_held_against_what_came_true(library: Library) -> None:
    figures, arrays = _judged(library)
    shown = [
        (_chance(0.9, 0.9), 1),
        (_chance(0.8, 0.9), 1),
        (_chance(0.6, 0.9), 0),
        (_chance(0.3, 0.9), 1),
        (_chance(0.6, 0.6), 0),
    ]  # the last one from the library without cats
    assert sorted(arrays["judgement_words_chance"].tolist()) == pytest.approx(sorted(chance for chance, _ in shown))
    # .96 and .94 share a bin and are both right; all others are alone in theirs
    first = abs(sum(chance for chance, _ in shown[:2]) / 2 - 1) * 2
    rest = sum(abs(chance - right) for chance, right in shown[2:])
    assert figures["words"]["ece"] == pytest.approx(100 * (first + rest) / 5, abs=1e-4)
    table = figures["words"]["reliability"]
    assert [row[0] for row in table] == [0.1, 0.5, 0.7, 0.9] and [row[3] for row in table] == [1, 1, 1, 2]
    assert [row[2] for row in table] == [1, 0, 0, 1]
    assert np.allclose(arrays["judgement_words_reliability"], table)
    assert figures["all"]["pairs"] == 10 and figures["all"]["ece"] == pytest.approx(figures["words"]["ece"])


def test_a_library_that_holds_nothing_of_it_misses_all_and_claims_nothing() -> None:
    figures, _ = _judged(_library(*((_photo(key, CAT), (0.2, 0, 0)) for key in "abc"), (_photo("d"), (0.1, 0, 0))))
    assert (figures["words"]["missed"], figures["words"]["false"], figures["words"]["f1"]) == (100, 0, 0)


def test_names_that_few_photos_show_count_as_missed_or_false_but_not_in_f1() -> None:
    figures, _ = _judged(_library((_photo("a", CAT), (0.9, 0, 0)), (_photo("b"), (0.2, 0, 0))))
    assert (figures["words"]["missed"], figures["words"]["false"]) == (0, 0)
    assert (figures["words"]["f1"], figures["words"]["n"]) == (0, 1)


def test_presence_over_the_first_hits_is_what_the_answer_says_of_its_entity(library: Library) -> None:
    figures, arrays = _judged(library)
    found = figures["presence"]
    assert found["stored"]["n"] == 4 and found["stored"]["f1"] == pytest.approx(200 / 3)
    assert found["exact"]["n"] == found["stored_same"]["n"] == 4
    assert found["exact"]["f1"] == found["stored_same"]["f1"]  # a look that finds no mask leaves the verdict
    assert arrays["presence_keys"].tolist() == ["a", "b", "d", "c"]
    assert arrays["presence_present"].tolist() == [True, True, True, False]


def test_whole_pictures_mean_the_others_of_their_class() -> None:
    photos = [
        _photo(key, labels=(name,), closed=False)
        for key, name in zip("abcd", ("cat", "cat", "cat", "dog"), strict=True)
    ]
    # photos are not of unit length here: what counts is the image's cosine with the photo itself, twice
    vectors = ((0.7, 0.0, 0), (0.7, 0.1, 0), (0.7, 0.0, 0), (0.0, 0.7, 0))
    figures, arrays = _judged(_library(*zip(photos, vectors, strict=True)))
    found = figures["pictures"]
    assert found["n"] == 3 and found["recall"] == found["precision"] == 100
    assert found["false"] == 0 and found["absent"] == 3  # the dog is asked alone, and not claimed
    own = set(
        zip(arrays["judgement_pictures_question"].tolist(), arrays["judgement_pictures_position"].tolist(), strict=True)
    )
    assert not own & {(0, 0), (1, 1), (2, 2)}  # a photo is never among its own answers
    assert figures["words"]["classes"]["n"] == 2


def test_names_are_known_over_closed_lists_and_class_names_over_photos_of_a_class(library: Library) -> None:
    (cat,) = things(library.photos)
    # e shows it too small to tell, f is not annotated
    assert (cat.name, cat.group, cat.photos.tolist()) == ("cat", "things", [0, 1, 2, 3])
    assert cat.right.tolist() == [True, True, True, False] and cat.enough


def test_a_class_name_is_a_stranger_to_things_that_neither_their_list_nor_their_captions_name() -> None:
    first = PackPhoto("a", "drawn", b"", 10, 10, ("A lobster on a cat.",), (), _photo("a", CAT).regions, "all 3 things")
    others = [_photo(name, labels=(name,), closed=False) for name in ("cat", "lobster", "piano")]
    (only,) = strangers([first, *others])
    assert (only.name, only.photos.tolist(), only.right.tolist(), only.enough) == ("piano", [0], [False], False)


def test_an_answer_over_some_photos_is_judged_by_the_best_of_those(library: Library) -> None:
    found = ask(library, Query("cat"))
    some = found.among(np.array([2, 3]))
    assert some.chances.tolist() == pytest.approx([_chance(0.3, 0.6), _chance(0.6, 0.6)])
    assert some.order.tolist() == [1, 0] and some.monotone


def test_a_photo_of_the_library_is_asked_by_its_stored_vector(library: Library) -> None:
    found = ask(library, Query(PhotoRef(1)))
    assert found.scores.total[0] == pytest.approx(0.9 + 0.8 * 0.9)  # a legend of unit length, and the entity as it is
    assert isinstance(library.interface, Axes) and not library.interface.encoded


# --- negatives -------------------------------------------------------------------------------


def test_negatives_count_what_is_gone_and_what_is_lost() -> None:
    # rows: both, both, alone, alone, neither
    shows = np.array([(1, 1), (1, 1), (1, 0), (1, 0), (0, 0)], bool)
    counts = tally(shows, np.array([0, 1, 2]), np.array([3, 0, 4]))
    assert counts == [3, 2, 1, 3, 2, 1, 0]
    found = negatives.figures(np.array([counts, counts]))
    assert found["shows_before"] == pytest.approx(200 / 3) and found["shows_after"] == pytest.approx(100 / 3)
    assert (found["falls_by"], found["right_alone_lost"], found["n"]) == (50, 100, 2)
    assert found["right_lost"] == pytest.approx(100 / 3)
    assert negatives.figures(np.zeros((0, 7), np.int64))["falls_by"] == 0


def test_pairs_occur_together_and_the_wanted_one_alone() -> None:
    dog = ("dog", 30.0)
    photos = [_photo(f"both{n}", CAT, dog) for n in range(3)] + [_photo(f"cat{n}", CAT) for n in range(3)]
    (only,) = pairs([*photos, _photo("dog", dog), _photo("small", CAT, ("dog", 0.1))])
    assert (only.wanted, only.unwanted) == ("cat", "dog")  # of dogs alone there is but one
    assert only.photos.tolist() == [0, 1, 2, 3, 4, 5, 6] and only.shows.sum(0).tolist() == [6, 4]


def test_a_negative_moves_the_photos_that_show_it_down() -> None:
    dog = ("dog", 30.0)
    both = [(_photo(f"both{n}", CAT, dog), (0.9, 0.9, 0)) for n in range(10)]
    alone = [(_photo(f"cat{n}", CAT), (0.8, 0.0, 0)) for n in range(10)]
    found = negatives.negatives(_library(*both, *alone), lambda what, done, total: None)
    assert found.figures == {
        "shows_before": 100,
        "shows_after": 0,
        "falls_by": 100,
        "right_lost": 0,
        "right_alone_lost": 0,
        "n": 1,
    }
    assert found.arrays["negatives_pairs"].tolist() == [["cat", "dog"]]


# --- figures ---------------------------------------------------------------------------------


def test_reliability_puts_sure_chances_in_the_last_bin_and_leaves_empty_bins_out() -> None:
    found = reliability(np.array([0.0, 0.3, 1.0]), np.array([False, True, True]))
    assert [row[0] for row in found] == [0.0, 0.3, 0.9] and [row[3] for row in found] == [1, 1, 1]
    assert calibration_error(found) == pytest.approx(0.7 / 3)
    assert calibration_error(reliability(np.zeros(0), np.zeros(0, bool))) == 0


def test_f1_and_average_precision_of_nothing_are_zero() -> None:
    none = np.zeros(0, bool)
    assert precision_recall(none, none) == {"precision": 0, "recall": 0, "f1": 0}
    assert best_f1(np.array([0.5]), np.array([False])) == average_precision(np.array([0.5]), np.array([False])) == 0


def test_the_best_f1_is_that_of_trying_every_cut() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        values, right = random.integers(0, 8, 30) / 8, random.random(30) < 0.3
        tried = [precision_recall(values >= cut, right)["f1"] for cut in np.unique(values)]
        assert best_f1(values, right) == pytest.approx(max(tried))


def test_a_plot_is_drawn_for_every_kind_that_was_measured(tmp_path: Path, library: Library) -> None:
    from PIL import Image

    figures, _ = _judged(library)
    reliability_plot(figures, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG" and picture.width > picture.height > 400
    with pytest.raises(InputError, match="cannot be written"):
        reliability_plot(figures, tmp_path / "none" / "plot.png")


# --- forms and memory ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, forms",
    [
        ("dog", ["dog", "a dog", "the dog", "dogs", "a photo of a dog"]),
        ("orange", ["orange", "an orange", "the orange", "oranges", "a photo of an orange"]),
        ("wine glass", ["wine glass", "a wine glass", "the wine glass", "wine glasses", "a photo of a wine glass"]),
        ("skis", ["skis", "skis", "the skis", "skis", "a photo of skis"]),
        ("person", ["person", "a person", "the person", "people", "a photo of a person"]),
        ("sheep", ["sheep", "a sheep", "the sheep", "sheep", "a photo of a sheep"]),
    ],
)
def test_a_label_is_written_in_five_forms(name: str, forms: list[str]) -> None:
    assert [write(name) for write in FORMS.values()] == forms


class Together(Axes):
    """Says how many queries it was given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        self.batches.append(len(queries))
        return [self.encode_query(query) for query in queries]


def test_no_query_is_encoded_twice_and_new_ones_go_together() -> None:
    inner = Together()
    interface = remembering(inner)
    cat, dog, without = asked("cat"), asked(Entity("dog")), asked(Entity("dog"), Not("cat"))
    found = interface.encode_queries([cat, dog, cat])
    assert inner.batches == [2] and found[0] is found[2]
    again = interface.encode_queries([dog, without, cat])
    assert again[0] is found[1] and len(inner.encoded) == 3 and again[1].negatives.tolist() == [[1, 0, 0]]


def test_pictures_are_told_apart_by_their_pixels_and_marks() -> None:
    from interleave_index.records import Picture

    interface = remembering(Axes())
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8)
    mask = np.eye(4, dtype=bool)
    pictures = [Picture(black), Picture(grey), Picture(black, mask=mask), Picture(black.copy())]
    found = interface.encode_queries([asked(picture) for picture in pictures])
    assert len({id(one) for one in found}) == 3 and found[0] is found[3]


def test_what_else_the_interface_can_do_is_still_there() -> None:
    class Reads(Axes):
        def reading(self, text: str) -> TextReading:
            return TextReading(cut=text)

    assert remembering(Reads()).reading("of words").cut == "of words"


# --- regions ---------------------------------------------------------------------------------


class Crowded(Axes):
    """Finds as many regions in every photo as it is told, each a little worse than the one before."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        count = self.count
        regions, boxes = np.zeros((count, len(NAMES)), np.float32), np.zeros((count, 4), np.float32)
        scores, masks = np.linspace(1, 0.5, count, dtype=np.float32), (Rle((10, 10), "o2"),) * count
        return [PhotoEncoding(_axis("cat"), regions, boxes, scores, scores, masks) for _ in photos]


def test_an_evaluation_sees_every_region_that_an_index_would_keep() -> None:
    for found, kept in ((100, 100), (REGIONS_PER_PHOTO, REGIONS_PER_PHOTO), (300, REGIONS_PER_PHOTO)):
        library = encode_library([_photo("a"), _photo("b")], Crowded(found), lambda what, done, total: None)
        regions, scores = library.regions_of(1)
        assert (len(regions), len(scores), len(library.masks[1])) == (kept, kept, kept)
