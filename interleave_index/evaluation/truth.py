"""What is known of a pack's photos: which names are in which of them, and which certainly are not. Knows packs only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask
from .labels import class_name
from .packs import PackPhoto
from .things import closed_lists, thing_areas
from .words import mentions

VISIBLE = 0.01  # share of the photo from which on a thing counts as shown; photos where it is smaller are left out
FEWEST = 3  # photos that show a name, for figures that need right photos


@dataclass(frozen=True, slots=True)
class Named:
    """One name and the photos that are annotated for it.

    Attributes:
        name: as the annotators wrote it.
        group: ``things`` of a closed list, ``classes`` of photos that have one class name, or ``strangers``: class
            names over photos of things, which show none of them.
        photos: (n,) positions in the pack, rising.
        right: (n,) whether the photo shows it.
    """

    name: str
    group: Literal["things", "classes", "strangers"]
    photos: NDArray[np.int64]
    right: BoolMask

    @property
    def enough(self) -> bool:
        """Whether `FEWEST` photos show it."""
        return int(self.right.sum()) >= FEWEST


@dataclass(frozen=True, slots=True)
class Shown:
    """How large every thing of one closed list is in the photos annotated by it.

    Attributes:
        names: K of them, sorted.
        photos: (n,) positions in the pack, rising.
        areas: (n, K) share of the photo that the largest such thing covers, 0 where there is none.
    """

    names: tuple[str, ...]
    photos: NDArray[np.int64]
    areas: NDArray[np.float64]

    @property
    def right(self) -> BoolMask:
        """(n, K): large enough to count as shown."""
        found: BoolMask = self.areas >= VISIBLE
        return found

    @property
    def clear(self) -> BoolMask:
        """(n, K): shown or certainly absent."""
        found: BoolMask = self.right | (self.areas == 0)
        return found


def shown(photos: Sequence[PackPhoto]) -> list[Shown]:
    """Every closed list of the pack."""
    found = []
    for names, members in closed_lists(photos).values():
        areas = [thing_areas(photos[n]) for n in members]
        table = np.array([[one.get(name, 0.0) for name in names] for one in areas], float)
        found.append(Shown(tuple(names), np.array(members, np.int64), table.reshape(len(members), len(names))))
    return found


def classes(photos: Sequence[PackPhoto]) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Positions of the photos that have a class name, and their names."""
    names = [class_name(photo) for photo in photos]
    known = np.array([n for n, name in enumerate(names) if name is not None], np.int64)
    return known, np.array([names[n] for n in known], str)


def named(photos: Sequence[PackPhoto]) -> list[Named]:
    """Every name of a closed list, over the photos annotated by it; every class name, over the photos that have one."""
    found = [
        Named(name, "things", part.photos[part.clear[:, column]], part.right[part.clear[:, column], column])
        for part in shown(photos)
        for column, name in enumerate(part.names)
    ]
    known, names = classes(photos)
    return found + [Named(str(name), "classes", known, names == name) for name in np.unique(names)]


def strangers(photos: Sequence[PackPhoto]) -> list[Named]:
    """Class names over the photos of a closed list that does not have them and whose captions never say them."""
    found = []
    names = np.unique(classes(photos)[1]).tolist()
    for part in shown(photos):
        told = " . ".join(caption for n in part.photos for caption in photos[n].captions)
        found += [
            Named(name, "strangers", part.photos, np.zeros(len(part.photos), bool))
            for name in names
            if name not in part.names and not mentions(told, name)
        ]
    return found
