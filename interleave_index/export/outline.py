"""From a mask to an SVG path: follow the border, drop what the eye does not see.

Pure functions on arrays. Knows no records and no page.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask

Loop = NDArray[np.float64]  # (K, 2) x, y of a closed line; the last point joins the first


def border_loops(mask: BoolMask) -> list[Loop]:
    """Closed lines around a mask, through the middles of the pixel sides that separate inside from outside.

    Args:
        mask: (H, W) bool.
    Returns:
        One (K, 2) array of x, y a loop, outer borders and holes alike; filled by the even-odd rule they give
        the mask back. Empty for an empty mask.

    >>> [loop.tolist() for loop in border_loops(np.array([[True]]))]
    [[[0.5, 0.0], [1.0, 0.5], [0.5, 1.0], [0.0, 0.5]]]
    """
    following = _sides(mask)
    loops: list[Loop] = []
    while following:
        start = next(iter(following))
        corners, here = [start], start
        while True:
            ends = following[here]
            there = ends.pop()
            if not ends:
                del following[here]
            if there == start:
                break
            corners.append(there)
            here = there
        line = np.array(corners, np.float64)
        loops.append((line + np.roll(line, -1, axis=0)) / 2)
    return loops


def _sides(mask: BoolMask) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Corner -> next corners along pixel sides, with the inside to the right hand (y points down)."""
    padded = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    lying = padded[1:, 1:-1].astype(np.int8) - padded[:-1, 1:-1]  # +1: inside below the line
    for y, x in np.argwhere(lying).tolist():
        a, b = ((x, y), (x + 1, y)) if lying[y, x] > 0 else ((x + 1, y), (x, y))
        following.setdefault(a, []).append(b)
    standing = padded[1:-1, 1:].astype(np.int8) - padded[1:-1, :-1]  # +1: inside right of the line
    for y, x in np.argwhere(standing).tolist():
        a, b = ((x, y + 1), (x, y)) if standing[y, x] > 0 else ((x, y), (x, y + 1))
        following.setdefault(a, []).append(b)
    return following


def simplify(loop: Loop, tolerance: float) -> Loop:
    """Drop the points of a closed line that lie within `tolerance` of the line through the others.

    Source: Ramer 1972; Douglas and Peucker 1973, on the two halves between the first point and the farthest.

    >>> simplify(np.array([[0, 0], [2, 0.1], [4, 0], [4, 4], [0, 4]], float), 0.5).tolist()
    [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]
    """
    if len(loop) < 4:
        return loop
    line = np.vstack([loop, loop[:1]])
    far = int(((loop - loop[0]) ** 2).sum(1).argmax())
    keep = np.zeros(len(line), bool)
    keep[[0, far, len(loop)]] = True
    spans = [(0, far), (far, len(loop))]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distances = _from_line(line[first + 1 : last], line[first], line[last])
        worst = int(distances.argmax())
        if distances[worst] > tolerance:
            middle = first + 1 + worst
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return line[:-1][keep[:-1]]


def _from_line(points: Loop, a: Loop, b: Loop) -> NDArray[np.float64]:
    """Distances of points from the segment a-b (from a, when both are one)."""
    along = b - a
    length = float(along @ along)
    share = np.clip((points - a) @ along / length, 0, 1) if length else np.zeros(len(points))
    aside = points - (a + share[:, None] * along)
    return np.hypot(aside[:, 0], aside[:, 1])


def svg_path(mask: BoolMask, *, tolerance: float = 0.6, smallest: float = 6.0) -> str:
    """The mask as the ``d`` of an SVG path in mask pixels, to be filled by the even-odd rule.

    Args:
        mask: (H, W) bool.
        tolerance: how far the line may leave the border, in pixels.
        smallest: loops that enclose fewer square pixels are dropped, unless that would leave nothing.
    Returns:
        Path data in digits and letters only; empty for an empty mask.
    """
    loops = border_loops(mask)
    large = [loop for loop in loops if abs(_area(loop)) >= smallest] or loops
    return "".join(_closed(simplify(loop, tolerance)) for loop in large)


def _area(loop: Loop) -> float:
    x, y = loop.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2)


def _closed(loop: Loop) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in loop.round(1).tolist()) + "Z"


def label_point(mask: BoolMask) -> tuple[float, float]:
    """x, y of the pixel centre that lies deepest inside the mask: where a label fits best.

    >>> label_point(np.ones((3, 5), bool))[1]
    1.5
    """
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(x) + 0.5, float(y) + 0.5
