"""One stable colour for every entity of a query, distinct for most colour-blind eyes as well.

Pictures, reports and the page all take their colours from here. Knows numbers and colours only.
"""

from __future__ import annotations

# The qualitative palette of Okabe and Ito (2008) without black, brightest against photos first. After them five that
# were searched for: as far as possible from those before by CIEDE2000, for usual eyes and for each kind of colour
# blindness (Machado et al. 2009), neither so dark nor so light nor so grey that they vanish on a screen's ground.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (0, 252, 252),
    (168, 24, 120),
    (180, 228, 180),
    (180, 0, 12),
    (24, 96, 72),
)


def colour_of(entity: int) -> tuple[int, int, int]:
    """RGB of the entity at this position of the query, 0-based; after twelve the colours come again.

    >>> colour_of(0), colour_of(12) == colour_of(0)
    ((230, 159, 0), True)
    """
    return PALETTE[entity % len(PALETTE)]


def hex_of(colour: tuple[int, int, int]) -> str:
    """The colour as CSS writes it.

    >>> hex_of((230, 159, 0))
    '#e69f00'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def ink_on(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever reads better on the colour (relative luminance, WCAG 2).

    >>> ink_on((240, 228, 66)), ink_on((0, 114, 178))
    ('#000', '#fff')
    """
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#fff"
