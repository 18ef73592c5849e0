"""Encodings made elsewhere, as batches for the store. Knows no SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..records import Floats, PhotoEncoding, PhotoFacts, Rle
from .rows import LocationWrite, PhotoWrite, WriteBatch

COMMIT = 1000  # photos in one transaction


def batches(
    space_id: int,
    facts: Sequence[PhotoFacts],
    image: Floats,
    regions: Any,
    boxes: Any,
    areas: Any,
    scores: Any,
    masks: Sequence[Sequence[Rle]] | None,
    paths: Sequence[str] | None,
) -> Iterator[WriteBatch]:
    """The photos in runs of `COMMIT`, each with one present location.

    Raises:
        ShapeError: the arguments are not all of one length.
    """
    given = {
        "image": image,
        "regions": regions,
        "boxes": boxes,
        "areas": areas,
        "scores": scores,
        "masks": masks,
        "paths": paths,
    }
    for name, values in given.items():
        if values is not None and len(values) != len(facts):
            raise ShapeError(f"{name} has length {len(values)}, expected {len(facts)}, one per photo")
    for start in range(0, len(facts), COMMIT):
        photos, locations = [], []
        for i in range(start, min(start + COMMIT, len(facts))):
            encoding = PhotoEncoding(
                np.asarray(image[i]),
                np.asarray(regions[i]),
                np.asarray(boxes[i]),
                np.asarray(areas[i]),
                np.asarray(scores[i]),
                tuple(masks[i]) if masks is not None else (),
            )
            photos.append(PhotoWrite(facts[i], encoding))
            path = paths[i] if paths is not None else f"/unlocated/{facts[i].sha256}"
            locations.append(LocationWrite(path, facts[i].sha256, 0, 0))
        yield WriteBatch(space_id, photos, locations)
