"""From a map to prompts: one prompt for every component of the map, so that two dogs become two masks. Pure numpy.

A component grows from cells at or above 0.8 into what is connected at 0.6. Its points on the thing are the peak and
others far from it; points beside it are taken far away and, the useful ones, just outside. Nothing is a point twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask, Floats, Prompt
from .grid import PatchGrid
from .resample import box_around

SEED, GROWN, AWAY, NEAR = 0.8, 0.6, 0.2, 0.35  # of a map from 0 to 1
MOST_COMPONENTS, POSITIVES, NEGATIVES = 10, 5, 10
APART = 1.5  # cells between two points
RING = (2, 4)  # cells outside the component, where points beside the thing are worth most
BOX_CELLS = 3  # a component that spans fewer is prompted by points alone
INSET = 2.0  # pixels from the photo's border

Cells = NDArray[np.int64]


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
    names = connected((stretched >= GROWN) & use)
    found: list[Component] = []
    for name in range(1, int(names.max(initial=0)) + 1):
        cells = names == name
        if (stretched[cells] >= SEED).any():
            row, column = np.unravel_index(int(np.where(cells, raw, -np.inf).argmax()), raw.shape)
            found.append(Component(cells, (int(row), int(column)), float(raw[cells].mean())))
    larger = [one for one in found if one.cells.sum() > 1]
    return sorted(larger or found, key=lambda one: -one.mean)[:MOST_COMPONENTS]


def connected(cells: BoolMask) -> NDArray[np.int64]:
    """(h, w) numbers of connected True cells, eight neighbours each, from 1 in reading order; 0 elsewhere.

    >>> connected(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]], bool)).tolist()
    [[1, 0, 1], [0, 1, 0], [0, 0, 0], [2, 0, 0]]
    """
    names = np.zeros(cells.shape, np.int64)
    count = 0
    for row, column in np.argwhere(cells):
        if names[row, column]:
            continue
        count += 1
        waiting = [(int(row), int(column))]
        names[row, column] = count
        while waiting:
            y, x = waiting.pop()
            for down in range(max(0, y - 1), min(cells.shape[0], y + 2)):
                for across in range(max(0, x - 1), min(cells.shape[1], x + 2)):
                    if cells[down, across] and not names[down, across]:
                        names[down, across] = count
                        waiting.append((down, across))
    return names


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
    positive = _spread(inside, np.array([component.peak]), POSITIVES)
    distance = _steps_from(component.cells, RING[1])
    hard = np.argwhere((distance >= RING[0]) & (distance <= RING[1]) & (stretched <= NEAR) & use)
    far = np.argwhere((distance > 1) & (stretched <= AWAY) & use)
    rivals = others[~component.cells[others[:, 0], others[:, 1]]][: NEGATIVES // 2]
    half = NEGATIVES // 2
    beside = np.concatenate([rivals, _spread(hard, rivals, half)[len(rivals) :]])
    beside = _spread(far, beside, len(beside) + half) if len(far) else beside
    cells = np.concatenate([positive, beside])
    labels = np.repeat(np.array([1, 0], np.int8), [len(positive), len(beside)])
    spans = np.flatnonzero(component.cells.any(0)), np.flatnonzero(component.cells.any(1))
    wide = max(int(np.ptp(span)) + 1 for span in spans) >= BOX_CELLS
    return Prompt(_inset(grid, cells), labels, box_around(grid, component.cells, 1) if wide else None)


def _spread(candidates: Cells, chosen: Cells, count: int) -> Cells:
    """The chosen cells, and others of the candidates, each as far from all as can be, until there are `count`."""
    picked = [tuple(cell) for cell in chosen.tolist()]
    if not len(candidates):
        return np.array(picked, np.int64).reshape(-1, 2)
    if not picked:
        picked.append(tuple(candidates[0].tolist()))
    distance = np.full(len(candidates), np.inf)
    for cell in picked:
        distance = np.minimum(distance, np.hypot(*(candidates - cell).T))
    while len(picked) < count:
        far = int(distance.argmax())
        if distance[far] < APART:
            break
        picked.append(tuple(candidates[far].tolist()))
        distance = np.minimum(distance, np.hypot(*(candidates - candidates[far]).T))
    return np.array(picked[: max(count, len(chosen))], np.int64).reshape(-1, 2)


def _steps_from(cells: BoolMask, most: int) -> NDArray[np.int64]:
    """(h, w) king's moves to the nearest True cell, `most` + 1 where it is farther."""
    steps = np.where(cells, 0, most + 1)
    reached = cells
    for step in range(1, most + 1):
        around = np.pad(reached, 1)
        grown = np.zeros_like(reached)
        for down in range(3):
            for across in range(3):
                grown |= around[down : down + cells.shape[0], across : across + cells.shape[1]]
        steps = np.where(grown & ~reached, step, steps)
        reached = grown
    return steps


def _inset(grid: PatchGrid, cells: Cells) -> Floats:
    """(n, 2) x and y of cell centres, at least two pixels inside the photo."""
    points = grid.centres().reshape(*grid.grid, 2)[cells[:, 0], cells[:, 1]]
    height, width = grid.size
    low = np.minimum(INSET, [width / 2, height / 2])
    return np.clip(points, low, np.array([width, height]) - low).astype(np.float32)
