"""What a user would draw on a thing: the prompts of interactive evaluation, and random ones for visual entities.

All prompts are masks of the photo's size. Everything random takes a generator, so that a run can be repeated; the
published evaluation draws from the clock. Sizes of brushes are pixels, as published, whatever the photo's size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ...errors import ConfigError
from ...geometry import box_of
from ...grounding.marks import centre_of
from ...metrics import intersection_and_union
from ...records import BoolMask

KINDS = ("Point", "Circle", "Scribble", "Polygon", "Box")
SMALLEST = 10  # pixels of a thing under which a random prompt stays empty
MOST_POINTS, MOST_STROKES, MOST_CORNERS = 20, 5, 9
GOOD_ENOUGH = 0.925  # IoU from which nothing is clicked
CURVE_STEPS = 99  # points of a polygon's curve from corner to corner


@dataclass(frozen=True, slots=True)
class Brush:
    """A random walk of the hand: numbers of turns, top speed and sharpest turn a step, and widths in pixels."""

    turns: tuple[int, int]
    speed: float
    bend: float
    width: tuple[int, int]


THIN = (Brush((10, 30), 20.0, 0.5, (3, 10)), Brush((6, 22), 12.0, 0.5, (2, 5)))
THICK = (Brush((5, 30), 15.0, 1.5, (20, 50)), Brush((5, 15), 8.0, 1.5, (20, 50)), Brush((5, 20), 7.0, 1.5, (10, 30)))


def first_prompt(mask: BoolMask, kind: str, rng: Generator) -> BoolMask:
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
    if kind == "Polygon":
        return _curve(mask, rng)
    if kind == "Box":
        left, top, right, bottom = map(int, box_of(mask))
        mask = np.zeros_like(mask)
        mask[top:bottom, left:right] = True
    if kind in ("Point", "Box"):
        return _dot(mask)
    brushes = THICK if kind == "Circle" else THIN
    brush = brushes[int(rng.integers(len(brushes)))]
    return _stroke(mask.shape, centre_of(mask), brush, rng) & mask


def next_click(truth: BoolMask, predicted: BoolMask, clicked: BoolMask) -> tuple[BoolMask, bool]:
    """The centre of the larger kind of error: missed pixels if there are more of them, else wrong ones.

    Args:
        truth, predicted: (H, W) bool.
        clicked: (H, W) bool, pixels of all clicks so far; never clicked again.
    Returns:
        (H, W) bool, 3 x 3 pixels, and whether they are meant; none when the IoU is good enough, or no wrong pixel is
        left.
    Source: FIND's interactive evaluation, docs/find-interface.md.
    """
    intersection, union = intersection_and_union(predicted, truth)
    missed, wrong = truth & ~predicted & ~clicked, predicted & ~truth & ~clicked
    positive = bool(missed.sum() > wrong.sum())
    errors = missed if positive else wrong
    if intersection / (union + 1e-8) >= GOOD_ENOUGH or not errors.any():
        return np.zeros_like(truth), positive
    return _dot(errors), positive


def random_prompt(mask: BoolMask, rng: Generator, *, scale: float = 1.0) -> BoolMask:
    """A prompt as training draws it: points, a polygon, scribbles or circles with the same chance.

    Args:
        mask: (H, W) of the thing.
        scale: of the brushes, for masks that are kept smaller than their photo.
    Returns:
        (H, W); nothing for a thing of fewer than 10 pixels.
    """
    drawn = np.zeros_like(mask)
    if mask.sum() < SMALLEST:
        return drawn
    kind = rng.integers(4)
    if kind == 0:
        points = _random_pixels(mask, MOST_POINTS, rng)
        drawn[tuple(points.T)] = True
        return drawn
    if kind == 1:
        return _curve(mask, rng)
    brushes = THIN if kind == 2 else THICK
    brush = brushes[int(rng.integers(len(brushes)))]
    for row, column in _random_pixels(mask, MOST_STROKES, rng):
        drawn |= _stroke(mask.shape, (int(row), int(column)), brush, rng, scale)
    return drawn & mask


def _random_pixels(mask: BoolMask, most: int, rng: Generator) -> NDArray[np.int64]:
    """(n, 2) rows and columns of 1 to `most` pixels of the mask."""
    pixels = np.argwhere(mask)
    count = int(rng.integers(1, most + 1))
    return pixels[rng.choice(len(pixels), min(count, len(pixels)), replace=False)]


def _dot(mask: BoolMask) -> BoolMask:
    """3 x 3 pixels at the centre of a mask."""
    row, column = centre_of(mask)
    dot = np.zeros_like(mask)
    dot[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    return dot


def _stroke(
    size: tuple[int, ...], start: tuple[int, int], brush: Brush, rng: Generator, scale: float = 1.0
) -> BoolMask:
    """(H, W) of one random walk from (row, column)."""
    from PIL import Image, ImageDraw

    width, top_speed = max(1, round(int(rng.integers(*brush.width)) * scale)), brush.speed * scale
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, top_speed)
    y, x = map(float, start)
    path = [(x, y)]
    for _ in range(int(rng.integers(*brush.turns))):
        speed = float(np.clip(speed + rng.uniform(-top_speed, top_speed), 0, top_speed))
        angle += rng.uniform(-brush.bend, brush.bend)
        x, y = x + speed * np.sin(angle), y + speed * np.cos(angle)
        path.append((x, y))
    canvas = Image.new("1", (size[1], size[0]))
    draw = ImageDraw.Draw(canvas)
    draw.line(path, fill=1, width=width)
    radius = max(0, width // 2 - 1)
    for x, y in path:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    drawn: BoolMask = np.array(canvas)
    drawn[start] = True
    return drawn


def _curve(mask: BoolMask, rng: Generator) -> BoolMask:
    """A closed Catmull-Rom curve through 1 to 9 pixels of the mask, in the order around their middle; not filled."""
    from scipy.interpolate import CubicHermiteSpline

    corners = _random_pixels(mask, MOST_CORNERS, rng).astype(float)
    corners = corners[np.argsort(np.arctan2(*(corners - corners.mean(0)).T))]
    slopes = (np.roll(corners, -1, 0) - np.roll(corners, 1, 0)) / 2
    closed = np.arange(len(corners) + 1)
    spline = CubicHermiteSpline(closed, corners.take(closed, 0, mode="wrap"), slopes.take(closed, 0, mode="wrap"))
    points = np.rint(spline(np.linspace(0, len(corners), CURVE_STEPS * len(corners) + 1)))
    left, top, right, bottom = box_of(mask)
    rows, columns = np.clip(points, (top, left), (bottom - 1, right - 1)).astype(int).T
    drawn = np.zeros_like(mask)
    drawn[rows, columns] = True
    return drawn
