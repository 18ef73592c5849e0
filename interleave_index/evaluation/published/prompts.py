"""What a user would draw on a thing: the prompts of interactive evaluation, and random ones for visual entities.

All prompts are masks of the photo's size. Everything random takes a generator, so that a run can be repeated; the
published evaluation draws from the clock. Sizes of brushes are pixels, as published, whatever the photo's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...records import BoolMask

KINDS = ("Point", "Circle", "Scribble", "Polygon", "Box")
SMALLEST = 10  # pixels of a thing under which a random prompt stays empty
MOST_POINTS, MOST_STROKES, MOST_CORNERS = 20, 5, 9


@dataclass(frozen=True, slots=True)
class Brush:
    """A random walk of the hand: numbers of turns, top speed and sharpest turn a step, and widths in pixels."""

    turns: tuple[int, int]
    speed: float
    bend: float
    width: tuple[int, int]


THIN = (Brush((10, 30), 20.0, 0.5, (3, 10)), Brush((6, 22), 12.0, 0.5, (2, 5)))
THICK = (Brush((5, 30), 15.0, 1.5, (20, 50)), Brush((5, 15), 8.0, 1.5, (20, 50)), Brush((5, 20), 7.0, 1.5, (10, 30)))


def centre_of(mask: BoolMask) -> tuple[int, int]:
    """(row, column) of the pixel farthest from everything outside, the border of the photo included.

    >>> mask = np.zeros((7, 9), bool); mask[1:6, 2:7] = True
    >>> centre_of(mask)
    (3, 4)
    """
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(column)


def first_prompt(mask: BoolMask, kind: str, rng: np.random.Generator) -> BoolMask:
    """The prompt that interactive evaluation begins with.

    Args:
        mask: (H, W) of the thing, at least one pixel.
        kind: ``Point`` is 3 x 3 pixels at the centre; ``Circle`` and ``Scribble`` one thick or thin stroke from
            there, inside the thing; ``Polygon`` a closed curve through some of its pixels; ``Box`` is, as published,
            3 x 3 pixels at the centre of its box.
    Raises:
        ConfigError: another kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"prompt is {kind!r}, expected one of {', '.join(KINDS)}")
    if not mask.any():
        return np.zeros_like(mask)
    if kind == "Polygon":
        return _curve(mask, rng)
    if kind == "Box":
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        mask = np.zeros_like(mask)
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    row, column = centre_of(mask)
    if kind in ("Point", "Box"):
        return _dot(mask.shape, row, column)
    brushes = THICK if kind == "Circle" else THIN
    return _stroke(mask.shape, (row, column), brushes[int(rng.integers(len(brushes)))], rng) & mask


def random_prompt(mask: BoolMask, rng: np.random.Generator) -> BoolMask:
    """A prompt as training draws it: points, a polygon, scribbles or circles with the same chance.

    Args:
        mask: (H, W) of the thing.
    Returns:
        (H, W); nothing for a thing of fewer than 10 pixels.
    """
    if mask.sum() < SMALLEST:
        return np.zeros_like(mask)
    kind = int(rng.integers(4))
    if kind == 0:
        drawn = np.zeros_like(mask)
        drawn[tuple(_some_pixels(mask, int(rng.integers(1, MOST_POINTS + 1)), rng).T)] = True
        return drawn
    if kind == 1:
        return _curve(mask, rng)
    brushes, drawn = THIN if kind == 2 else THICK, np.zeros_like(mask)
    brush = brushes[int(rng.integers(len(brushes)))]
    for row, column in _some_pixels(mask, int(rng.integers(1, MOST_STROKES + 1)), rng):
        drawn |= _stroke(mask.shape, (int(row), int(column)), brush, rng)
    return drawn & mask


def _some_pixels(mask: BoolMask, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    pixels = np.argwhere(mask)
    return pixels[rng.choice(len(pixels), min(count, len(pixels)), replace=False)]


def _dot(size: tuple[int, ...], row: int, column: int) -> BoolMask:
    drawn = np.zeros(size, bool)
    drawn[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    return drawn


def _stroke(size: tuple[int, ...], start: tuple[int, int], brush: Brush, rng: np.random.Generator) -> BoolMask:
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (size[1], size[0]))
    draw, width = ImageDraw.Draw(canvas), int(rng.integers(*brush.width))
    y, x = map(float, start)
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, brush.speed)
    path = [(x, y)]
    for _ in range(int(rng.integers(*brush.turns))):
        speed = float(np.clip(speed + rng.uniform(-brush.speed, brush.speed), 0, brush.speed))
        angle += rng.uniform(-brush.bend, brush.bend)
        x, y = x + speed * np.sin(angle), y + speed * np.cos(angle)
        path.append((x, y))
    draw.line(path, fill=1, width=width)
    radius = max(0, width // 2 - 1)
    for x, y in path:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    drawn: BoolMask = np.array(canvas)
    drawn[start] = True
    return drawn


def _curve(mask: BoolMask, rng: np.random.Generator) -> BoolMask:
    """A closed smooth curve through 1 to 9 pixels of the mask, in the order around their middle; not filled."""
    corners = _some_pixels(mask, int(rng.integers(1, MOST_CORNERS + 1)), rng).astype(float)
    middle = corners.mean(0)
    corners = corners[np.argsort(np.arctan2(*(corners - middle).T))]
    before, after, later = np.roll(corners, 1, 0), np.roll(corners, -1, 0), np.roll(corners, -2, 0)
    share = np.linspace(0, 1, 100)[:, None, None]
    first, second = corners + (after - before) / 6, after - (later - corners) / 6
    points = (
        (1 - share) ** 3 * corners
        + 3 * (1 - share) ** 2 * share * first
        + 3 * (1 - share) * share**2 * second
        + share**3 * after
    ).reshape(-1, 2)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    points = np.clip(np.rint(points), (rows[0], columns[0]), (rows[-1], columns[-1])).astype(int)
    drawn = np.zeros_like(mask)
    drawn[tuple(points.T)] = True
    return drawn
