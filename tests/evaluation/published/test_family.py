"""X-Decoder and SEEM under measurement: asked with all queries, at the sides of each task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from interleave_index.evaluation.published.entity import Exemplar, InterleavedSentence
from interleave_index.evaluation.published.family import SeemSubject, XDecoderSubject
from interleave_index.evaluation.published.subject import subject_of
from interleave_index.interface.registry import load
from tests.interface.xdecoder import family_toys as toys

PHOTO = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
OTHER = np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8)


def marked(photo: np.ndarray) -> np.ndarray:
    mask = np.zeros(photo.shape[:2], bool)
    mask[5:20, 8:24] = True
    return mask


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("family")
    toys.imported(folder, "xdecoder-tiny", toys.tiny_sizes("xdecoder", None))
    toys.imported(folder, "seem-tiny", toys.tiny_sizes("seem", "v0"))
    return folder


def test_phrases_in_words_and_phrases_that_are_shown_are_each_answered_in_their_own_way(home: Path):
    subject = subject_of(load(str(home / "seem-tiny")))
    assert isinstance(subject, SeemSubject) and subject.facts["version"] == "v0"
    shown = (None, Exemplar(PHOTO, marked(PHOTO)), Exemplar(OTHER, marked(OTHER)))
    sentence = InterleavedSentence("a dog by it and that", ((0, 5), (9, 11), (16, 20)), shown)
    masks = subject.ground_sentence(PHOTO, sentence)
    model = subject.model
    view = model.view(PHOTO, short=640, long=1024)
    assert np.array_equal(masks[0], model.ground(view, ["a dog"])[0].mask)
    assert np.array_equal(masks[1], subject._seem.interact(view, [marked(PHOTO)]).masks[0])
    other = model.view(OTHER, short=640, long=1024)
    assert np.array_equal(masks[2], subject._seem.find_example(view, other, marked(OTHER)).mask)


def test_classes_that_are_shown_get_vectors_beside_the_background(home: Path):
    subject = subject_of(load(str(home / "xdecoder-tiny")))
    assert isinstance(subject, XDecoderSubject) and subject.facts["asked"] == "all 13 queries"
    table = subject.shown_classes([[Exemplar(PHOTO, marked(PHOTO))], [Exemplar(OTHER, marked(OTHER))]])
    assert table.shape == (3, 32) and torch.allclose(table.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert torch.allclose(table[2], subject.model.class_table([])[0], atol=1e-6)
    image, objects = subject.vectors(PHOTO)
    assert np.array_equal(image, subject.views(PHOTO)[0]) and objects.shape == (12, 64)
    assert subject.captions(["a dog"]).shape == (1, 64)
