"""Building FAISS indexes from the catalog, in one pass over a snapshot. Knows no transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..records import Floats
from .backend import load_faiss
from .calibrate import calibrate
from .files import Generation, Kind, write_file
from .generations import space_head
from .recipes import TRAIN_PER_LIST, Recipe, new_index, recipe_for
from .rows import Ids
from .vectors import count, encoded_ids, halves, sample_ids, stream

Progress = Callable[[int, int], None]  # photos done, photos in all
CALIBRATION_ROWS = 4096


class _Growing:
    """One index while it is being filled."""

    def __init__(self, recipe: Recipe, dim: int, sample: Floats) -> None:
        self.recipe, self.sample = recipe, sample
        self.index: Any = new_index(recipe, dim, sample)
        self.ids: list[Ids] = []

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        if not len(ids):
            return
        self.ids.append(ids)
        if self.recipe.coarse:
            self.index.add(vectors.astype(np.float32))
        else:
            self.index.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8), None)

    def finish(self) -> None:
        """Measure a coarse index; one that cannot keep its promise gives way to its own exact part."""
        if not self.recipe.coarse:
            return
        step = max(1, len(self.sample) // CALIBRATION_ROWS)
        calibrated = calibrate(self.index, self.recipe, self.sample[::step])
        if calibrated is None:
            # The Python owner of the whole is kept, since the exact part belongs to it.
            self.whole, self.index = self.index, load_faiss().downcast_index(self.index.refine_index)
        self.recipe = calibrated or Recipe()


def build(connection: Connection, folder: Path, space_id: int, kinds: Sequence[Kind],
          progress: Progress | None = None) -> list[Generation]:
    """Write one new file per kind with everything that the connection's snapshot holds.

    Args:
        progress: called after each block of photos.
    """
    mark, dim = space_head(connection, space_id)
    photos, regions = count(connection, space_id)
    growing = {kind: _start(connection, space_id, dim, kind, photos, regions) for kind in kinds}
    done = 0
    for block in stream(connection, space_id, dim):
        if "image" in growing:
            growing["image"].add(block.photo_ids, block.image)
        if "region" in growing:
            growing["region"].add(block.region_ids, block.regions)
        done += len(block.photo_ids)
        if progress is not None:
            progress(done, photos)
    made = []
    for kind, grown in growing.items():
        grown.finish()
        ids = np.concatenate([np.empty(0, np.int64), *grown.ids])
        blank = Generation(0, space_id, kind, "", "", 0, len(ids), mark, dim, grown.recipe)
        made.append(write_file(folder, blank, ids, grown.index))
    return made


def _start(connection: Connection, space_id: int, dim: int, kind: Kind, photos: int, regions: int) -> _Growing:
    rows = photos if kind == "image" else regions
    recipe = recipe_for(rows, dim)
    sample = np.empty((0, dim), np.float32)
    if recipe.coarse:
        wanted = photos * min(1.0, TRAIN_PER_LIST * recipe.lists / rows)
        some = halves(connection, space_id, dim, sample_ids(encoded_ids(connection, space_id), round(wanted)))
        sample = (some.image if kind == "image" else some.regions).astype(np.float32)
    return _Growing(recipe, dim, sample)
