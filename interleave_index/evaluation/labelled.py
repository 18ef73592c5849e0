"""Labelled masks of a pack: which photos are asked for a label, and which part of another photo stands for it.

Knows packs only. All choices depend on keys alone, never on a random state.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..records import Picture, Rle
from .packs import PackPhoto, PackRegion


@dataclass(frozen=True, slots=True)
class Labelled:
    """A region with a label and a mask, and where it is: position of the photo in the pack."""

    position: int
    label: str
    rle: Rle


def masked(photo: PackPhoto) -> Iterator[PackRegion]:
    """The photo's regions that have a label and a mask, groups drawn as one included."""
    return (region for region in photo.regions if region.label is not None and region.rle is not None)


def lone_regions(photos: Sequence[PackPhoto]) -> list[Labelled]:
    """Regions that are the only masked one of their label in their photo, in the order of the pack.

    A group drawn as one region counts as a region of its label, but is never asked for.
    """
    found = []
    for position, photo in enumerate(photos):
        by_label: dict[str, list[PackRegion]] = defaultdict(list)
        for region in masked(photo):
            by_label[str(region.label)].append(region)
        found += [
            Labelled(position, label, regions[0].rle)
            for label, regions in by_label.items()
            if len(regions) == 1 and not regions[0].crowd and regions[0].rle
        ]
    return found


class References:
    """For a label, the part of another photo that stands for it.

    The photo is chosen by the SHA-1 of the asking photo's key, as a number modulo the count of the other
    photos that have a masked region of the label, in the order of the pack; in it the largest such region.
    """

    def __init__(self, photos: Sequence[PackPhoto]) -> None:
        self._photos = photos
        self._largest: dict[str, dict[int, PackRegion]] = defaultdict(dict)
        for position, photo in enumerate(photos):
            for region in masked(photo):
                best = self._largest[str(region.label)].get(position)
                if not region.crowd and (best is None or region.area > best.area):
                    self._largest[str(region.label)][position] = region

    def labels(self) -> list[str]:
        """Every label that has a masked region, sorted."""
        return sorted(label for label, regions in self._largest.items() if regions)

    def positions(self, label: str) -> list[int]:
        """Photos with a masked region of the label, in the order of the pack."""
        return list(self._largest[label])

    def choose(self, position: int, label: str) -> Labelled | None:
        """The reference of the photo at a position for a label; None when no other photo has one."""
        others = [other for other in self._largest[label] if other != position]
        if not others:
            return None
        chosen = others[sha1_number(self._photos[position].key) % len(others)]
        rle = self._largest[label][chosen].rle
        return Labelled(chosen, label, rle) if rle else None

    def picture(self, reference: Labelled) -> Picture:
        """The reference as a part of a query: the other photo's pixels with the region marked."""
        return Picture(self._photos[reference.position].rgb(), mask=reference.rle.decode())


def sha1_number(key: str) -> int:
    """The SHA-1 of a key as a number, so that a choice depends on the key alone.

    >>> sha1_number("a") % 10, sha1_number("c") % 10
    (2, 6)
    """
    return int(hashlib.sha1(key.encode()).hexdigest(), 16)
