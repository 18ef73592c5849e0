"""Closed lists of names: which photos are annotated for which things, so that a missing name means absence."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from .packs import PackPhoto

_CLOSED = re.compile(r"\ball \d+\b")  # a scope such as "all 80 thing classes (boxes)" leaves no name of its list open
_THINGS = ("instance", "box")


def closed_lists(photos: Sequence[PackPhoto]) -> dict[str, tuple[list[str], list[int]]]:
    """Closed lists of names: per list its names, sorted, and the positions of the photos annotated by it.

    A photo is annotated by a list when its `regions_scope` says ``all N``; the names are those of the things
    (instances and boxes) in all photos with the same ``all N``.
    """
    names: dict[str, set[str]] = defaultdict(set)
    members: dict[str, list[int]] = defaultdict(list)
    for position, photo in enumerate(photos):
        scope = _CLOSED.search(photo.regions_scope or "")
        if scope:
            members[scope.group()].append(position)
            names[scope.group()].update(thing_names(photo))
    return {scope: (sorted(names[scope]), members[scope]) for scope in sorted(members)}


def thing_names(photo: PackPhoto) -> set[str]:
    """Names of the things (instances and boxes) in a photo."""
    return {region.label for region in photo.regions if region.label is not None and region.kind in _THINGS}


def thing_areas(photo: PackPhoto) -> dict[str, float]:
    """Share of the photo that the largest thing of each name covers: its mask, or its box where it has none."""
    areas: dict[str, float] = {}
    for region in photo.regions:
        if region.label is not None and region.kind in _THINGS:
            share = region.area / (photo.width * photo.height)
            areas[region.label] = max(areas.get(region.label, 0.0), share)
    return areas
