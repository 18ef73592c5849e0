"""Building FAISS indexes from the catalog, in one pass over a snapshot. Knows no transactions."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..records import Floats
from . import text_reads
from .backend import load_faiss
from .calibrate import calibrate
from .files import PHOTO_KINDS, Generation, Kind, write_file
from .generations import space_head
from .recipes import TRAIN_PER_LIST, Recipe, new_index, recipe_for
from .rows import Ids
from .vectors import count, encoded_ids, halves, sample_ids, stream

Progress = Callable[[int, int], None]  # photos done, photos in all
CALIBRATION_ROWS = 4096


class _Flat:
    """Codes of an exact index, spooled to disk as they come: memory does not grow with the collection.

    Args:
        codes: an empty file, open for writing and reading.
    """

    def __init__(self, recipe: Recipe, codes: IO[bytes]) -> None:
        self.recipe, self.codes = recipe, codes
        self.ids: list[Ids] = []

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        self.ids.append(ids)
        self.codes.write(np.ascontiguousarray(vectors, "<f2").tobytes())

    def finish(self, dim: int) -> Any:
        """What `write_file` takes."""
        if not any(len(some) for some in self.ids):
            return new_index(self.recipe, dim)
        self.codes.seek(0)
        return self.codes


class _Coarse:
    """A large index while it is being filled, in memory.

    Args:
        sample: (n, D) float32 to train and calibrate it on.
    """

    def __init__(self, recipe: Recipe, dim: int, sample: Floats) -> None:
        self.recipe, self.sample = recipe, sample
        self.index: Any = new_index(recipe, dim, sample)
        self.ids: list[Ids] = []

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        if len(ids):
            self.ids.append(ids)
            self.index.add(vectors.astype(np.float32))

    def finish(self, dim: int) -> Any:
        """The calibrated index; one that cannot keep its promise gives way to its own exact part."""
        step = max(1, len(self.sample) // CALIBRATION_ROWS)
        calibrated = calibrate(self.index, self.recipe, self.sample[::step])
        self.recipe = calibrated or Recipe()
        # The whole stays referenced here, since its exact part belongs to it.
        return self.index if calibrated else load_faiss().downcast_index(self.index.refine_index)


def build(
    connection: Connection, folder: Path, space_id: int, kinds: Sequence[Kind], progress: Progress | None = None
) -> list[Generation]:
    """Write one new file per kind with everything that the connection's snapshot holds.

    Args:
        progress: called after each block of photos.
    """
    mark, dim = space_head(connection, space_id)
    photos, regions = count(connection, space_id)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        rows = {"image": photos, "region": regions, "text": text_reads.count(connection, space_id)}
        growing: dict[Kind, _Flat | _Coarse] = {}
        for kind in kinds:
            recipe = recipe_for(rows[kind], dim)
            spool = None if recipe.coarse else files.enter_context(tempfile.TemporaryFile(dir=folder))
            if kind == "text":
                growing[kind] = _texts(connection, space_id, dim, recipe, spool)
            elif spool:
                growing[kind] = _Flat(recipe, spool)
            else:
                growing[kind] = _coarse(connection, space_id, dim, kind, recipe, photos, regions)
        done = 0
        for block in stream(connection, space_id, dim) if set(kinds) & set(PHOTO_KINDS) else ():
            if "image" in growing:
                growing["image"].add(block.photo_ids, block.image)
            if "region" in growing:
                growing["region"].add(block.region_ids, block.regions)
            done += len(block.photo_ids)
            if progress is not None:
                progress(done, photos)
        return [_written(folder, space_id, kind, mark, dim, grown) for kind, grown in growing.items()]


def _texts(connection: Connection, space_id: int, dim: int, recipe: Recipe, spool: IO[bytes] | None) -> _Flat | _Coarse:
    """The index of passages, filled."""
    growing = _Flat(recipe, spool) if spool else _coarse_texts(connection, space_id, dim, recipe)
    for block in text_reads.stream(connection, space_id, dim):
        growing.add(block.passage_ids, block.vectors)
    return growing


def _coarse_texts(connection: Connection, space_id: int, dim: int, recipe: Recipe) -> _Coarse:
    ids = sample_ids(text_reads.encoded_ids(connection, space_id), TRAIN_PER_LIST * recipe.lists)
    return _Coarse(recipe, dim, text_reads.halves(connection, space_id, dim, ids).vectors.astype(np.float32))


def _written(folder: Path, space_id: int, kind: Kind, mark: int, dim: int, grown: _Flat | _Coarse) -> Generation:
    index = grown.finish(dim)
    ids = np.concatenate([np.empty(0, np.int64), *grown.ids])
    return write_file(folder, Generation(0, space_id, kind, "", "", 0, len(ids), mark, dim, grown.recipe), ids, index)


def _coarse(
    connection: Connection, space_id: int, dim: int, kind: Kind, recipe: Recipe, photos: int, regions: int
) -> _Coarse:
    wanted = photos * min(1.0, TRAIN_PER_LIST * recipe.lists / (photos if kind == "image" else regions))
    some = halves(connection, space_id, dim, sample_ids(encoded_ids(connection, space_id), round(wanted)))
    return _Coarse(recipe, dim, (some.image if kind == "image" else some.regions).astype(np.float32))
