"""What texts beside the photos are worth, on a library whose answers a person can check."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.evaluation.library import Library, encode_library
from interleave_index.evaluation.packs import PackPhoto
from interleave_index.evaluation.texts import texts
from interleave_index.interface.toy import COLOURS, ToyInterface

SILENT = lambda *_: None  # noqa: E731


class Photo(PackPhoto):
    """One photo of a single colour."""

    def rgb(self):
        return np.full((48, 64, 3), COLOURS[self.source], np.uint8)


@pytest.fixture(scope="module")
def library() -> Library:
    """Three photos that look alike, of which only the texts tell apart whose they are, and one of another colour."""
    captions = {
        "a": ("red", ("a red wall of Ilse", "the wall of Ilse")),
        "b": ("red", ("a red door of Otto", "the door of Otto")),
        "c": ("red", ("a red roof of Emma", "the roof of Emma")),
        "d": ("blue", ("a blue pond", "blue water")),
    }
    photos = [Photo(key, colour, b"", 64, 48, said, (colour,)) for key, (colour, said) in captions.items()]
    return encode_library(photos, ToyInterface(), SILENT)


def test_texts_find_the_photo_that_pixels_cannot(library):
    outcome = texts(library, SILENT)
    figures = outcome.figures
    assert figures["caption"]["n"] == figures["caption_with_text"]["n"] == 4
    assert figures["caption"]["IR@1"] < 100 and figures["caption_with_text"]["IR@1"] == 100
    assert (
        figures["caption_to_text"]["IR@1"] == 100 and outcome.arrays["texts_caption_to_text_ranks"].tolist() == [1] * 4
    )


def test_a_photo_finds_its_text(library):
    figures = texts(library, SILENT).figures["photo_to_text"]
    assert figures["n"] == 4 and figures["TR@10"] == 100 and figures["TR@1"] >= 50


def test_the_phrase_that_names_the_label_is_lit(library):
    figures = texts(library, SILENT).figures
    assert (figures["lighting"], figures["lit"]) == (100, 4)
