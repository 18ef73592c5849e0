"""Masks as other programs write them mark what they mean."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from interleave_index.ingest.decode import load_picture
from interleave_index.query.pixels import marked
from interleave_index.records import Picture

SIZE = (48, 64)
PHOTO = np.zeros((*SIZE, 3), np.uint8)
WANTED = np.zeros(SIZE, bool)
WANTED[10:30, 20:50] = True


def layered(colour: tuple[int, int, int], ground: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """A part in one colour, all else transparent and of another."""
    layers = np.zeros((*SIZE, 4), np.uint8)
    layers[..., :3] = ground
    layers[WANTED] = (*colour, 255)
    return Image.fromarray(layers)


def grey_with_alpha() -> Image.Image:
    white, alpha = np.full(SIZE, 255, np.uint8), WANTED.astype(np.uint8) * 255
    return Image.merge("LA", [Image.fromarray(white), Image.fromarray(alpha)])


def indexed() -> Image.Image:
    image = Image.fromarray(WANTED.astype(np.uint8) * 3).convert("P")
    image.putpalette([255, 255, 255] * 256)
    image.info["transparency"] = 0
    return image


OPAQUE = np.full(SIZE, 255, np.uint8)
MASKS = {
    "white on transparent white": layered((255, 255, 255), (255, 255, 255)),
    "red on transparent black": layered((200, 0, 0)),
    "a black drawing on transparent": layered((0, 0, 0)),
    "grey with alpha": grey_with_alpha(),
    "labels of 16 bits": Image.fromarray(WANTED.astype(np.uint16) * 7),
    "plain white on black": Image.fromarray(WANTED.astype(np.uint8) * 255),
    "opaque with alpha": Image.fromarray(np.dstack([*[WANTED.astype(np.uint8) * 255] * 3, OPAQUE])),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_mask_marks_its_part(name, suffix, tmp_path):
    file = tmp_path / f"mask{suffix}"
    MASKS[name].save(file)
    mask, _ = marked(Picture(PHOTO, mask=file), PHOTO, load_picture)
    assert mask is not None and np.array_equal(mask, WANTED)


def test_a_palette_with_a_transparent_entry_marks_the_others(tmp_path):
    indexed().save(tmp_path / "mask.png", transparency=0)
    mask, _ = marked(Picture(PHOTO, mask=tmp_path / "mask.png"), PHOTO, load_picture)
    assert mask is not None and np.array_equal(mask, WANTED)
