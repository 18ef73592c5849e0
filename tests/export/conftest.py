"""An answer drawn by hand: two photos, a positive and a negative entity, masks that can be counted."""

from dataclasses import replace

import numpy as np
import pytest

from interleave_index.geometry import box_of, encode_rle
from interleave_index.records import Answer, EntityHit, Grounding, Hit, Photo, Region

HOSTILE = "/pics/caf\udce9 <img src=x onerror=alert(1)>\u202e\n.jpg"


def square(size, x0, y0, x1, y1):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def region(photo_id, ordinal, mask, score=0.5):
    return Region(photo_id * 256 + ordinal, score, box_of(mask), encode_rle(mask))


def entity(text, regions, *, negative=False, present=True, kind="text"):
    grounding = Grounding("stored" if regions else "none", present, 0.4, probability=0.7 if present else 0.2)
    return EntityHit(text, kind, negative, 1.0, 0.4, grounding, regions)


@pytest.fixture
def answer():
    first = Photo(7, "/pics/red disc.jpg", width=40, height=30)
    second = Photo(9, HOSTILE, width=20, height=50)
    disc = region(7, 0, square((30, 40), 10, 5, 20, 15))
    small = region(9, 1, square((25, 10), 0, 0, 5, 5))  # stored at half the photo's size
    nothing = Region(9 * 256 + 2, 0.1, (0, 0, 0, 0), encode_rle(np.zeros((50, 20), bool)))
    hits = (
        Hit(1, first, 0.9, 0.8, (entity("red disc", (disc,)), entity("a <b>", (), negative=True, present=False))),
        Hit(
            2,
            second,
            0.5,
            0.1,
            (entity("red disc", (small, nothing), present=False), entity("a <b>", (small,), negative=True)),
        ),
    )
    return Answer("[red disc] -[a <b>]", "exact", hits, ("stored vectors stood in",), cutoff=0.5)


@pytest.fixture
def doubtful(answer):
    """The same photos, both meant; nobody is sure of the disc in the second."""
    return replace(answer, cutoff=0.05)


@pytest.fixture
def load_pixels():
    return lambda photo: np.full((photo.height, photo.width, 3), 120, np.uint8)
