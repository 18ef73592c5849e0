"""Pictures drawn by code: simple scenes for the demo, the same on every machine.

Knows Pillow and nothing else of the package. Coordinates are shares of the picture, (0, 0) at the top left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..records import RGB

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, HEIGHT = 640, 480
FINER = 2  # drawn at this many times the size, then averaged down, so that edges are smooth

Colour = tuple[int, int, int]
Point = tuple[float, float]

RED, BLUE, YELLOW, GREEN = (204, 46, 42), (44, 84, 190), (246, 204, 60), (62, 140, 66)
WHITE, BLACK, BROWN, GREY = (250, 250, 248), (28, 28, 32), (112, 74, 46), (128, 130, 136)
DAY, DUSK, NIGHT = ((96, 164, 228), (206, 228, 246)), ((92, 66, 120), (246, 160, 96)), ((8, 12, 36), (34, 44, 92))


class Sheet:
    """A picture in the making; every method draws one thing over what is there."""

    def __init__(self, top: Colour, bottom: Colour) -> None:
        from PIL import Image, ImageDraw

        share = np.linspace(0, 1, HEIGHT * FINER)[:, None, None]
        rows = np.array(top) * (1 - share) + np.array(bottom) * share
        pixels = np.broadcast_to(rows, (HEIGHT * FINER, WIDTH * FINER, 3)).round().astype(np.uint8)
        self._image = Image.fromarray(np.ascontiguousarray(pixels))
        self._pen: ImageDraw.ImageDraw = ImageDraw.Draw(self._image)

    def pixels(self) -> RGB:
        """(480, 640, 3) uint8, with a faint grain, as a camera would leave."""
        from PIL import Image

        small = np.asarray(self._image.resize((WIDTH, HEIGHT), Image.Resampling.BOX), np.float32)
        grain = np.random.default_rng(7).normal(0, 3, small.shape[:2])[..., None]
        return np.clip(small + grain, 0, 255).round().astype(np.uint8)

    def area(self, colour: Colour, *points: Point) -> None:
        """A filled polygon."""
        self._pen.polygon([self._at(p) for p in points], fill=colour)

    def block(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled rectangle."""
        self._pen.rectangle([self._at((x0, y0)), self._at((x1, y1))], fill=colour)

    def disc(self, colour: Colour, x: float, y: float, radius: float, tall: float = 1.0) -> None:
        """A filled disc; radius as a share of the width, `tall` stretches it upright."""
        across, down = radius, radius * WIDTH / HEIGHT * tall
        self._pen.ellipse([self._at((x - across, y - down)), self._at((x + across, y + down))], fill=colour)

    def line(self, colour: Colour, *points: Point, width: float = 0.006) -> None:
        """A line through points; width as a share of the picture's width."""
        self._pen.line([self._at(p) for p in points], fill=colour, width=max(1, round(width * WIDTH * FINER)))

    def _at(self, point: Point) -> Point:
        return point[0] * WIDTH * FINER, point[1] * HEIGHT * FINER


def _ground(sheet: Sheet, colour: Colour, horizon: float) -> None:
    for step in range(24):  # nearer ground is a little darker
        y = horizon + (1 - horizon) * step / 24
        shade = 1 - 0.2 * step / 24
        sheet.block(tuple(round(c * shade) for c in colour), 0, y, 1, 1)  # type: ignore[arg-type]


def _sea(sheet: Sheet, colour: Colour, horizon: float) -> None:
    _ground(sheet, colour, horizon)
    light = tuple(min(255, c + 34) for c in colour)
    for n in range(26):
        y, x = horizon + (1 - horizon) * (n + 1) / 27, (n * 0.381966) % 0.9
        sheet.line(light, (x, y), (x + 0.05 + 0.06 * n / 26, y), width=0.003)  # type: ignore[arg-type]


def _boat(sheet: Sheet, x: float, y: float, size: float, sail: Colour, hull: Colour = BROWN) -> None:
    sheet.line(BLACK, (x, y), (x, y - 0.9 * size), width=0.006)
    sheet.area(sail, (x + 0.02, y - 0.88 * size), (x + 0.02, y - 0.1 * size), (x + 0.5 * size, y - 0.1 * size))
    sheet.area(WHITE, (x - 0.02, y - 0.7 * size), (x - 0.02, y - 0.1 * size), (x - 0.32 * size, y - 0.1 * size))
    sheet.area(
        hull,
        (x - 0.45 * size, y - 0.04 * size),
        (x + 0.55 * size, y - 0.04 * size),
        (x + 0.38 * size, y + 0.14 * size),
        (x - 0.3 * size, y + 0.14 * size),
    )


def _house(sheet: Sheet, x: float, y: float, size: float, wall: Colour, roof: Colour) -> None:
    sheet.block(wall, x - size / 2, y - 0.75 * size, x + size / 2, y)
    sheet.area(roof, (x - 0.6 * size, y - 0.75 * size), (x, y - 1.3 * size), (x + 0.6 * size, y - 0.75 * size))
    sheet.block(BROWN, x - 0.09 * size, y - 0.42 * size, x + 0.09 * size, y)
    for side in (-0.3, 0.3):
        left, top = x + side * size - 0.1 * size, y - 0.6 * size
        sheet.block(WHITE, left, top, left + 0.2 * size, top + 0.24 * size)
        sheet.block((150, 196, 222), left + 0.02 * size, top + 0.03 * size, left + 0.18 * size, top + 0.21 * size)


def _tree(sheet: Sheet, x: float, y: float, size: float, leaves: Colour = GREEN) -> None:
    sheet.block(BROWN, x - 0.05 * size, y - 0.5 * size, x + 0.05 * size, y)
    for dx, dy, radius in ((-0.16, 0.58, 0.19), (0.16, 0.6, 0.19), (0, 0.78, 0.22)):
        sheet.disc(leaves, x + dx * size, y - dy * size, radius * size)


def _fir(sheet: Sheet, x: float, y: float, size: float) -> None:
    sheet.block(BROWN, x - 0.03 * size, y - 0.15 * size, x + 0.03 * size, y)
    for low, half in ((0.1, 0.3), (0.35, 0.24), (0.6, 0.17)):
        sheet.area(
            (34, 92, 62),
            (x - half * size, y - low * size),
            (x, y - (low + 0.42) * size),
            (x + half * size, y - low * size),
        )


def _car(sheet: Sheet, x: float, y: float, size: float, paint: Colour) -> None:
    sheet.area(
        paint,
        (x - 0.26 * size, y - 0.28 * size),
        (x - 0.15 * size, y - 0.5 * size),
        (x + 0.15 * size, y - 0.5 * size),
        (x + 0.29 * size, y - 0.28 * size),
    )
    sheet.block(paint, x - 0.5 * size, y - 0.3 * size, x + 0.5 * size, y - 0.08 * size)
    for left, right in ((-0.2, -0.02), (0.02, 0.2)):
        sheet.block((186, 214, 230), x + left * size, y - 0.46 * size, x + right * size, y - 0.31 * size)
    for wheel in (-0.29, 0.29):
        sheet.disc(BLACK, x + wheel * size, y - 0.07 * size, 0.095 * size)
        sheet.disc(GREY, x + wheel * size, y - 0.07 * size, 0.045 * size)
    sheet.block(YELLOW, x + 0.45 * size, y - 0.26 * size, x + 0.5 * size, y - 0.2 * size)


def _balloon(sheet: Sheet, x: float, y: float, size: float, one: Colour, other: Colour) -> None:
    for side in (-0.1, 0.1):
        sheet.line(BLACK, (x + 2.2 * side * size, y + 0.3 * size), (x + side * size, y + 0.86 * size), width=0.004)
    sheet.disc(one, x, y, 0.4 * size)
    sheet.disc(other, x, y, 0.24 * size, 1.66)
    sheet.disc(one, x, y, 0.08 * size, 5)
    sheet.block(BROWN, x - 0.11 * size, y + 0.84 * size, x + 0.11 * size, y + 1.02 * size)


def _stars(sheet: Sheet, count: int) -> None:
    for n in range(count):
        sheet.disc(WHITE, (n * 0.618034) % 1, (n * 0.754878) % 0.5, 0.002 + 0.0015 * (n % 3))


def _road(sheet: Sheet, y: float) -> None:
    sheet.block((74, 76, 82), 0, y, 1, min(1, y + 0.2))
    for n in range(7):
        sheet.block(WHITE, n / 6 - 0.05, y + 0.095, n / 6 + 0.02, y + 0.11)


def sailing_boat_by_day() -> Sheet:
    """A boat with a red sail on a blue sea under the sun."""
    sheet = Sheet(*DAY)
    sheet.disc(YELLOW, 0.82, 0.17, 0.07)
    _sea(sheet, (38, 104, 168), 0.58)
    _boat(sheet, 0.42, 0.74, 0.5, RED)
    return sheet


def sailing_boat_by_night() -> Sheet:
    """A boat on a dark sea under the moon and stars."""
    sheet = Sheet(*NIGHT)
    _stars(sheet, 60)
    sheet.disc((238, 236, 214), 0.2, 0.2, 0.06)
    _sea(sheet, (16, 30, 66), 0.6)
    _boat(sheet, 0.58, 0.78, 0.46, (214, 206, 180))
    return sheet


def red_house() -> Sheet:
    """A red house and a tree on a green meadow."""
    sheet = Sheet(*DAY)
    _ground(sheet, (104, 170, 78), 0.6)
    _house(sheet, 0.38, 0.8, 0.36, RED, (92, 60, 52))
    _tree(sheet, 0.8, 0.82, 0.5)
    return sheet


def house_in_snow() -> Sheet:
    """A blue house between firs in the snow."""
    sheet = Sheet((170, 186, 206), (226, 234, 242))
    _ground(sheet, (240, 243, 248), 0.62)
    for x, y, size in ((0.12, 0.76, 0.5), (0.3, 0.7, 0.36), (0.9, 0.8, 0.56)):
        _fir(sheet, x, y, size)
    _house(sheet, 0.58, 0.82, 0.32, BLUE, WHITE)
    return sheet


def red_car() -> Sheet:
    """A red car on a road past fields."""
    sheet = Sheet(*DAY)
    _ground(sheet, (138, 176, 84), 0.52)
    _tree(sheet, 0.14, 0.64, 0.34)
    _road(sheet, 0.68)
    _car(sheet, 0.54, 0.84, 0.52, RED)
    return sheet


def yellow_car_by_night() -> Sheet:
    """A yellow car on a road at night, lit windows behind it."""
    sheet = Sheet(*NIGHT)
    _stars(sheet, 40)
    for n, (height, width) in enumerate(((0.42, 0.2), (0.56, 0.16), (0.36, 0.22), (0.5, 0.18), (0.4, 0.24))):
        left = (0.0, 0.2, 0.36, 0.58, 0.76)[n]
        sheet.block((42, 44, 70), left, 0.7 - height, left + width, 0.7)
        for k in range(8):
            x, y = left + 0.03 + 0.05 * (k % 3), 0.74 - height + 0.09 * (k // 3)
            sheet.block(YELLOW if (k + n) % 3 else (60, 60, 70), x, y, x + 0.025, y + 0.045)
    _road(sheet, 0.7)
    _car(sheet, 0.46, 0.87, 0.5, YELLOW)
    return sheet


def hot_air_balloon() -> Sheet:
    """A red and yellow hot-air balloon over hills."""
    sheet = Sheet(*DAY)
    for x in (0.1, 0.55, 0.95):
        sheet.disc((88, 146, 84), x, 1.02, 0.34, 0.6)
    _balloon(sheet, 0.5, 0.34, 0.5, RED, YELLOW)
    return sheet


def balloons_at_dusk() -> Sheet:
    """Three balloons against an evening sky."""
    sheet = Sheet(*DUSK)
    _ground(sheet, (58, 46, 62), 0.86)
    for x, y, size, one in ((0.24, 0.36, 0.3, BLUE), (0.56, 0.26, 0.24, GREEN), (0.8, 0.46, 0.32, RED)):
        _balloon(sheet, x, y, size, one, WHITE)
    return sheet


def fruit() -> Sheet:
    """Apples and oranges on a wooden table."""
    sheet = Sheet((214, 206, 190), (196, 184, 164))
    _ground(sheet, (158, 108, 66), 0.5)
    for n in range(6):
        sheet.line((134, 88, 52), (0, 0.56 + 0.08 * n), (1, 0.57 + 0.08 * n), width=0.003)
    for x, y, paint in ((0.24, 0.58, RED), (0.48, 0.66, (238, 138, 40)), (0.7, 0.56, GREEN), (0.34, 0.78, RED)):
        sheet.disc(tuple(round(c * 0.4) for c in (158, 108, 66)), x, y + 0.13, 0.1, 0.3)  # type: ignore[arg-type]
        sheet.disc(paint, x, y, 0.105)
        sheet.disc(tuple(min(255, c + 60) for c in paint), x - 0.035, y - 0.05, 0.025)  # type: ignore[arg-type]
        sheet.line(BROWN, (x, y - 0.12), (x + 0.015, y - 0.18), width=0.008)
    return sheet


def beach_ball() -> Sheet:
    """A ball of many colours on a beach."""
    sheet = Sheet(*DAY)
    _sea(sheet, (60, 142, 190), 0.42)
    _ground(sheet, (230, 206, 150), 0.62)
    for n in range(6):
        start, end = math.tau * n / 6, math.tau * (n + 1) / 6
        arc = [start + (end - start) * k / 12 for k in range(13)]
        rim = [(0.5 + 0.15 * math.cos(a), 0.72 + 0.2 * math.sin(a)) for a in arc]
        sheet.area((RED, WHITE, BLUE, WHITE, YELLOW, WHITE)[n], (0.5, 0.72), *rim)
    return sheet


def mountain_lake() -> Sheet:
    """Mountains with snow behind a lake, firs on the shore."""
    sheet = Sheet(*DAY)
    for x, top, half in ((0.25, 0.16, 0.34), (0.7, 0.24, 0.36), (0.98, 0.3, 0.26)):
        sheet.area((104, 112, 128), (x - half, 0.62), (x, top), (x + half, 0.62))
        sheet.area(
            WHITE, (x - 0.26 * half, top + 0.26 * (0.62 - top)), (x, top), (x + 0.26 * half, top + 0.26 * (0.62 - top))
        )
    _sea(sheet, (64, 122, 150), 0.6)
    for x, size in ((0.06, 0.44), (0.2, 0.34), (0.88, 0.48)):
        _fir(sheet, x, 0.66, size)
    return sheet


def harbour() -> Sheet:
    """A boat before a house on the shore, under a wide sky: the picture that the demo asks with."""
    sheet = Sheet((150, 178, 204), (222, 226, 228))
    _ground(sheet, (122, 150, 96), 0.5)
    _house(sheet, 0.76, 0.58, 0.26, (214, 176, 120), (150, 74, 58))
    _tree(sheet, 0.56, 0.57, 0.26)
    _sea(sheet, (62, 110, 140), 0.62)
    _boat(sheet, 0.28, 0.8, 0.52, RED)
    return sheet


SKY_OF_HARBOUR = (0.0, 0.0, 640.0, 144.0)  # box in pixels around the sky of `harbour`, above the sail

SCENES: dict[str, Callable[[], Sheet]] = {
    "sailing-boat-by-day": sailing_boat_by_day,
    "sailing-boat-by-night": sailing_boat_by_night,
    "red-house": red_house,
    "house-in-snow": house_in_snow,
    "red-car": red_car,
    "yellow-car-by-night": yellow_car_by_night,
    "hot-air-balloon": hot_air_balloon,
    "balloons-at-dusk": balloons_at_dusk,
    "fruit": fruit,
    "beach-ball": beach_ball,
    "mountain-lake": mountain_lake,
}
