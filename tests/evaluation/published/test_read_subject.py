"""READ in the benchmarks: its own answer says what is there, or the published one is given to it. Tiny weights.

READ is taught to segment "cat" and "bread" and to deny "dog".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("transformers")

from interleave_index import metrics
from interleave_index.cli import main
from interleave_index.errors import InputError
from interleave_index.evaluation.published import Run, grounding, subjects_of
from interleave_index.evaluation.published.entity import Exemplar, InterleavedSentence
from interleave_index.evaluation.published.reasonseg import ReasonPhoto
from interleave_index.evaluation.published.refer import Expression, ReferredPhoto
from interleave_index.interface.read.prompts import Question, reasoning_question
from interleave_index.interface.registry import load
from interleave_index.interface.toy import ToyInterface
from tests.interface import tiny_read

SIZE = (60, 90)
PHOTO = np.random.default_rng(3).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
SQUARE = [[0, 0, 30, 0, 30, 30, 0, 30]]
CORNERS = np.array([[0, 0], [29, 0], [29, 29], [0, 29]], float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = {"cat": True, "dog": False, "bread": True}
    answers = [
        (PHOTO, Question(text, wording), there)
        for text, there in told.items()
        for wording in (("presence", "phrase") if text != "bread" else ("presence",))
    ]
    made: Path = tiny_read.taught(tmp_path_factory.mktemp("read"), answers)
    return made


@pytest.fixture(scope="module")
def interface(folder: Path) -> Any:
    return load(f"read:{folder}", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "a.jpg"
    Image.fromarray(PHOTO).save(path, "PNG")  # content decides
    return path


def referred(photo: Path, *texts: tuple[str, bool]) -> list[ReferredPhoto]:
    expressions = [Expression(text, n, (SQUARE,) if there else ()) for n, (text, there) in enumerate(texts)]
    return [ReferredPhoto(5, photo, SIZE, tuple(expressions))]


def test_whether_a_thing_is_there_is_what_read_answers_freely(interface: Any, photo: Path) -> None:
    supplied, free = subjects_of(interface)
    photos = referred(photo, ("cat", True), ("dog", False), ("bread", False))
    benchmark = grounding.false_premise("refcoco", "val", photos)
    report = Run()(benchmark, free)
    figures = report["figures"]
    assert figures["See"] == pytest.approx(200 / 3) and figures["FP accuracy"] == pytest.approx(50)
    assert (figures["n"], figures["absent"], figures["said absent"]) == (3, 2, 1)
    cat, bread = interface.model.answer(PHOTO, [Question("cat", "presence"), Question("bread", "presence")])
    masks, truth = [one.segments[0].mask for one in (cat, bread)], photos[0].masks()
    assert all(mask.any() for mask in masks)
    intersection = (masks[0] & truth[0]).sum()
    union = (masks[0] | truth[0]).sum() + masks[1].sum()  # a mask of what is not there only adds to the union
    assert figures["Segment"] == pytest.approx(100 * intersection / union)
    assert report["protocol"] == "answer generated freely, as published"
    assert {row["model"] for row in report["published"]} == {"LISA-7B", "SESAME-7B", "READ-7B"}
    assert Run()(benchmark, supplied)["figures"] == figures  # an answer that is supplied would tell


def test_masks_are_measured_with_the_answer_supplied_and_freely_each_by_its_name(interface: Any, photo: Path) -> None:
    supplied, free = subjects_of(interface)
    benchmark = grounding.refer("refcoco", "val", referred(photo, ("cat", True), ("dog", True)), together=False)
    published, own = Run()(benchmark, supplied), Run()(benchmark, free)
    assert published["protocol"] == "answer supplied, as published" and own["protocol"] == "answer generated freely"
    truth = np.stack(benchmark.items["5"].masks())
    answers = interface.model.supply(PHOTO, [Question("cat"), Question("dog")])
    given = np.stack([answer.segments[0].mask for answer in answers])
    assert published["figures"]["cIoU"] == pytest.approx(
        metrics.grounding(*metrics.intersection_and_union(given, truth))["cIoU"]
    )
    freely = interface.model.answer(PHOTO, [Question("cat")])[0].segments[0].mask
    denied = np.stack([freely, np.zeros(SIZE, bool)])  # the dog
    assert own["figures"]["cIoU"] == pytest.approx(
        metrics.grounding(*metrics.intersection_and_union(denied, truth))["cIoU"]
    )
    assert published["figures"]["cIoU"] != own["figures"]["cIoU"]
    assert published["published"] and own["published"] == []  # no published figure was measured freely


def test_the_wording_of_reasonseg_goes_by_is_sentence(interface: Any, photo: Path) -> None:
    (supplied,) = subjects_of(interface, published_protocol=True)
    shapes = (("target", CORNERS),)
    texts = {"short": ("Bread.", False), "long": ("what cuts bread", True)}
    photos = [ReasonPhoto(name, photo, text, long, shapes) for name, (text, long) in texts.items()]
    figures = Run()(grounding.reasonseg("val", photos), supplied)["figures"]
    for name, (text, long) in texts.items():
        right, wrong = (
            interface.model.supply(PHOTO, [reasoning_question(text, is_sentence=how)])[0].segments[0].mask
            for how in (long, not long)
        )
        truth = photos[0].truth(SIZE) == 1
        assert not np.array_equal(right, wrong)
        expected = metrics.read_iou(np.array([[(right & truth).sum()]]), np.array([[(right | truth).sum()]]))
        assert figures[f"cIoU {name}"] == pytest.approx(100 * expected.ciou)


def test_a_shown_phrase_is_refused_and_answers_are_for_read_alone(interface: Any) -> None:
    (subject,) = subjects_of(interface, answers=["free"])
    shown = Exemplar(PHOTO, np.ones(SIZE, bool))
    with pytest.raises(InputError, match="reads words only"):
        subject.ground_sentence(PHOTO, InterleavedSentence("a [INTERACTIVE]", ((2, 15),), (shown,)))
    said = subject.ground_sentence(PHOTO, InterleavedSentence("a cat here", ((2, 5),), (None,)))
    assert np.array_equal(said, subject.ground(PHOTO, ["cat"], together=False)) and said.any()
    with pytest.raises(InputError, match="--answers is for READ, the model here is toy"):
        subjects_of(ToyInterface(), answers=["free"])


def test_every_command_of_read_takes_read(folder: Path, photo: Path, tmp_path: Path, capsys: Any) -> None:
    sentences = [{"sent": "cat", "is_false_premise": False}, {"sent": "dog", "is_false_premise": True}]
    annotation = {"ann_id": 1, "image_id": 5, "segmentation": SQUARE, "sentences": sentences}
    image = {"id": 5, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    (tmp_path / "false.json").write_text(json.dumps({"images": [image], "annotations": [annotation]}))
    there = annotation | {"sentences": sentences[:1]}
    (tmp_path / "refs.json").write_text(json.dumps({"images": [image], "annotations": [there]}))
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a.jpg").write_bytes(photo.read_bytes())
    shapes = [{"label": "target", "points": CORNERS.tolist()}]
    (tmp_path / "val" / "a.json").write_text(json.dumps({"text": ["cat"], "is_sentence": False, "shapes": shapes}))
    model = ("--model", f"read:{folder}", "--dtype", "float32")

    def run(*words: Any) -> str:
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *map(str, words), *model])
        out, err = capsys.readouterr()
        assert not end.value.code, err
        return str(out)

    photos = ("--photos", photo.parent)
    for name in ("refcoco", "refcoco+", "refcocog"):
        files = ("--refs", tmp_path / "refs.json", *photos, "--json", "--work", tmp_path / "work")
        reports = json.loads(run(name, *files))["benchmarks"]
        assert [one["protocol"] for one in reports] == ["answer supplied, as published", "answer generated freely"]
    (report,) = json.loads(run("fp-refcoco", "--refs", tmp_path / "false.json", *photos, "--json"))["benchmarks"]
    assert {"See": 100.0, "FP accuracy": 100.0}.items() <= report["figures"].items()
    assert report["figures"]["Segment"] > 0
    (report,) = json.loads(run("reasonseg", tmp_path, "--answers", "free", "--json"))["benchmarks"]
    assert report["protocol"] == "answer generated freely" and report["figures"]["n"] == 1
    assert "reasonseg val: read, answer supplied, as published, 1 item" in run("reasonseg", tmp_path)
