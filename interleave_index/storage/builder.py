"""Building FAISS files from the catalog, in one pass over a snapshot. Knows no transactions.

Memory does not grow with the vectors: exact codes go to disk as they come, and only inverted lists are held, with
`recipes.list_bytes` a row, beside a sample that they are trained on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..records import Floats
from . import text_reads
from .backend import load_faiss
from .calibrate import calibrate
from .calibrate import rechecked as calibrate_again
from .files import PHOTO_KINDS, Generation, Kind, open_file, write_file
from .generations import space_head
from .recipes import TRAIN_PER_LIST, Recipe, new_index, recipe_for
from .rows import Ids
from .segment import Segment
from .vectors import count, encoded_ids, halves, sample_ids, stream

Progress = Callable[[int, int], None]  # photos done, photos in all
CALIBRATION_ROWS = 4096


class _Growing:
    """A FAISS file while it is being filled. The exact codes are spooled to disk, and lists take `list_bytes` a row.

    Args:
        codes: an empty file, open for writing and reading.
        sample: (n, D) float32 to train and calibrate the lists of a coarse recipe on.
    """

    def __init__(self, kind: Kind, recipe: Recipe, dim: int, codes: IO[bytes], sample: Floats | None = None) -> None:
        self.kind, self.recipe, self.dim, self.codes, self.sample = kind, recipe, dim, codes, sample
        self.index: Any = new_index(recipe, dim, sample)
        self.ids: list[Ids] = [np.empty(0, np.int64)]

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        if not len(ids):
            return
        self.ids.append(ids)
        self.codes.write(np.ascontiguousarray(vectors, "<f2").tobytes())
        if self.recipe.coarse:
            load_faiss().downcast_index(self.index.base_index).add(vectors.astype(np.float32))

    def write(self, folder: Path, space_id: int, after: int, mark: int) -> Generation:
        """The file; lists that cannot keep their promise are left out."""
        ids, lists = np.concatenate(self.ids), None
        if self.sample is not None:
            calibrated = self._calibrated(ids, self.sample)
            self.recipe, lists = (calibrated, self.index) if calibrated else (Recipe(), None)
        self.codes.seek(0)
        made = Generation(0, space_id, self.kind, "", "", 0, len(ids), mark, self.dim, self.recipe, after)
        return write_file(folder, made, ids, self.codes, lists)

    def _calibrated(self, ids: Ids, sample: Floats) -> Recipe | None:
        self.codes.flush()
        codes = np.memmap(self.codes, np.uint8, "r+", shape=(len(ids), 2 * self.dim))
        segment = Segment(ids, self.index, self.recipe, regions=self.kind == "region", codes=codes)
        return calibrate(segment, sample[:: max(1, len(sample) // CALIBRATION_ROWS)])


def build(
    connection: Connection,
    folder: Path,
    space_id: int,
    kinds: Sequence[Kind],
    progress: Progress | None = None,
    after: int = 0,
) -> list[Generation]:
    """Write one new file per kind with everything that the connection's snapshot holds of ``seq > after``.

    Args:
        progress: called after each block of photos.
    """
    mark, dim = space_head(connection, space_id)
    photos, regions = count(connection, space_id, after)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"image": photos, "region": regions, "text": text_reads.count(connection, space_id, after)}
    with ExitStack() as files:
        growing: dict[Kind, _Growing] = {}
        for kind in kinds:
            recipe, spool = recipe_for(rows[kind], dim), files.enter_context(tempfile.TemporaryFile(dir=folder))
            sample = _sample(connection, space_id, dim, kind, recipe, rows, after) if recipe.coarse else None
            growing[kind] = _Growing(kind, recipe, dim, spool, sample)
        if "text" in growing:
            for texts in text_reads.stream(connection, space_id, dim, after_seq=after):
                growing["text"].add(texts.passage_ids, texts.vectors)
        done = 0
        of_photos = any(kind in PHOTO_KINDS for kind in kinds)
        for block in stream(connection, space_id, dim, after_seq=after) if of_photos else ():
            if "image" in growing:
                growing["image"].add(block.photo_ids, block.image)
            if "region" in growing:
                growing["region"].add(block.region_ids, block.regions)
            done += len(block.photo_ids)
            if progress is not None:
                progress(done, photos)
        return [grown.write(folder, space_id, after, mark) for grown in growing.values()]


def rechecked(folder: Path, row: Generation, made: Sequence[Generation]) -> Recipe:
    """How a file that stays is to be searched for queries near what new files hold, too; its kind is among theirs."""
    new = next(one for one in made if one.kind == row.kind)
    came = open_file(folder, new, checked=False)
    sample = came.codes[:: max(1, len(came) // CALIBRATION_ROWS)].view("<f2").astype(np.float32)
    recipe = calibrate_again(open_file(folder, row, checked=False), sample)
    return replace(recipe, checked=new.mark)


def _sample(
    connection: Connection,
    space_id: int,
    dim: int,
    kind: Kind,
    recipe: Recipe,
    rows: dict[str, int],
    after: int,
) -> Floats:
    """Vectors to train the lists of a recipe on: `TRAIN_PER_LIST` a list, of photos picked by a hash of their ids."""
    wanted = TRAIN_PER_LIST * recipe.lists
    if kind == "text":
        ids = sample_ids(text_reads.encoded_ids(connection, space_id, after_seq=after), wanted)
        return text_reads.halves(connection, space_id, dim, ids).vectors.astype(np.float32)
    photos = round(rows["image"] * min(1.0, wanted / rows[kind]))
    some = halves(connection, space_id, dim, sample_ids(encoded_ids(connection, space_id, after_seq=after), photos))
    return (some.image if kind == "image" else some.regions).astype(np.float32)
