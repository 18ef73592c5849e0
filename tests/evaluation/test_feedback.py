"""Relevance feedback on labels whose photos look alike in something that their name does not say."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.evaluation.feedback import feedback
from interleave_index.evaluation.library import Library, encode_library
from interleave_index.evaluation.packs import PackPhoto
from interleave_index.interface.toy import COLOURS, ToyInterface


class Photo(PackPhoto):
    """One photo of a single colour, whose label the model does not know."""

    def rgb(self):
        return np.full((48, 64, 3), COLOURS[self.key.split()[0]], np.uint8)


@pytest.fixture(scope="module")
def library() -> Library:
    """Three classes of eight photos, each of one colour: their names say nothing to a model of colours."""
    named = {"glim": "red", "brusp": "blue", "floot": "green"}
    photos = [
        Photo(f"{colour} {number}", "classes", b"", 64, 48, (), (label,))
        for label, colour in named.items()
        for number in range(8)
    ]
    return encode_library(photos, ToyInterface(), lambda *_: None)


def test_photos_called_right_and_wrong_find_more_of_their_label(library):
    figures = feedback(library, seed=0, progress=lambda *_: None).figures
    assert figures["labels"] == 3 and figures["n"] == 18
    assert figures["after"] == 100 > figures["before"] and figures["gain"] > 0
    low, high = figures["interval"]
    assert low <= figures["gain"] <= high
