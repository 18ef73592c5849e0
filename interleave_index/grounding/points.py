"""From a map to prompts: one prompt for every component of the map, so that two dogs become two masks.

A component grows from cells at or above 0.8 into what is connected at 0.6. Its points on the thing are the peak and
others far from it; points beside it are taken far away and, the useful ones, just outside. Nothing is a point twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..records import BoolMask, Floats, Prompt
from .grid import PatchGrid

SEED, GROWN, AWAY, NEAR = 0.8, 0.6, 0.2, 0.35  # of a map from 0 to 1
MOST_COMPONENTS, POSITIVES, NEGATIVES = 10, 5, 10
APART = 1.5  # cells between two points
RING = (2, 4)  # cells outside the component, where points beside the thing are worth most
BOX_CELLS = 3  # a component that spans fewer is prompted by points alone
INSET = 2.0  # pixels from the photo's border

Cells = NDArray[np.int64]  # (n, 2) rows and columns


@dataclass(frozen=True, slots=True)
class Component:
    """One connected place of a map.

    Attributes:
        cells: (h, w) bool.
        peak: row and column of its best cell.
        mean: of the raw map over its cells.
    """

    cells: BoolMask
    peak: tuple[int, int]
    mean: float


def components(stretched: Floats, raw: Floats, use: BoolMask) -> list[Component]:
    """The connected places of a map, best first by the mean of their raw values; at most ten.

    Args:
        stretched: (h, w), 0 to 1.
        raw: (h, w), the map before it was stretched.
        use: (h, w) bool, cells that may be part of one.
    Returns:
        Components of eight neighbours each; single cells only where there is nothing larger.
    """
    labels, count = ndimage.label((stretched >= GROWN) & use, np.ones((3, 3)))
    places = []
    for label in range(1, count + 1):
        cells = labels == label
        if stretched[cells].max() >= SEED:
            row, column = np.unravel_index(np.where(cells, raw, -np.inf).argmax(), raw.shape)
            places.append(Component(cells, (int(row), int(column)), float(raw[cells].mean())))
    larger = [place for place in places if place.cells.sum() > 1]
    return sorted(larger or places, key=lambda place: -place.mean)[:MOST_COMPONENTS]


def prompt_of(component: Component, stretched: Floats, use: BoolMask, grid: PatchGrid, others: Cells) -> Prompt:
    """What a segmenter is shown of one component.

    Args:
        component: of the map.
        stretched: (h, w), 0 to 1.
        use: (h, w) bool, cells inside the photo.
        grid: where the cells lie.
        others: (n, 2) rows and columns of the peaks of other components, and of other things that are asked for.
    Returns:
        At most five points on the thing, the peak first, at most ten beside it, and a box one cell wider than the
        component where it spans at least three cells.
    """
    inside = np.argwhere(component.cells & (stretched >= SEED))
    positive = farthest_points(inside, np.array([component.peak]), POSITIVES)

    distance = ndimage.distance_transform_cdt(~component.cells, "chessboard")
    hard = np.argwhere((distance >= RING[0]) & (distance <= RING[1]) & (stretched <= NEAR) & use)
    far = np.argwhere((distance > 1) & (stretched <= AWAY) & use)
    half = NEGATIVES // 2
    rivals = others[~component.cells[others[:, 0], others[:, 1]]][:half]
    negative = farthest_points(hard, rivals, half)
    negative = farthest_points(far, negative, len(negative) + half)

    cells = np.concatenate([positive, negative])
    labels = np.repeat(np.array([1, 0], np.int8), [len(positive), len(negative)])
    rows, columns = np.nonzero(component.cells)
    spans = max(np.ptp(rows), np.ptp(columns)) + 1
    box = grid.box_around(component.cells, 1) if spans >= BOX_CELLS else None
    return Prompt(_inset_centres(grid, cells), labels, box)


def farthest_points(candidates: Cells, chosen: Cells, count: int) -> Cells:
    """The chosen cells and further candidates, each as far from all others as can be, until there are `count`."""
    if len(candidates) and not len(chosen):
        chosen = candidates[:1]
    while len(candidates) and len(chosen) < count:
        distance = np.linalg.norm(candidates[:, None] - chosen[None], axis=-1).min(1)
        farthest = int(distance.argmax())
        if distance[farthest] < APART:
            break
        chosen = np.concatenate([chosen, candidates[farthest : farthest + 1]])
    return chosen


def _inset_centres(grid: PatchGrid, cells: Cells) -> Floats:
    """(n, 2) x and y of cell centres, at least two pixels inside the photo."""
    points = grid.centres()[cells[:, 0], cells[:, 1]]
    extent = np.array(grid.size[::-1])
    inset = np.minimum(INSET, extent / 2)
    return np.clip(points, inset, extent - inset).astype(np.float32)
