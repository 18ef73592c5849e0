"""Photos with their stored regions, as records: what exports and pages show. Knows the store and nothing of models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import NotInIndex
from ..paths import absolute
from ..records import Box, Floats, Photo, Region, Rle, region_id

if TYPE_CHECKING:
    from .store import Store

CHUNK = 256  # photos that are held at a time


def resolve_ids(store: Store, item: Path | str | int) -> list[int]:
    """Ids of the photos that a path, a folder or an id names.

    Raises:
        NotInIndex: there is no such photo, and none below such a folder.
    """
    if isinstance(item, int | np.integer):
        return [store.photo(int(item)).id]
    path = absolute(item)
    known = store.photo_by_path(path)
    if known is not None:
        return [known.id]
    below = store.below(path)
    if not len(below):
        raise NotInIndex(f"{path} is not in the index, expected the path of a photo, a folder of photos, or an id")
    return below


def regions(store: Store, space_id: int, photo_id: int) -> tuple[Region, ...]:
    """Stored regions of one photo, best first; empty when it has none.

    Raises:
        NotInIndex: the photo has no encoding in the space.
    """
    stored = store.vectors(space_id, [photo_id])
    return _regions(photo_id, stored.scores, stored.boxes, store.masks(space_id, photo_id))


def library(store: Store, space_id: int, photo_ids: Sequence[int]) -> Iterator[tuple[Photo, tuple[Region, ...]]]:
    """These photos in order, each with its stored regions, best first; a few hundred are held at a time."""
    for start in range(0, len(photo_ids), CHUNK):
        some = photo_ids[start : start + CHUNK]
        stored, photos = store.vectors(space_id, some), store.photos(some)
        masks = store.many_masks(space_id, some)
        for row, photo_id in enumerate(some):
            rows = slice(stored.offsets[row], stored.offsets[row + 1])
            own = masks[photo_id]() if photo_id in masks else store.masks(space_id, photo_id)
            yield photos[photo_id], _regions(photo_id, stored.scores[rows], stored.boxes[rows], own)


def _regions(photo_id: int, scores: Floats, boxes: Floats, masks: Sequence[Rle]) -> tuple[Region, ...]:
    return tuple(
        Region(region_id(photo_id, ordinal), float(score), _box(box), mask)
        for ordinal, (score, box, mask) in enumerate(zip(scores, boxes, masks, strict=False))
    )


def _box(corners: Floats) -> Box:
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return x0, y0, x1, y1
