"""Photos drawn by code, so that their masks are known, and a real index over them with a weightless interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from interleave_index.interface.toy import COLOURS
from interleave_index.records import RGB, BoolMask

SIZE = (96, 128)  # height, width


@dataclass(frozen=True)
class DrawnPhoto:
    """One drawn picture: where it lies, its pixels, and the mask of every shape by colour."""

    path: str
    rgb: RGB
    masks: dict[str, BoolMask]

    @property
    def mask(self) -> BoolMask:
        """The first shape's mask, (96, 128) bool."""
        return next(iter(self.masks.values()))


@dataclass(frozen=True)
class DrawnPhotos:
    """Six pictures in one folder; every name says what is on it."""

    folder: Path
    red_disc: DrawnPhoto
    green_square: DrawnPhoto
    blue_triangle: DrawnPhoto
    yellow_disc_on_black: DrawnPhoto
    red_disc_and_blue_square: DrawnPhoto
    purple_stripe: DrawnPhoto

    def __iter__(self) -> Iterator[DrawnPhoto]:
        return (value for value in vars(self).values() if isinstance(value, DrawnPhoto))


def disc(x: float, y: float, radius: float) -> BoolMask:
    """(96, 128) mask of the pixels whose centres lie within `radius` of (x, y)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    mask: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def rectangle(x0: int, y0: int, x1: int, y1: int) -> BoolMask:
    """(96, 128) mask of a half-open rectangle."""
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def triangle() -> BoolMask:
    """(96, 128) mask of a right-angled triangle below a diagonal."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask: BoolMask = (rows < 80) & (columns >= 20) & (rows - 20 >= columns - 20)
    return mask


def paint(shapes: dict[str, BoolMask], ground: str = "white") -> RGB:
    """(96, 128, 3) uint8 picture of the shapes in the colours that name them."""
    rgb = np.empty((*SIZE, 3), np.uint8)
    rgb[:] = COLOURS[ground]
    for colour, mask in shapes.items():
        rgb[mask] = COLOURS[colour]
    return rgb


def save(rgb: RGB, path: Path) -> str:
    """Write a PNG, losslessly, and give back its path."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)
    return str(path)


@pytest.fixture(scope="session")
def drawn_photos(tmp_path_factory: pytest.TempPathFactory) -> DrawnPhotos:
    """Six PNG files in one folder; read only."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    scenes: dict[str, tuple[str, dict[str, BoolMask]]] = {
        "red_disc": ("white", {"red": disc(60, 50, 30)}),
        "green_square": ("white", {"green": rectangle(30, 20, 80, 70)}),
        "blue_triangle": ("white", {"blue": triangle()}),
        "yellow_disc_on_black": ("black", {"yellow": disc(40, 40, 25)}),
        "red_disc_and_blue_square": ("white", {"red": disc(30, 48, 20), "blue": rectangle(70, 30, 110, 70)}),
        "purple_stripe": ("white", {"purple": rectangle(0, 40, 128, 60)}),
    }
    drawn = {}
    for name, (ground, shapes) in scenes.items():
        rgb = paint(shapes, ground)
        drawn[name] = DrawnPhoto(save(rgb, folder / f"{name}.png"), rgb, shapes)
    return DrawnPhotos(folder, **drawn)
