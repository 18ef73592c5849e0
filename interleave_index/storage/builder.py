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
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from ..records import Floats
from . import text_reads
from .backend import load_faiss
from .calibrate import calibrate
from .calibrate import rechecked as calibrate_again
from .files import PHOTO_KINDS, Generation, Kind, open_file, open_trained, write_file
from .generations import live, space_head
from .recipes import TRAIN_PER_LIST, Recipe, new_index, recipe_for
from .rows import Ids
from .segment import Segment
from .vectors import count, encoded_ids, halves, sample_ids, stream

Progress = Callable[[int, int], None]  # photos done, photos in all
CALIBRATION_ROWS = 4096
WORTH_LISTS = 10_000  # rows of a file that takes the lists of another; a scan of fewer takes no longer


class _Growing:
    """A FAISS file while it is being filled. The exact codes are spooled to disk, and lists take `list_bytes` a row.

    Args:
        codes: an empty file, open for writing and reading.
        sample: (n, D) float32 to train and calibrate the lists of a coarse recipe on.
        trained: an index of the recipe that has its lists already, and no rows.
    """

    def __init__(
        self,
        kind: Kind,
        recipe: Recipe,
        dim: int,
        codes: IO[bytes],
        sample: Floats | None = None,
        trained: Any | None = None,
    ) -> None:
        self.kind, self.recipe, self.dim, self.codes, self.sample = kind, recipe, dim, codes, sample
        self.index: Any = new_index(recipe, dim, sample) if trained is None else trained
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


class Built(NamedTuple):
    """What was written, and the photos and passages that are left out since their stored vectors are damaged."""

    files: list[Generation]
    damaged: frozenset[int]
    damaged_passages: frozenset[int]


def build(
    connection: Connection,
    folder: Path,
    space_id: int,
    kinds: Sequence[Kind],
    progress: Progress | None = None,
    after: int = 0,
) -> Built:
    """Write one new file per kind with everything that the connection's snapshot holds of ``seq > after``.

    What is not as it was written is left out. A file that is too small for lists of its own takes those of a larger one
    that stays beside it: to scan it would take longer than to look at a few lists in both.

    Args:
        progress: called after each block of photos.
    """
    mark, dim = space_head(connection, space_id)
    photos, regions = count(connection, space_id, after)
    folder.mkdir(parents=True, exist_ok=True)
    rows = {"image": photos, "region": regions, "text": text_reads.count(connection, space_id, after)}
    with ExitStack() as files:
        growing: dict[Kind, _Growing] = {}
        damaged, damaged_passages = set[int](), set[int]()
        for kind in kinds:
            recipe, spool = recipe_for(rows[kind], dim), files.enter_context(tempfile.TemporaryFile(dir=folder))
            trained, wanted = None, TRAIN_PER_LIST * recipe.lists
            if not recipe.coarse and rows[kind] >= WORTH_LISTS:
                recipe, trained = _lists_beside(connection, folder, space_id, kind, after)
                wanted = CALIBRATION_ROWS
            sample = _sample(connection, space_id, dim, kind, wanted, rows, after) if recipe.coarse else None
            growing[kind] = _Growing(kind, recipe, dim, spool, sample, trained)
        if "text" in growing:
            for texts in text_reads.stream(connection, space_id, dim, after_seq=after):
                growing["text"].add(texts.passage_ids, texts.vectors)
                damaged_passages |= texts.damaged
        done = 0
        of_photos = any(kind in PHOTO_KINDS for kind in kinds)
        for block in stream(connection, space_id, dim, after_seq=after) if of_photos else ():
            if "image" in growing:
                growing["image"].add(block.photo_ids, block.image)
            if "region" in growing:
                growing["region"].add(block.region_ids, block.regions)
            damaged |= block.damaged
            done += len(block.photo_ids) + len(block.damaged)
            if progress is not None:
                progress(done, photos)
        made = [grown.write(folder, space_id, after, mark) for grown in growing.values()]
        return Built(made, frozenset(damaged), frozenset(damaged_passages))


def rechecked(folder: Path, row: Generation, made: Sequence[Generation]) -> Recipe:
    """How a file that stays is to be searched for queries near what new files hold, too; its kind is among theirs."""
    new = next(one for one in made if one.kind == row.kind)
    came = open_file(folder, new, checked=False)
    sample = came.codes[:: max(1, len(came) // CALIBRATION_ROWS)].view("<f2").astype(np.float32)
    recipe = calibrate_again(open_file(folder, row, checked=False), sample)
    return replace(recipe, checked=new.mark)


def _lists_beside(
    connection: Connection, folder: Path, space_id: int, kind: Kind, after: int
) -> tuple[Recipe, Any | None]:
    """The recipe and the trained, empty lists of the largest file that stays; the flat recipe where there is none."""
    stay = [row for row in live(connection, space_id) if row.kind == kind and row.mark <= after and row.recipe.coarse]
    largest = max(stay, key=lambda row: row.rows, default=None)
    trained = open_trained(folder, largest) if largest else None
    if largest is None or trained is None:
        return Recipe(), None
    return Recipe(largest.recipe.factory, largest.recipe.lists), trained


def _sample(
    connection: Connection,
    space_id: int,
    dim: int,
    kind: Kind,
    wanted: int,
    rows: dict[str, int],
    after: int,
) -> Floats:
    """About as many vectors as are wanted to train or calibrate lists on, of photos picked by a hash of their ids."""
    if kind == "text":
        ids = sample_ids(text_reads.encoded_ids(connection, space_id, after_seq=after), wanted)
        return text_reads.halves(connection, space_id, dim, ids).vectors.astype(np.float32)
    photos = round(rows["image"] * min(1.0, wanted / rows[kind]))
    some = halves(connection, space_id, dim, sample_ids(encoded_ids(connection, space_id, after_seq=after), photos))
    return (some.image if kind == "image" else some.regions).astype(np.float32)
