"""Building FAISS indexes from the catalog, in one pass over a snapshot. Knows no transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from .backend import load_faiss
from .files import Generation, Kind, write_file
from .generations import space_head
from .recipes import FLAT, Recipe
from .rows import Ids
from .vectors import count, stream

Progress = Callable[[int, int], None]  # photos done, photos in all


@dataclass(slots=True)
class _Growing:
    """One index while it is being filled."""

    index: Any
    recipe: Recipe
    ids: list[Ids]

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        if len(ids):
            self.ids.append(ids)
            self.index.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8), None)


def build(connection: Connection, folder: Path, space_id: int, kinds: Sequence[Kind],
          progress: Progress | None = None) -> list[Generation]:
    """Write one new file per kind with everything that the connection's snapshot holds.

    Args:
        progress: called after each block of photos.
    """
    mark, dim = space_head(connection, space_id)
    photos, _ = count(connection, space_id)
    growing = {kind: _start(dim) for kind in kinds}
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
        ids = np.concatenate([np.empty(0, np.int64), *grown.ids])
        blank = Generation(0, space_id, kind, "", "", 0, len(ids), mark, dim, grown.recipe)
        made.append(write_file(folder, blank, ids, grown.index))
    return made


def _start(dim: int) -> _Growing:
    faiss = load_faiss()
    index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    return _Growing(index, Recipe(FLAT), [])
