"""Bars as an SVG picture, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

WIDTH, LABEL, BAR, GAP = 720, 200, 22, 8


def bars(values: Mapping[str, float], title: str, *, log: bool = False) -> str:
    """Horizontal bars, one a name, each with its number.

    Args:
        values: by name, positive.
        log: lengths go by the logarithm, from the power of ten below the least value on.

    >>> picture = bars({"one": 10.0, "two": 1000.0}, "speed", log=True)
    >>> picture.count("<rect"), "1,000" in picture
    (3, True)
    """
    least = 10 ** math.floor(math.log10(min(values.values()) * 0.99)) if log else 0.0
    top = max(values.values())

    def length(value: float) -> float:
        share = math.log(value / least) / math.log(top / least) if log else value / top
        return (WIDTH - LABEL - 110) * share

    height = 44 + (BAR + GAP) * len(values)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="22" font-weight="bold">{escape(title)}{" (logarithmic)" if log else ""}</text>',
    ]
    for number, (name, value) in enumerate(values.items()):
        y = 36 + number * (BAR + GAP)
        shown = f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length(value):.1f}" height="{BAR}" fill="#3b6ea5"/>',
            f'<text x="{LABEL + length(value) + 6:.1f}" y="{y + 16}">{shown}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
