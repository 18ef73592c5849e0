"""A library in a real index, for what only an index can answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ..records import PhotoFacts
from .library import Library

if TYPE_CHECKING:
    from ..service import Index
    from ..storage.store import Store


@dataclass(frozen=True)
class Indexed:
    """An index that holds the vectors of a library, the store behind it, and the ids of its photos, in order."""

    index: Index
    store: Store
    ids: list[int]


@contextmanager
def indexed(library: Library) -> Iterator[Indexed]:
    """A library in an index in a temporary folder."""
    from ..config import Config
    from ..service import Index
    from ..storage.store import Store

    with TemporaryDirectory() as folder, Store.open(Path(folder) / "photos.index", create=True) as store:
        ids = _fill(store, library)
        yield Indexed(Index(store, Config(), interface=library.interface), store, ids)


def place_of(position: int) -> str:
    """Path of the photo at a position: a name without words, for these are searched too."""
    return f"/{position}.jpg"


def _fill(store: Store, library: Library) -> list[int]:
    """Write the vectors of a library into an empty index; gives the ids of its photos, in order."""
    space_id, block = store.ensure_space(library.interface.space), library.block
    store.save_calibration(space_id, library.calibration.to_bytes())
    facts = []
    for photo in library.photos:
        content = hashlib.sha256(photo.key.encode()).hexdigest()
        facts.append(PhotoFacts(content, photo.width, photo.height, "JPEG"))
    cuts = block.offsets[1:-1]
    regions, boxes, areas, scores = (
        np.split(rows, cuts) for rows in (block.regions, block.boxes, block.areas, block.scores)
    )
    places = [place_of(position) for position in range(len(facts))]
    ids = store.write_encodings(space_id, facts, block.image, regions, boxes, areas, scores, paths=places)
    store.optimize(space_id)
    return ids
