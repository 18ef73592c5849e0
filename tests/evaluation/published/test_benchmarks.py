"""Whole benchmarks over the miniature COCO with an interface that knows colours: every figure by hand."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

from interleave_index import evaluation
from interleave_index.errors import ConfigError, InputError
from interleave_index.evaluation.published import Run, Subject, generic, grounding, prompts, retrieval, subject_of
from interleave_index.evaluation.published.coco import PanopticSet, read_panoptic
from interleave_index.evaluation.published.entity import (
    EntityPhrase,
    EntitySentence,
    Exemplar,
    InterleavedSentence,
    read_entities,
)
from interleave_index.evaluation.published.figures import published_figures
from interleave_index.evaluation.published.interactive import voc_interactive
from interleave_index.evaluation.published.journal import Journal
from interleave_index.evaluation.published.karpathy import CaptionedPhoto
from interleave_index.evaluation.published.reasonseg import ReasonPhoto
from interleave_index.evaluation.published.refer import Expression, ReferredPhoto
from interleave_index.evaluation.published.subject import as_query
from interleave_index.evaluation.published.voc import VocItem
from interleave_index.geometry import encode_rle, unit
from interleave_index.interface.protocol import Interface
from interleave_index.interface.toy import ToyInterface

Entities: TypeAlias = dict[int, tuple[EntitySentence, ...]]


@pytest.fixture
def subject() -> Subject:
    return Subject(ToyInterface())


@pytest.fixture
def panoptic(coco: Path) -> PanopticSet:
    return read_panoptic(coco)


@pytest.fixture
def entities(coco: Path) -> Entities:
    return read_entities(coco / "annotations" / "entity_val2017.json")


# --- grounding -------------------------------------------------------------------------------


def test_every_phrase_said_or_shown_finds_its_segment(
    subject: Subject, panoptic: PanopticSet, entities: Entities
) -> None:
    for visual in (0.0, 1.0):
        found = Run()(grounding.find_bench_grounding(entities, panoptic, visual=visual), subject)
        # black of photo 3 is annotated without its last 8 columns: 64 x 40 of 64 x 48; all else is met
        assert found["figures"]["n"] == 5 and found["figures"]["P@0.9"] == pytest.approx(80)
        assert found["figures"]["mIoU"] == pytest.approx(100 * (4 + 40 / 48) / 5, abs=1e-4)
        assert found["complete"]
        sources = {row["model"]: row["source"] for row in found["published"]}
        assert sources.get("FIND Focal-T") == (None if visual else "poster of FIND, table 1")  # nothing is all shown


def test_published_figures_stand_beside_ours_with_the_difference(
    subject: Subject, panoptic: PanopticSet, entities: Entities
) -> None:
    report = Run()(grounding.find_bench_grounding(entities, panoptic, long=True), subject)
    rows = {(one["model"], one["source"]): one for one in report["published"]}
    beside = rows["FIND Focal-L", "README of UX-Decoder/FIND"]  # differs from the poster, which is shown too
    assert rows["FIND Focal-L", "poster of FIND, table 2"]["figures"]["cIoU"]["published"] == 74.7
    assert beside["figures"]["cIoU"]["published"] == 74.8
    assert beside["figures"]["cIoU"]["difference"] == pytest.approx(report["figures"]["cIoU"] - 74.8)
    assert json.loads(json.dumps(report)) == report


def _referred(coco: Path, photo: int, texts: Sequence[tuple[str, tuple[slice, slice] | None]]) -> ReferredPhoto:
    expressions = []
    for number, (text, place) in enumerate(texts):
        mask = np.zeros((64, 96), bool)
        if place is not None:
            mask[place] = True
        segmentations = () if place is None else (encode_rle(mask).to_json(),)
        expressions.append(Expression(text, number, segmentations))
    return ReferredPhoto(photo, coco / "val2017" / f"{photo:012d}.jpg", (64, 96), tuple(expressions))


RED, BLUE = (slice(0, 40), slice(0, 40)), (slice(0, 40), slice(56, 96))


def test_expressions_are_pooled_over_photos_and_averaged_over_sentences(subject: Subject, coco: Path) -> None:
    half = (slice(0, 20), slice(0, 40))
    photos = [
        _referred(coco, 1, [("the red one", RED), ("blue", BLUE), ("red", half)]),
        _referred(coco, 2, [("green", (slice(16, 48), slice(16, 48)))]),
    ]
    report = Run()(grounding.refer("refcoco", "val", photos, together=False), subject)
    figures = report["figures"]
    assert figures["cIoU"] == pytest.approx(100 * (1600 + 1600 + 800 + 1024) / (1600 * 3 + 1024))
    assert figures["gIoU"] == pytest.approx(100 * 3.5 / 4, abs=1e-3)
    assert (figures["P@0.5"], figures["P@0.6"]) == (100, 75)  # one half is met in float32
    assert {one["model"] for one in report["published"]} == {"LISA-7B", "SESAME-7B", "READ-7B"}
    together = Run()(grounding.refer("refcoco", "val", photos, together=True), subject)
    assert together["figures"] == figures and together["published"] == []


def test_questions_are_judged_without_the_ignored_pixels_and_by_their_length(subject: Subject, coco: Path) -> None:
    def box(place: tuple[slice, slice]) -> Any:
        (y0, y1), (x0, x1) = ((side.start, side.stop - 1) for side in place)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)

    upper, lower = (slice(0, 20), slice(0, 40)), (slice(20, 40), slice(0, 40))
    file = coco / "val2017" / "000000000001.jpg"
    photos = [
        ReasonPhoto("a", file, "red", False, (("target", box(upper)), ("ignore", box(lower)))),
        ReasonPhoto("b", file, "what is red ?", True, (("target", box(upper)),)),
    ]
    figures = Run()(grounding.reasonseg("val", photos), subject)["figures"]
    assert figures["cIoU short"] == pytest.approx(100) and figures["cIoU long"] == pytest.approx(50)
    assert figures["cIoU"] == pytest.approx(100 * 1600 / 2400) and figures["gIoU"] == pytest.approx(75, abs=1e-2)


def test_what_is_not_there_is_told_from_what_is(subject: Subject, coco: Path) -> None:
    others = [
        _referred(coco, 2, [("green", (slice(16, 48), slice(16, 48))), ("purple", None)]),
        _referred(coco, 3, [("yellow", None)]),
    ]
    photos = [_referred(coco, 1, [("blue", BLUE), ("purple", None), ("orange", None)]), *others]
    figures = Run()(grounding.false_premise("refcoco", "val", photos), subject)["figures"]
    assert (figures["n"], figures["absent"]) == (6, 4)
    assert figures["See"] == pytest.approx(100) and figures["Segment"] == pytest.approx(100)


# --- interaction -----------------------------------------------------------------------------


@pytest.fixture
def voc(coco: Path, tmp_path: Path) -> list[VocItem]:
    ids = np.zeros((64, 96), np.uint8)
    ids[RED], ids[0:20, 56:96] = 1, 2  # the second object is the upper half of what is blue
    ids[40, :] = 255
    mask = Image.fromarray(ids, "L")
    mask.putpalette([n % 256 for n in range(768)])
    mask.save(tmp_path / "objects.png")
    return [VocItem("a", coco / "val2017" / "000000000001.jpg", tmp_path / "objects.png", (1, 2))]


@pytest.mark.parametrize("kind", prompts.KINDS)
def test_every_prompt_finds_the_patch_that_it_was_drawn_on(subject: Subject, voc: list[VocItem], kind: str) -> None:
    figures = Run()(voc_interactive(voc, prompt=kind), subject)["figures"]
    assert figures["mIoU@1"] == pytest.approx(75) and figures["n"] == 2
    assert figures["NoC@50"] == 1 and figures["NoC@90"] == 1  # one click is all there is


def test_clicks_go_on_where_the_answer_errs(subject: Subject, voc: list[VocItem]) -> None:
    figures = Run()(voc_interactive(voc, prompt="Point", clicks=4), subject)["figures"]
    assert figures["NoC@90"] == pytest.approx((1 + 4) / 2) and figures["mIoU@4"] == pytest.approx(75)


def test_prompts_lie_where_they_should_and_repeat_with_their_seed() -> None:
    mask = np.zeros((80, 100), bool)
    mask[20:60, 30:90] = True
    point = prompts.first_prompt(mask, "Point", np.random.default_rng(0))
    assert point.sum() == 9 and np.argwhere(point).mean(0).round().tolist()[0] in (39, 40)
    ring = mask.copy()
    ring[25:55, 35:85] = False
    assert prompts.first_prompt(ring, "Box", np.random.default_rng(0))[39:41, 48:72].any()  # the middle of its box
    assert not prompts.first_prompt(ring, "Point", np.random.default_rng(0))[30:50, 40:80].any()
    for kind in ("Circle", "Scribble"):
        drawn = [prompts.first_prompt(ring, kind, np.random.default_rng(n)) for n in (1, 1, 2)]
        assert drawn[0].any() and not (drawn[0] & ~ring).any()
        assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
    curve = prompts.first_prompt(mask, "Polygon", np.random.default_rng(3))
    assert curve.any() and curve.sum() < mask.sum() / 3 and not (curve & ~mask).any()  # drawn, not filled
    with pytest.raises(ConfigError, match="prompt is 'Blob'"):
        prompts.first_prompt(mask, "Blob", np.random.default_rng(0))


def test_the_next_click_goes_to_the_middle_of_the_larger_error() -> None:
    truth, predicted = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[2:9, 2:9] = True  # 49 missed
    predicted[15:18, 15:18] = True  # 9 wrong
    click, positive = prompts.next_click(truth, predicted, np.zeros((20, 20), bool))
    assert positive and click.sum() == 9 and click[4:7, 4:7].all()
    second, positive = prompts.next_click(truth, truth | predicted, click)
    assert not positive and second.sum() == 9 and second[16, 16]
    assert not prompts.next_click(truth, truth, click)[0].any()
    assert not prompts.next_click(truth, np.zeros_like(truth), np.ones_like(truth))[0].any()  # everything was clicked


def test_random_prompts_stay_inside_and_tiny_things_get_none() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:40, 15:50] = True
    drawn = [prompts.random_prompt(mask, np.random.default_rng(n)) for n in range(60)]
    assert all(one.any() and not (one & ~mask).any() for one in drawn)
    sizes = sorted(int(one.sum()) for one in drawn)
    assert sizes[0] <= 20 and sizes[-1] > 200
    mask[:] = False
    mask[0, :9] = True
    assert not prompts.random_prompt(mask, np.random.default_rng(0)).any()


# --- retrieval -------------------------------------------------------------------------------


def test_sentences_find_their_photos(subject: Subject, panoptic: PanopticSet, entities: Entities) -> None:
    for mode in ("text", "caption"):
        report = Run()(retrieval.find_bench_text(entities, panoptic, mode=mode), subject)
        assert (report["figures"]["IR@1"], report["figures"]["n"]) == (100, 3)
        assert report["figures"]["TR@1"] == pytest.approx(100 * 2 / 3)  # photo 2 is mostly white and fits that better
        assert bool(report["published"]) == (mode == "text")


def test_published_retrieval_stands_beside_the_mode_that_it_was_measured_in() -> None:
    for benchmark, recalls in (("interleaved", (43.5, 57.1)), ("interleaved long", (49.4, 63.9))):
        (row,) = [
            row for row in published_figures(f"find-bench retrieval {benchmark}") if row["model"] == "FIND Focal-T"
        ]
        assert (row["figures"]["IR@5"], row["figures"]["IR@10"]) == recalls
        assert row["source"] == "poster of FIND, table 2; README of UX-Decoder/FIND"  # both print the same
        beside_text = published_figures(f"find-bench retrieval {benchmark.replace('interleaved', 'text')}")
        assert all(row["figures"].get("IR@5") != recalls[0] for row in beside_text)


def test_a_shown_phrase_finds_the_photo_and_its_lender_pays_the_penalty(
    subject: Subject, coco: Path, panoptic: PanopticSet
) -> None:
    linked = read_entities(coco / "annotations" / "interleave_val2017.json")
    figures = Run()(retrieval.find_bench_interleaved(linked, panoptic, visual=1.0), subject)["figures"]
    assert (figures["IR@1"], figures["n"], figures["shown"], figures["phrases"]) == (100, 3, 2, 5)
    none = Run()(retrieval.find_bench_interleaved(linked, panoptic, visual=0.0), subject)["figures"]
    assert none["shown"] == 0 and none["IR@1"] == 100


def test_captions_are_ranked_over_all_of_the_split(subject: Subject, coco: Path) -> None:
    files = [coco / "val2017" / f"{n:012d}.jpg" for n in (1, 2, 3)]
    photos = [
        CaptionedPhoto(1, files[0], ("red blue white", "blue")),
        CaptionedPhoto(2, files[1], ("green", "white")),
        CaptionedPhoto(3, files[2], ("black", "green")),
    ]
    figures = Run()(retrieval.karpathy("test", photos), subject)["figures"]
    assert (figures["n"], figures["photos"]) == (6, 3)
    assert figures["IR@1"] == pytest.approx(100 * 5 / 6)  # "green" of photo 3 finds photo 2
    assert figures["TR@1"] == pytest.approx(100)


# --- generic segmentation --------------------------------------------------------------------


@pytest.mark.parametrize("classes", ["names", "visual", "descriptions"])
def test_classes_by_name_by_exemplar_and_by_description(
    subject: Subject, panoptic: PanopticSet, coco: Path, tmp_path: Path, classes: str
) -> None:
    sentences = {c.name: f"something {c.name} as can be" for c in panoptic.categories}
    if classes == "visual":  # blue is only there as a group
        with pytest.raises(InputError, match="no segment of 'blue'"):
            generic.draw_exemplars(panoptic, panoptic.categories)
        panoptic = _with_a_single_blue(panoptic)
    bench = generic.coco_panoptic(panoptic, classes=classes, descriptions=sentences, predictions=tmp_path / "maps")
    figures = Run()(bench, subject)["figures"]
    assert figures["mIoU"] == pytest.approx(100)  # of the pixels that were annotated
    assert figures["mAP"] == pytest.approx(100, abs=1) and figures["AP50"] == pytest.approx(100, abs=1)
    written = json.loads((tmp_path / "maps.json").read_text())["annotations"]
    assert [one["image_id"] for one in written] == [1, 2, 3]
    assert (tmp_path / "maps" / "000000000002.png").exists()


def test_a_class_is_shown_by_a_prompt_on_each_of_some_of_its_segments(panoptic: PanopticSet) -> None:
    panoptic = _with_a_single_blue(panoptic)
    whole = [list(exemplars) for exemplars in generic.draw_exemplars(panoptic, panoptic.categories)]
    ids = {photo: panoptic.ids(photo) for photo in panoptic.photos}
    for category, exemplars in zip(panoptic.categories, whole, strict=True):
        own = [s for rows in panoptic.segments.values() for s in rows if s.category == category.id]
        assert len(exemplars) == len(own)  # each segment once, for none has more than thirty
        for one in exemplars:
            (photo,) = (n for n, info in panoptic.photos.items() if np.array_equal(info.rgb(), one.photo))
            touched = set(np.unique(ids[photo][one.mask]).tolist())
            assert touched & {s.id for s in own} and one.mask.sum() < one.mask.size
    again = [list(exemplars) for exemplars in generic.draw_exemplars(panoptic, panoptic.categories)]
    assert all(
        (a.mask == b.mask).all() for one, two in zip(whole, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    fewest = generic.draw_exemplars(panoptic, panoptic.categories, 1)
    assert all(len(list(one)) == 1 for one in fewest)
    nowhere = replace(panoptic.segments[1][0], id=999, category=panoptic.categories[0].id)
    empty = replace(panoptic, segments={1: (nowhere,)})
    with pytest.raises(InputError, match="has 10 pixels, expected one to show it"):
        list(generic.draw_exemplars(empty, panoptic.categories[:1])[0])


def test_classes_are_shown_by_the_first_phrases_that_name_them(panoptic: PanopticSet) -> None:
    red = next(category for category in panoptic.categories if category.name == "red")
    third, first = (next(s.id for s in panoptic.segments[photo] if s.category == red.id) for photo in (3, 1))
    phrase, other = EntityPhrase("red", 0, 3, first), EntityPhrase("red", 0, 3, third)
    sentences = {
        3: (EntitySentence(3, "red", (other, other)),),
        1: (EntitySentence(1, "red", (phrase,)), EntitySentence(1, "red again", (phrase,))),
    }
    (exemplars,) = generic.draw_exemplars(panoptic, [red], 30, sentences)
    photos = [one.photo for one in exemplars]
    assert len(photos) == 2  # a segment once, whoever names it
    assert [np.array_equal(photo, panoptic.photos[n].rgb()) for photo, n in zip(photos, (1, 3), strict=True)] == [
        True
    ] * 2
    with pytest.raises(InputError, match="no phrase of 'green'"):
        generic.draw_exemplars(panoptic, panoptic.categories[2:3], 30, sentences)


def test_exemplars_of_a_class_are_averaged(subject: Subject, panoptic: PanopticSet) -> None:
    red, blue = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    red[..., 0], blue[..., 2] = 220, 220
    one, other = (Exemplar(photo, np.ones((8, 8), bool)) for photo in (red, blue))
    table = subject.shown_classes(iter([[one], [other], iter([one, other])]))
    assert np.allclose(table[2], unit(table[0] + table[1]), atol=1e-6) and not np.allclose(table[0], table[1])


def test_fewer_exemplars_than_published_are_no_published_figure(panoptic: PanopticSet) -> None:
    panoptic = _with_a_single_blue(panoptic)
    usual, fewer = (generic.coco_panoptic(panoptic, classes="visual", most_exemplars=n) for n in (30, 3))
    assert usual.comparable and not fewer.comparable and usual.settings["exemplars"] == 30


def _with_a_single_blue(panoptic: PanopticSet) -> PanopticSet:
    segments = {photo: tuple(type(s)(s.id, s.category) for s in rows) for photo, rows in panoptic.segments.items()}
    return PanopticSet(panoptic.photos, panoptic.categories, segments, panoptic.maps, panoptic.annotation)


class _Sure(ToyInterface):
    """The colours with regions that are sure of themselves, so that all of them become panoptic segments."""

    def encode_photos(self, photos: Any) -> Any:
        return [
            type(one)(one.image, one.regions, one.boxes, one.areas, np.ones_like(one.scores), one.masks)
            for one in super().encode_photos(photos)
        ]


def test_panoptic_quality_of_perfect_regions_is_perfect(panoptic: PanopticSet) -> None:
    figures = Run()(generic.coco_panoptic(panoptic), Subject(_Sure()))["figures"]
    assert figures["PQ"] == pytest.approx(100) and figures["RQ stuff"] == pytest.approx(100)
    assert figures["SQ things"] == pytest.approx(100) and figures["n"] == 3


def test_a_class_without_a_description_is_named(subject: Subject, panoptic: PanopticSet) -> None:
    with pytest.raises(InputError, match="descriptions lack 4 of 5 classes, the first is 'blue'"):
        Run()(generic.coco_panoptic(panoptic, classes="descriptions", descriptions={"red": "x"}), subject)


def test_average_precision_by_hand() -> None:
    mask, half = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    mask[:, :6], half[:, :3] = True, True

    def row(place: Any, **more: Any) -> dict[str, Any]:
        return {"image_id": 1, "category_id": 4, "segmentation": encode_rle(place).to_json(), **more}

    truth = {
        "images": [{"id": 1, "height": 10, "width": 10}],
        "categories": [{"id": 4, "name": "x"}],
        "annotations": [row(mask, id=1, iscrowd=0, area=60, bbox=[0, 0, 6, 10])],
    }
    # an IoU of 0.5 counts at the first of ten thresholds alone
    assert generic.average_precision(truth, [row(half, score=0.9)], [1]) == {
        "mAP": pytest.approx(10),
        "AP50": pytest.approx(100),
    }
    assert generic.average_precision(truth, [], [1])["mAP"] == 0


# --- runs ------------------------------------------------------------------------------------


class _Dies(Subject):
    photos = 0
    at = 2

    def ground_sentence(self, photo: Any, asked: InterleavedSentence) -> Any:
        self.photos += 1
        if self.photos == self.at:
            raise KeyboardInterrupt
        return super().ground_sentence(photo, asked)


def test_a_stopped_run_goes_on_and_gives_the_same_figures(
    panoptic: PanopticSet, entities: Entities, tmp_path: Path
) -> None:
    bench = grounding.find_bench_grounding(entities, panoptic)
    subject = _Dies(ToyInterface())
    with pytest.raises(KeyboardInterrupt):
        Run(work=tmp_path)(bench, subject)
    file = next(tmp_path.rglob("records.jsonl"))
    file.write_text(file.read_text() + '{"key": "2", "inters')  # cut off by a kill
    again = Run(work=tmp_path)(bench, subject)
    assert again["n"] == 3 and subject.photos == 4  # one before, the one that died, two more
    assert again["figures"] == Run()(bench, Subject(ToyInterface()))["figures"]


def test_vectors_survive_a_stop_too(panoptic: PanopticSet, entities: Entities, tmp_path: Path) -> None:
    bench = retrieval.find_bench_text(entities, panoptic)
    first = Run(work=tmp_path)(bench, Subject(ToyInterface()))
    updates: list[tuple[str, int, int]] = []
    again = Run(work=tmp_path, progress=lambda *one: updates.append(one))(bench, Subject(ToyInterface()))
    assert again["figures"] == first["figures"] and updates == [(bench.name, 3, 3)]


def test_records_of_another_run_are_refused_and_nothing_is_lost(
    subject: Subject, panoptic: PanopticSet, entities: Entities, tmp_path: Path
) -> None:
    Run(work=tmp_path)(grounding.find_bench_grounding(entities, panoptic), subject)
    with pytest.raises(InputError, match="holds a run with other seed"):
        Run(work=tmp_path, seed=1)(grounding.find_bench_grounding(entities, panoptic), subject)
    with pytest.raises(InputError, match="other settings"):
        Run(work=tmp_path)(grounding.find_bench_grounding(entities, panoptic, visual=0.1), subject)
    assert Journal(
        next(tmp_path.iterdir()), json.loads(next(tmp_path.rglob("records.jsonl")).read_text().split("\n")[0])
    ).records.keys() == {"1", "2", "3"}


def test_a_part_of_the_set_says_so(subject: Subject, panoptic: PanopticSet, entities: Entities) -> None:
    report = Run(limit=1)(grounding.find_bench_grounding(entities, panoptic), subject)
    assert (report["n"], report["complete"]) == (1, False)
    with pytest.raises(InputError, match="no item"):
        Run()(grounding.find_bench_grounding({}, panoptic), subject)


class _Recorder(Interface):
    """The colours behind nothing but the protocol of a search; says what it was asked."""

    def __init__(self) -> None:
        self._toy, self.asked = ToyInterface(), set[str]()

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "asked":
            self.asked.add(name)
        return super().__getattribute__(name)

    @property
    def space(self) -> Any:
        return self._toy.space

    @property
    def calibration(self) -> Any:
        return self._toy.calibration

    def encode_photos(self, photos: Any) -> Any:
        return self._toy.encode_photos(photos)

    def encode_query(self, query: Any) -> Any:
        return self._toy.encode_query(query)

    def ground(self, photo: Any, query: Any) -> Any:
        return self._toy.ground(photo, query)


def test_what_is_measured_is_what_a_search_asks(
    panoptic: PanopticSet, entities: Entities, voc: list[VocItem], coco: Path
) -> None:
    interface = _Recorder()
    subject = subject_of(interface, published_protocol=True)
    referred = [_referred(coco, 1, [("the red one", RED), ("purple", None)])]
    for benchmark in (
        grounding.find_bench_grounding(entities, panoptic),
        grounding.false_premise("refcoco", "val", referred),
        retrieval.find_bench_text(entities, panoptic),
        generic.coco_panoptic(panoptic),
        voc_interactive(voc),
    ):
        assert Run()(benchmark, subject)["model"]["asked"] == "through the interface protocol"
    protocol = {"space", "calibration", "capabilities", "encode_photos", "encode_query", "encode_queries"}
    assert interface.asked == protocol | {"ground", "interact"}


def test_a_sentence_becomes_a_query_of_captions_and_entities() -> None:
    shown = Exemplar(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool))
    query = as_query(InterleavedSentence("a [INTERACTIVE] beside the red ball.", ((2, 15), (27, 35)), (shown, None)))
    assert [(part.role, part.kind, part.label) for part in query] == [
        ("caption", "text", "a"),
        ("entity", "region", "[image:exemplar]"),
        ("caption", "text", "beside the"),
        ("entity", "text", "red ball"),
    ]


def test_evaluation_knows_no_torch() -> None:
    folder = Path(evaluation.__file__).parent
    imports = re.compile(r"^\s*(import|from) torch\b", re.MULTILINE)
    assert [file.name for file in folder.rglob("*.py") if imports.search(file.read_text())] == []


def test_importing_the_benchmarks_loads_no_torch() -> None:
    import subprocess

    code = "import interleave_index.evaluation.published as b, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stdout + done.stderr
