"""A drawn pack: photos of discs, one colour a thing, with captions, labels and masks, as an annotated set has them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from interleave_index.evaluation.packs import PackPhoto, PackRegion
from interleave_index.geometry import box_of, encode_rle
from interleave_index.interface.toy import COLOURS
from interleave_index.records import BoolMask
from tests.oracles.world import World

SIZE = (80, 120)
THINGS = ("dog", "cat", "kite", "boat", "lamp", "cup")
SCOPE = "all 6 things"


def disc(x: float, y: float, radius: float) -> BoolMask:
    """Mask of the pixels whose centres lie within `radius` of (x, y)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    mask: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def drawn(number: int) -> PackPhoto:
    """Photo n shows thing n and the next but one of the list, as discs; every second one shows the first twice."""
    pixels = np.full((*SIZE, 3), 255, np.uint8)
    pixels[:, number * 5] = 250  # no two photos have the same pixels
    names = [THINGS[number % 6], THINGS[(number + 2) % 6]]
    masks = [disc(30, 30, 14 + number % 5), disc(85, 50, 18)]
    if number % 2:
        names.append(names[0])
        masks.append(disc(30, 66, 10))
    for name, mask in zip(names, masks, strict=True):
        pixels[mask] = list(COLOURS.values())[THINGS.index(name)]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    regions = [
        PackRegion(name, "instance", box_of(mask), float(mask.sum()), encode_rle(mask))
        for name, mask in zip(names, masks, strict=True)
    ]
    caption = f"shot {number} of a {names[0]} next to a {names[1]}"
    labels = tuple(dict.fromkeys(names))
    return PackPhoto(
        f"p{number:02}", "drawn", file.getvalue(), SIZE[1], SIZE[0], (caption,), labels, tuple(regions), SCOPE
    )


@pytest.fixture(scope="session")
def world() -> World:
    return World([drawn(number) for number in range(24)])
