"""Segmenters, detectors and encoders by themselves as subjects: their answers are those of the models' own calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax

from interleave_index.config import Config
from interleave_index.errors import InputError
from interleave_index.evaluation.published import Run, Subject
from interleave_index.evaluation.published.entity import Exemplar, InterleavedSentence
from interleave_index.evaluation.published.karpathy import CaptionedPhoto
from interleave_index.evaluation.published.opening import open_subjects
from interleave_index.evaluation.published.parts import UniversalSubject
from interleave_index.evaluation.published.retrieval import karpathy
from interleave_index.geometry import box_mask
from interleave_index.grounding.marks import prompt_of_marks
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.segmenters.detectors import GroundingDino
from interleave_index.models.segmenters.sam import SamSegmenter
from interleave_index.models.segmenters.universal import UniversalSegmenter
from interleave_index.records import RGB, Floats, Prompt
from tests.models import tiny, tiny_families, tiny_prompted, tiny_universal

PHOTO = np.random.default_rng(0).integers(0, 255, (180, 200, 3), np.uint8)
CLICK = np.zeros((180, 200), bool)
CLICK[80:83, 60:63] = True
COLOURS = ("red", "white", "blue")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("models")
    makers: dict[str, Callable[[Path], Any]] = {
        "sam": tiny_prompted.sam,
        "dino": tiny_prompted.dino,
        "owl": tiny_prompted.owl,
        "mask2former": tiny_universal.mask2former,
        "eomt": tiny_universal.eomt,
        "clip": lambda folder: tiny.save(folder, "clip"),
        "blip-2": lambda folder: tiny_families.save(folder, "blip-2"),
    }

    def folder(name: str) -> Path:
        if not (root / name).exists():
            makers[name](root / name)
        return root / name

    return folder


def opened(interface: Path | str, *grounders: Path, **models: Any) -> Subject:
    config = Config().with_flags(
        models_interface=str(interface), models_grounders=",".join(map(str, grounders)), models_device="cpu", **models
    )
    (subject,) = open_subjects(config)
    return subject


# --- SAM alone -------------------------------------------------------------------------------


def test_a_click_is_one_point_a_stroke_is_five_and_clicks_beside_the_thing_are_negative() -> None:
    marked = np.zeros((40, 60), bool)
    marked[4:7, 9:12] = True
    assert prompt_of_marks(marked).points.tolist() == [[10.5, 5.5]]
    marked[20, 10:51] = True  # a stroke
    beside = np.zeros_like(marked)
    beside[30:33, 30:33] = True
    prompt = prompt_of_marks(marked, beside)
    assert prompt.labels.tolist() == [1, 1, 1, 1, 1, 1, 0] and prompt.points[-1].tolist() == [31.5, 31.5]
    stroke = prompt.points[1:6]
    assert set(stroke[:, 1]) == {20.5} and {10.5, 50.5} <= set(stroke[:, 0].tolist())  # its ends are among them


def test_sam_answers_clicks_by_its_own_mask_of_the_same_points(folder_of: Callable[[str], Path]) -> None:
    subject = opened(folder_of("sam"))
    background = np.zeros_like(CLICK)
    masks, _ = subject.interact(PHOTO, CLICK[None], background[None])
    segmenter = SamSegmenter(folder_of("sam"))
    (alone,) = segmenter.bind(PHOTO)([Prompt(np.array([[61.5, 81.5]], np.float32), np.ones(1, np.int8))])
    assert alone.mask.any() and (masks[0] == alone.mask).all()
    background[10:13, 10:13] = True
    second, _ = subject.interact(PHOTO, CLICK[None], background[None])
    points, labels = np.array([[61.5, 81.5], [11.5, 11.5]], np.float32), np.array([1, 0], np.int8)
    assert (second[0] == segmenter.bind(PHOTO)([Prompt(points, labels)])[0].mask).all()
    assert subject.facts["interface"] == "sam" and len(subject.facts["checkpoint"]) == 64


def test_what_a_part_cannot_be_asked_is_one_clear_error(folder_of: Callable[[str], Path]) -> None:
    sam, detector = opened(folder_of("sam")), opened(folder_of("dino"))
    with pytest.raises(InputError, match="sam makes no vectors of photos, so this benchmark cannot ask it"):
        sam.vectors(PHOTO)
    with pytest.raises(InputError, match="sam reads no phrases"):
        sam.ground(PHOTO, ["a dog"], together=False)
    with pytest.raises(InputError, match="dino takes no clicks and strokes"):
        detector.interact(PHOTO, CLICK[None], np.zeros_like(CLICK)[None])
    other = InterleavedSentence("a [INTERACTIVE]", ((2, 15),), (Exemplar(PHOTO.copy(), CLICK),))
    with pytest.raises(InputError, match="dino reads no pictures of other things"):
        detector.ground_sentence(PHOTO, other)
    with pytest.raises(InputError, match="finds nothing but its own classes"):
        opened(folder_of("mask2former")).ground(PHOTO, ["a dog"], together=False)
    with pytest.raises(InputError, match="expected no --grounders"):
        opened(folder_of("mask2former"), folder_of("sam"))


# --- a detector with SAM ---------------------------------------------------------------------


def test_a_phrase_gets_the_mask_of_its_best_box_and_the_box_where_nothing_segments(
    folder_of: Callable[[str], Path],
) -> None:
    found = GroundingDino(folder_of("dino")).find(PHOTO, "a red dog")
    assert found, "the tiny detector finds something"
    box = max(found, key=lambda one: one.score).box
    alone = opened(folder_of("dino")).ground(PHOTO, ["a red dog"], together=False)
    assert (alone[0] == box_mask(box, (180, 200))).all()
    both = opened(folder_of("dino"), folder_of("sam"))
    nothing = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box)
    (made,) = SamSegmenter(folder_of("sam")).bind(PHOTO)([nothing])
    assert (both.ground(PHOTO, ["a red dog"], together=True)[0] == made.mask).all()
    assert both.facts["interface"] == "dino + sam"


def test_a_phrase_that_is_shown_by_a_stroke_on_the_photo_itself_goes_to_the_segmenter(
    folder_of: Callable[[str], Path],
) -> None:
    both = opened(folder_of("dino"), folder_of("sam"))
    asked = InterleavedSentence("a [INTERACTIVE] on a red dog", ((2, 15), (19, 28)), (Exemplar(PHOTO, CLICK), None))
    masks = both.ground_sentence(PHOTO, asked)
    assert masks.shape == (2, 180, 200)
    assert (masks[0] == opened(folder_of("sam")).interact(PHOTO, CLICK[None], np.zeros_like(CLICK)[None])[0][0]).all()
    assert (masks[1] == both.ground(PHOTO, ["a red dog"], together=False)[0]).all()
    nothing = replace(asked, exemplars=(Exemplar(PHOTO, np.zeros_like(CLICK)), None))  # too small for a stroke
    assert not both.ground_sentence(PHOTO, nothing)[0].any()


def test_grounders_help_an_interface_and_stand_in_the_report(folder_of: Callable[[str], Path]) -> None:
    subject = opened("toy", folder_of("dino"), folder_of("sam"))
    assert subject.facts["interface"] == "toy" and subject.facts["grounders"].endswith(f"dino, {folder_of('sam')}")
    found = max(GroundingDino(folder_of("dino")).find(PHOTO, "a red dog"), key=lambda one: one.score)
    helped = opened("toy", folder_of("dino")).ground(PHOTO, ["a red dog"], together=False)
    assert (helped[0] == box_mask(found.box, (180, 200))).all()
    assert (opened("toy").ground(PHOTO, ["a red dog"], together=False) != helped).any()


# --- universal segmenters --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask2former", "eomt"])  # the one fills nothing up, the other makes photos square
def test_mask_logits_lie_on_the_photo_where_the_models_own_reading_has_its_segments(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    segmenter = UniversalSegmenter(folder_of(name))
    logits, masks = segmenter.logits(PHOTO)
    assert logits.shape == (6, 4) and masks.shape == (6, 180, 200)
    assert segmenter.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    likeliest = softmax(logits, axis=1)[:, :-1].max(1)[:, None, None] * expit(masks)  # as its panoptic reading has it
    largest = max(segmenter.segment(PHOTO), key=lambda one: int(one.mask.sum()))
    owners = np.bincount(likeliest.argmax(0)[largest.mask])
    assert owners.max() > 0.95 * largest.mask.sum()  # its own reading draws at another size first


def test_classes_are_taken_by_their_names_in_the_order_of_the_benchmark(
    folder_of: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UniversalSegmenter, "labels", property(lambda self: COLOURS))
    subject = opened(folder_of("mask2former"))
    assert isinstance(subject, UniversalSubject)
    own = subject.segment(PHOTO, subject.classes(["red", "white", "blue"]), {0})
    turned = subject.segment(PHOTO, subject.classes(["blue", "white", "red"]), {2})
    assert (own.semantic == 2 - turned.semantic).all()
    assert [2 - one.category for one in turned.instances] == [one.category for one in own.instances] != []
    with pytest.raises(InputError, match="lacks 1 of 2 classes, the first is 'green'"):
        subject.classes(["red", "green"])
    with pytest.raises(InputError, match="by name alone"):
        subject.classes(["something red"], descriptions=True)


# --- encoders alone --------------------------------------------------------------------------


def test_an_encoder_without_proposals_is_its_own_vectors_and_nothing_else(folder_of: Callable[[str], Path]) -> None:
    alone, regions = (
        opened(folder_of("clip"), models_proposals="none"),
        opened(folder_of("clip"), models_proposals="toy"),
    )
    drawn = np.full((64, 96, 3), 255, np.uint8)
    drawn[10:40, 10:40] = (255, 0, 0)
    image, objects = alone.vectors(drawn)
    assert (objects == image[None]).all()
    with_regions = regions.vectors(drawn)
    assert np.allclose(with_regions[0], image, atol=1e-6) and len(with_regions[1]) >= 2
    assert "no proposals" in alone.facts["preprocessing"] != regions.facts["preprocessing"]


def test_blip_2_compares_a_caption_with_the_nearest_of_its_query_vectors(folder_of: Callable[[str], Path]) -> None:
    import torch
    import transformers as t

    subject, words = opened(folder_of("blip-2"), models_proposals="none"), ["a red dog", "two people on a bench"]
    found = (subject.views(PHOTO) @ subject.captions(words).T).max(0)
    model = t.Blip2ForImageTextRetrieval.from_pretrained(folder_of("blip-2")).eval()
    tokens = t.AutoTokenizer.from_pretrained(folder_of("blip-2"))(words, padding=True, return_tensors="pt")
    pixels = t.BlipImageProcessorPil.from_pretrained(folder_of("blip-2"))(PHOTO, return_tensors="pt")
    with torch.inference_mode():
        own = model(**pixels, input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
    assert np.abs(found - own.logits_per_image[0].numpy()).max() < 2e-5


class _TwoViews(Subject):
    """Colours whose photos are also compared by a second vector: that of the last photo."""

    def views(self, photo: RGB) -> Floats:
        return np.stack([self.vectors(photo)[0], self.captions(["blue"])[0]])


def test_the_nearest_view_of_a_photo_counts(coco: Path) -> None:
    photos = [CaptionedPhoto(n, coco / "val2017" / f"{n:012d}.jpg", (text,)) for n, text in ((1, "red"), (2, "green"))]
    plain = Run()(karpathy("test", photos), Subject(ToyInterface()))["figures"]
    both = Run()(karpathy("test", photos), _TwoViews(ToyInterface()))["figures"]
    assert plain["IR@1"] == both["IR@1"] == 100
    blue = [CaptionedPhoto(2, photos[1].file, ("blue",)), photos[0]]  # only the second view knows of blue
    assert Run()(karpathy("test", blue), Subject(ToyInterface()))["figures"]["IR@1"] < 100
