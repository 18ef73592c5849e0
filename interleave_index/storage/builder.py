"""Building FAISS indexes from the catalog, in one pass over a snapshot. Knows no transactions.

Memory does not grow with the vectors: exact codes go to disk as they come, and only inverted lists are held, with
`recipes.list_bytes` a row, beside a sample that they are trained on.
"""

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
from .files import PHOTO_KINDS, Generation, Kind, is_as_written, open_file, write_file
from .generations import space_head
from .indexes import SpaceIndexes
from .recipes import TRAIN_PER_LIST, Recipe, new_index, recipe_for
from .rows import Ids
from .segment import Segment
from .vectors import count, encoded_ids, halves, sample_ids, stream

Progress = Callable[[int, int], None]  # photos done, photos in all
CALIBRATION_ROWS = 4096
COPIED_ROWS = 1 << 17  # at a time


class _Growing:
    """A FAISS file while it is being filled. The exact codes are spooled to disk, and lists take `list_bytes` a row.

    Args:
        codes: an empty file, open for writing and reading.
        sample: (n, D) float32 to train and calibrate the lists of a coarse recipe on.
        index: lists that are trained already.
    """

    def __init__(
        self,
        kind: Kind,
        recipe: Recipe,
        dim: int,
        codes: IO[bytes],
        sample: Floats | None = None,
        index: Any = None,
    ) -> None:
        self.kind, self.recipe, self.dim, self.codes, self.sample = kind, recipe, dim, codes, sample
        self.index: Any = new_index(recipe, dim, sample) if index is None else index
        self.ids: list[Ids] = [np.empty(0, np.int64)]
        self.source: Segment | None = None

    @staticmethod
    def continued(folder: Path, row: Generation, codes: IO[bytes]) -> _Growing:
        """A file that holds what another one does, to be filled further; its lists are not trained again."""
        segment = open_file(folder, row, checked=False)  # its own: lists that searches use must not grow
        for start in range(0, len(segment), COPIED_ROWS):
            codes.write(segment.codes[start : start + COPIED_ROWS].tobytes())
        sample = index = None
        if row.recipe.coarse:
            some = segment.codes[:: max(1, len(segment) // CALIBRATION_ROWS)]
            sample, index = some.view("<f2").astype(np.float32), _with_empty_codes(segment)
        grown = _Growing(row.kind, row.recipe, row.dim, codes, sample, index)
        grown.ids.append(np.array(segment.ids))
        grown.source = segment  # whose lists FAISS holds by bare pointers
        return grown

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Append rows; ids ascend over all calls."""
        if not len(ids):
            return
        self.ids.append(ids)
        self.codes.write(np.ascontiguousarray(vectors, "<f2").tobytes())
        if self.recipe.coarse:
            load_faiss().downcast_index(self.index.base_index).add(vectors.astype(np.float32))

    def write(self, folder: Path, space_id: int, mark: int) -> Generation:
        """The file; lists that cannot keep their promise are left out."""
        ids, lists = np.concatenate(self.ids), None
        if self.sample is not None:
            calibrated = self._calibrated(ids, self.sample)
            self.recipe, lists = (calibrated, self.index) if calibrated else (Recipe(), None)
        self.codes.seek(0)
        made = Generation(0, space_id, self.kind, "", "", 0, len(ids), mark, self.dim, self.recipe)
        return write_file(folder, made, ids, self.codes, lists)

    def _calibrated(self, ids: Ids, sample: Floats) -> Recipe | None:
        self.codes.flush()
        codes = np.memmap(self.codes, np.uint8, "r+", shape=(len(ids), 2 * self.dim))
        segment = Segment(ids, self.index, self.recipe, regions=self.kind == "region", codes=codes)
        return calibrate(segment, sample[:: max(1, len(sample) // CALIBRATION_ROWS)])


def _with_empty_codes(segment: Segment) -> Any:
    """The lists of a segment before an exact part without rows, as `write_file` takes them."""
    faiss = load_faiss()
    lists, flat = faiss.downcast_index(segment.index.base_index), new_index(Recipe(), segment.index.d)
    lists.ntotal = 0  # FAISS joins only parts of one length
    index = faiss.IndexRefine(lists, flat)
    lists.ntotal = len(segment)
    return index


def can_continue(folder: Path, indexes: SpaceIndexes, kinds: Sequence[Kind], rows: dict[str, int]) -> bool:
    """Whether the files of these kinds of photos can be filled further, rather than be made of the catalog anew.

    So it is where photos only came, the recipe stays, and the files are, to the byte, what they were written as.
    """
    found = [indexes.of(kind) for kind in kinds]
    if not found or len({index.mark for index in found}) > 1 or not len(indexes.image.delta):
        return False
    return all(
        index.generation is not None
        and len(index.generation[0]) > 0
        and not len(index.dead)
        and (not len(index.delta) or index.delta.ids[0] > index.generation[0].ids[-1])
        and index.generation[1].recipe.lists == recipe_for(rows[index.kind], index.dim).lists
        and is_as_written(folder, index.generation[1])
        for index in found
    )


def build(
    connection: Connection,
    folder: Path,
    space_id: int,
    kinds: Sequence[Kind],
    progress: Progress | None = None,
    before: SpaceIndexes | None = None,
) -> list[Generation]:
    """Write one new file per kind with everything that the connection's snapshot holds.

    Args:
        progress: called after each block of photos.
        before: what is searched now, as of the same snapshot; photos that came since are added to its files where that
            is possible, see `can_continue`. None makes files of the catalog alone.
    """
    mark, dim = space_head(connection, space_id)
    photos, regions = count(connection, space_id)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"image": photos, "region": regions, "text": text_reads.count(connection, space_id)}
    of_photos = [kind for kind in kinds if kind in PHOTO_KINDS]
    goes_on = before is not None and before.seq == mark and can_continue(folder, before, of_photos, rows)
    after = before.of(of_photos[0]).mark if before is not None and goes_on else 0
    with ExitStack() as files:
        growing: dict[Kind, _Growing] = {}
        for kind in kinds:
            recipe, spool = recipe_for(rows[kind], dim), files.enter_context(tempfile.TemporaryFile(dir=folder))
            generation = before.of(kind).generation if before is not None and goes_on and kind in of_photos else None
            if generation is not None:
                growing[kind] = _Growing.continued(folder, generation[1], spool)
                continue
            sample = _sample(connection, space_id, dim, kind, recipe, rows) if recipe.coarse else None
            growing[kind] = _Growing(kind, recipe, dim, spool, sample)
        if "text" in growing:
            for texts in text_reads.stream(connection, space_id, dim):
                growing["text"].add(texts.passage_ids, texts.vectors)
        done = len(before.image.generation[0]) if before is not None and before.image.generation and after else 0
        for block in stream(connection, space_id, dim, after_seq=after) if of_photos else ():
            if "image" in growing:
                growing["image"].add(block.photo_ids, block.image)
            if "region" in growing:
                growing["region"].add(block.region_ids, block.regions)
            done += len(block.photo_ids)
            if progress is not None:
                progress(done, photos)
        return [grown.write(folder, space_id, mark) for grown in growing.values()]


def _sample(
    connection: Connection, space_id: int, dim: int, kind: Kind, recipe: Recipe, rows: dict[str, int]
) -> Floats:
    """Vectors to train the lists of a recipe on: `TRAIN_PER_LIST` a list, of photos picked by a hash of their ids."""
    wanted = TRAIN_PER_LIST * recipe.lists
    if kind == "text":
        ids = sample_ids(text_reads.encoded_ids(connection, space_id), wanted)
        return text_reads.halves(connection, space_id, dim, ids).vectors.astype(np.float32)
    photos = round(rows["image"] * min(1.0, wanted / rows[kind]))
    some = halves(connection, space_id, dim, sample_ids(encoded_ids(connection, space_id), photos))
    return (some.image if kind == "image" else some.regions).astype(np.float32)
