"""Samples drawn from COCO's own files: crops, masks, prompts and sentences fit each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from interleave_index.errors import InputError
from interleave_index.training.coco.data import Drawing, Photos, Sample, draw_sample, read_photos

PLAIN = Drawing(96, (1.0, 1.0), False, 0.5)
COLOURS = [(220, 40, 40), (40, 160, 60), (40, 70, 210), (250, 250, 250), (15, 15, 15)]


@pytest.fixture(scope="module")
def photos(drawn_coco: Path) -> Photos:
    return read_photos(drawn_coco, entity=drawn_coco / "annotations" / "entity_train2017.json")


def _draw(photos: Photos, photo: int, seed: int, drawing: Drawing = PLAIN) -> Sample:
    return draw_sample(photos, photo, drawing, np.random.default_rng(seed))


@pytest.mark.parametrize("drawing", [PLAIN, Drawing(64, (0.4, 2.0), True, 0.5), Drawing(128, (0.3, 0.5), True, 1.0)])
def test_masks_lie_on_the_pixels_of_their_class_whatever_the_crop(photos: Photos, drawing: Drawing) -> None:
    for seed in range(12):
        sample = _draw(photos, 1 + seed % 8, seed, drawing)
        assert sample.pixels.shape == (drawing.size, drawing.size, 3)
        assert sample.masks.any((1, 2)).all() and not (sample.masks & ~sample.real).any()
        assert sample.masks.sum(0).max() <= 1
        for mask, kind in zip(sample.masks, sample.labels, strict=True):
            off = (sample.pixels[mask].int() - torch.tensor(COLOURS[kind])).abs().amax(1)
            assert off.median() == 0  # the edges are blended


def test_prompts_lie_in_the_segments_that_they_name(photos: Photos) -> None:
    seen = set()
    for seed in range(20):
        sample = _draw(photos, 4, seed)
        assert len(sample.prompts) == len(sample.prompted) >= 1
        for prompt, number in zip(sample.prompts, sample.prompted, strict=True):
            assert (prompt & sample.masks[number]).any()  # a curve between its pixels may leave it, as published
            rows, columns = (sample.masks[number].any(side).nonzero()[:, 0] for side in (1, 0))
            assert not prompt[: rows[0]].any() and not prompt[:, columns[-1] + 1 :].any()
        seen.add(len(sample.prompts))
    assert len(seen) > 1


def test_expressions_ask_for_classes_and_every_mask_knows_its_own(photos: Photos) -> None:
    sample = _draw(photos, 4, 0)  # two things on a ground
    assert not sample.by_people and len(sample.expressions) == 3 == len(sample.expression_masks)
    names = ["red", "green", "blue", "white", "black"]
    for number, text in enumerate(sample.expressions):
        (mask,) = (sample.answers == number).nonzero()[:, 0].tolist()
        kind = next(n for n in range(len(sample.masks)) if (sample.masks[n] == sample.expression_masks[mask]).all())
        assert names[int(sample.labels[kind])] in text.lower() and "-stuff" not in text


def test_sentences_show_about_half_of_their_phrases_by_a_stroke_on_them(photos: Photos) -> None:
    shown = []
    for seed in range(40):
        sample = _draw(photos, 4, seed)
        assert (
            sample.sentence is not None and len(sample.targets) == len(sample.sentence.spans) == len(sample.shown) == 2
        )
        for number, visual in enumerate(sample.sentence.visual):
            start, end = sample.sentence.spans[number]
            assert (sample.sentence.text[start:end] == "[INTERACTIVE]") == visual == sample.shown[number].any()
            if visual:
                assert (sample.shown[number] & sample.masks[sample.targets[number]]).any()
            shown.append(visual)
    assert 0.3 < np.mean(shown) < 0.7
    assert all(_draw(photos, 4, n, Drawing(96, (1, 1), False, 1.0)).sentence.visual == (True, True) for n in range(5))  # type: ignore[union-attr]


def test_the_same_seed_draws_the_same_sample(photos: Photos) -> None:
    one, other, third = (_draw(photos, 3, seed, Drawing(64, (0.5, 2.0))) for seed in (7, 7, 8))
    for name in ("pixels", "masks", "prompts", "shown", "answers"):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    assert one.sentence is not None and other.sentence is not None and one.sentence.text == other.sentence.text
    assert one.expressions == other.expressions and (one.pixels != third.pixels).any()


def test_photos_of_a_benchmark_are_left_out(drawn_coco: Path, tmp_path: Path) -> None:
    (tmp_path / "refcocog.json").write_text(json.dumps({"images": [{"id": 2}, {"cocoid": 3, "id": 99}]}))
    (tmp_path / "ids.json").write_text("[5]")
    found = read_photos(drawn_coco, leave_out=[tmp_path / "refcocog.json", tmp_path / "ids.json"])
    assert found.ids() == [1, 4, 6, 7, 8]
    splits = [{"cocoid": n, "split": kind} for n, kind in ((1, "test"), (2, "val"), (3, "train"), (4, "restval"))]
    (tmp_path / "karpathy.json").write_text(json.dumps({"images": splits}))
    assert read_photos(drawn_coco, leave_out=[tmp_path / "karpathy.json"]).ids() == [3, 4, 5, 6, 7, 8]
    (tmp_path / "ids.json").write_text("[1, 2, 3, 4, 5, 6, 7, 8]")
    with pytest.raises(InputError, match="no photo left"):
        read_photos(drawn_coco, leave_out=[tmp_path / "ids.json"])
    (tmp_path / "ids.json").write_text('{"images": [{}]}')
    with pytest.raises(InputError, match="names no photos"):
        read_photos(drawn_coco, leave_out=[tmp_path / "ids.json"])


def test_expressions_of_people_come_before_class_names(drawn_coco: Path, tmp_path: Path) -> None:
    rows = [
        {"ref_id": 0, "ann_id": 1, "image_id": 1, "split": "train", "sentences": [{"sent": "The Left One"}]},
        {"ref_id": 1, "ann_id": 2, "image_id": 1, "split": "train", "sentences": [{"sent": "the left one"}]},
    ]
    (tmp_path / "refs.json").write_text(json.dumps(rows))
    box = [[2, 2, 40, 2, 40, 40, 2, 40]]
    other = [[50, 50, 90, 50, 90, 90, 50, 90]]
    (tmp_path / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "000000000001.jpg", "height": 96, "width": 96}],
                "annotations": [{"id": 1, "segmentation": box}, {"id": 2, "segmentation": other}],
            }
        )
    )
    found = read_photos(drawn_coco, refs=tmp_path / "refs.json", instances=tmp_path / "instances.json")
    for seed in range(6):
        sample = _draw(found, 1, seed)
        assert sample.by_people and sample.expressions == ["the left one"]  # equal texts are asked once
        assert len(sample.expression_masks) in (1, 2) and set(sample.answers.tolist()) == {0}
    assert not _draw(found, 2, 0).by_people
