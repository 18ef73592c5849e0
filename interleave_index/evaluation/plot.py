"""A reliability plot: of what was given a chance of so much, how much came true. Drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..marks import png_options

SIDE, MARGIN, LEGEND = 480, 56, 190  # pixels: of the square of chances, around it, and to the right of it
COLOURS = {
    "words": "#1b6ca8",
    "bracketed": "#d1495b",
    "pictures": "#2e933c",
    "parts": "#b57ba6",
    "mixed_part": "#e08e1b",
    "mixed_word": "#5f6caf",
    "all": "#111111",
}
FEWEST = 5  # pairs in a bin; with fewer there is no point, as their share means nothing


def reliability_plot(figures: Mapping[str, Any], path: Path) -> None:
    """Draw one line a kind of query, chance across and share that is right upwards, over the diagonal of agreement.

    Args:
        figures: the ``judgement`` of a report: by kind of query ``ece`` and ``reliability``, rows of low edge, mean
            chance, share right, count.
        path: of a PNG file.
    Raises:
        InputError: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SIDE + 2 * MARGIN + LEGEND, SIDE + 2 * MARGIN), "white")
    draw = ImageDraw.Draw(picture)
    _frame(draw)
    for number, (kind, colour) in enumerate(COLOURS.items()):
        points = [_place(chance, right) for _, chance, right, count in figures[kind]["reliability"] if count >= FEWEST]
        draw.line(points, fill=colour, width=4 if kind == "all" else 2)
        for x, y in points:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=colour)
        top = MARGIN + 22 * number
        draw.rectangle((SIDE + MARGIN + 24, top, SIDE + MARGIN + 38, top + 14), fill=colour)
        words = f"{kind.replace('_', ' ')}: ECE {figures[kind]['ece']:.1f} %"
        draw.text((SIDE + MARGIN + 46, top), words, fill="black")
    try:
        picture.save(path, "PNG", **png_options("plot"))
    except OSError as error:
        raise InputError(f"plot {path} cannot be written: {error.strerror or error}") from error


def _frame(draw: Any) -> None:
    draw.line([_place(0, 0), _place(1, 1)], fill="#bbbbbb", width=2)
    draw.rectangle((*_place(0, 1), *_place(1, 0)), outline="black")
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        across, up = _place(tick, tick)
        draw.text((across - 8, SIDE + MARGIN + 8), f"{tick:.1f}", fill="black")
        draw.text((MARGIN - 26, up - 6), f"{tick:.1f}", fill="black")
    draw.text((MARGIN, MARGIN - 24), "share that is right, over the chance that was given", fill="black")


def _place(chance: float, right: float) -> tuple[float, float]:
    return MARGIN + SIDE * chance, MARGIN + SIDE * (1 - right)
