"""What the annotations of a pack say: which names are in which photos, which certainly are not, which parts show them.

Knows packs and words only. All choices depend on keys and names alone, never on a random state.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import BoolMask, Picture, Rle
from .packs import PackPhoto, PackRegion, Photos
from .words import mentions

Positions: TypeAlias = NDArray[np.int64]  # of photos in a pack, rising
Truth: TypeAlias = NDArray[np.int8]  # of RIGHT, WRONG and UNKNOWN
RIGHT, WRONG, UNKNOWN = 1, 0, -1
VISIBLE = 0.01  # share of the photo from which on a thing counts as shown; photos where it is smaller are left out
FEWEST = 3  # photos that show a name, for figures that need right photos
_CLOSED = re.compile(r"\ball \d+\b")  # a scope such as "all 80 thing classes (boxes)" leaves no name of its list open
_THINGS = ("instance", "box")


def sha1_number(key: str) -> int:
    """The SHA-1 of a key as a number, so that a choice depends on the key alone.

    >>> sha1_number("a") % 10, sha1_number("c") % 10
    (2, 6)
    """
    return int(hashlib.sha1(key.encode()).hexdigest(), 16)


# --- masks with a label -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Labelled:
    """A region with a label and a mask, and where it is: position of the photo in the pack."""

    position: int
    label: str
    rle: Rle


def masked(photo: PackPhoto) -> Iterator[tuple[str, Rle, PackRegion]]:
    """Label, mask and record of the photo's regions that have both, groups drawn as one included."""
    for region in photo.regions:
        if region.label is not None and region.rle is not None:
            yield region.label, region.rle, region


def lone_regions(photos: Photos) -> list[Labelled]:
    """Regions that are the only masked one of their label in their photo, in the order of the pack.

    A group drawn as one region counts as a region of its label, but is never asked for.
    """
    lone = []
    for position, photo in enumerate(photos):
        regions = list(masked(photo))
        count = Counter(label for label, _, _ in regions)
        for label, rle, region in regions:
            if count[label] == 1 and not region.crowd:
                lone.append(Labelled(position, label, rle))
    return lone


class References:
    """For a label, the part of another photo that stands for it.

    The photo is chosen by the SHA-1 of the asking photo's key, as a number modulo the count of the other
    photos that have a masked region of the label, in the order of the pack; in it the largest such region.
    """

    def __init__(self, photos: Photos) -> None:
        self._photos = photos
        self._hashes = [sha1_number(photo.key) for photo in photos]
        self._largest: dict[str, dict[int, Labelled]] = defaultdict(dict)
        for position, photo in enumerate(photos):
            for label, rle, region in sorted(masked(photo), key=lambda found: -found[2].area):
                if not region.crowd:
                    self._largest[label].setdefault(position, Labelled(position, label, rle))

    def labels(self) -> list[str]:
        """Every label that has a masked region, sorted."""
        return sorted(self._largest)

    def positions(self, label: str) -> list[int]:
        """Photos with a masked region of the label, by the hash of their keys."""
        return sorted(self._largest.get(label, {}), key=self._hashes.__getitem__)

    def choose(self, position: int, label: str) -> Labelled | None:
        """The reference of the photo at a position for a label; None when no other photo has one."""
        others = [region for region in self._largest.get(label, {}).values() if region.position != position]
        return others[self._hashes[position] % len(others)] if others else None

    def picture(self, reference: Labelled) -> Picture:
        """The reference as a part of a query: the other photo's pixels with the region marked."""
        return Picture(self._photos[reference.position].rgb(), mask=reference.rle.decode())


# --- closed lists of things, class names, captions --------------------------------------------------


def class_name(photo: PackPhoto) -> str | None:
    """The name of what the whole photo shows: its only label, when people neither described it nor drew its parts."""
    drawn = any(region.kind != "auto" for region in photo.regions)
    return photo.labels[0] if len(photo.labels) == 1 and not photo.captions and not drawn else None


def classes(photos: Photos) -> tuple[Positions, NDArray[np.str_]]:
    """Positions of the photos that have a class name, and their names."""
    names = {position: name for position, photo in enumerate(photos) if (name := class_name(photo)) is not None}
    return np.array(list(names), np.int64), np.array(list(names.values()), str)


def captioned(photos: Photos) -> Positions:
    """Positions of the photos that have captions."""
    return np.array([position for position, photo in enumerate(photos) if photo.captions], np.int64)


def closed_lists(photos: Photos) -> dict[str, tuple[list[str], list[int]]]:
    """Closed lists of names: per list its names, sorted, and the positions of the photos annotated by it.

    A photo is annotated by a list when its `regions_scope` says ``all N``, so that a missing name means absence; the
    names are those of the things (instances and boxes) in all photos with the same ``all N``.
    """
    names: dict[str, set[str]] = defaultdict(set)
    members: dict[str, list[int]] = defaultdict(list)
    for position, photo in enumerate(photos):
        scope = _CLOSED.search(photo.regions_scope or "")
        if scope:
            members[scope.group()].append(position)
            names[scope.group()].update(thing_areas(photo))
    return {scope: (sorted(names[scope]), members[scope]) for scope in sorted(members)}


def thing_areas(photo: PackPhoto) -> dict[str, float]:
    """Share of the photo that the largest thing of each name covers: its mask, or its box where it has none."""
    areas: dict[str, float] = {}
    for region in photo.regions:
        if region.label is not None and region.kind in _THINGS:
            share = region.area / (photo.width * photo.height)
            areas[region.label] = max(areas.get(region.label, 0.0), share)
    return areas


@dataclass(frozen=True, slots=True)
class Shown:
    """Which things of one closed list are in the photos annotated by it.

    Attributes:
        names: K of them, sorted.
        photos: (n,) positions.
        truth: (n, K) int8 RIGHT where large enough to count as shown, WRONG where certainly absent, UNKNOWN where too
            small to tell.
    """

    names: list[str]
    photos: Positions
    truth: Truth


def shown(photos: Photos) -> list[Shown]:
    """Every closed list of the pack."""
    tables = []
    for names, members in closed_lists(photos).values():
        areas = np.zeros((len(members), len(names)))
        for row, position in enumerate(members):
            by_name = thing_areas(photos[position])
            areas[row] = [by_name.get(name, 0.0) for name in names]
        truth = np.select([areas >= VISIBLE, areas == 0], [RIGHT, WRONG], UNKNOWN).astype(np.int8)
        tables.append(Shown(names, np.array(members, np.int64), truth))
    return tables


# --- names and the photos that are right for them ---------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    """One name and the photos that are annotated for it.

    Attributes:
        name: as the annotators wrote it.
        group: ``things`` of a closed list, ``classes`` of photos that have one class name, ``strangers``: class names
            over photos of things, which show none of them, or ``captions``.
        photos: (n,) positions.
        truth: (n,) int8 RIGHT, WRONG, or UNKNOWN: ranked, but not counted.
        enough: `FEWEST` photos show it, so that it counts in figures over right photos.
    """

    name: str
    group: str
    photos: Positions
    truth: Truth
    enough: bool

    @property
    def right(self) -> BoolMask:
        """(n,) whether the photo shows it."""
        return np.equal(self.truth, RIGHT)

    def among(self, which: BoolMask) -> Named:
        """The same over some of the photos, (n,) bool."""
        return replace(self, photos=self.photos[which], truth=self.truth[which])

    def without(self, position: int) -> Named:
        """The same over the other photos."""
        return self.among(self.photos != position)


def things(photos: Photos) -> list[Named]:
    """Every name of a closed list, over the photos annotated by it, without those where it is too small to tell."""
    every = []
    for table in shown(photos):
        for name, truth in zip(table.names, table.truth.T, strict=True):
            named = _named(name, "things", table.photos, truth)
            every.append(named.among(truth != UNKNOWN))
    return every


def class_names(photos: Photos) -> list[Named]:
    """Every class name, sorted, over the photos that have one."""
    positions, names = classes(photos)
    return [_named(str(name), "classes", positions, names == name) for name in np.unique(names)]


def strangers(photos: Photos) -> list[Named]:
    """Class names over the photos of a closed list that does not have them and whose captions never say them."""
    every = []
    names = np.unique(classes(photos)[1]).tolist()
    for table in shown(photos):
        captions = " . ".join(caption for position in table.photos for caption in photos[position].captions)
        for name in names:
            if name not in table.names and not mentions(captions, name):
                every.append(_named(name, "strangers", table.photos, np.zeros(len(table.photos))))
    return every


def _named(name: str, group: str, photos: Positions, truth: NDArray[Any]) -> Named:
    return Named(name, group, photos, truth.astype(np.int8), int((truth == RIGHT).sum()) >= FEWEST)
