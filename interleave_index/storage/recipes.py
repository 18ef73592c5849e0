"""How a FAISS index is built and searched for a number of rows. Knows no files and no SQL.

A recipe's exact part is always flat fp16, which is what the catalog stores and therefore lossless. A large one has
inverted lists of 4-bit product codes in front, whose candidates are scored again on the exact codes. Both are mapped
from the file; the lists take `list_bytes` a row, in memory while they are filled, and afterwards as far as they are
looked at.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from . import gpu
from .backend import load_faiss

FLAT = "SQfp16"
# 1.2 million rows of D = 256 were scanned in 18.6 ms, so these take about a third; the file is made without holding it
FLAT_ROWS = 400_000
ROWS_A_PHOTO = 2  # that are asked for where an effort was measured for rows
NEARLY_ALL = 0.8  # share of rows left from which an effort is widened in proportion, not to that of a larger k
TRAIN_PER_LIST = 64  # vectors for each inverted list in training


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """How far one search goes: inverted lists looked at, and candidates scored again exactly."""

    nprobe: int
    candidates: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """A FAISS factory string and how to search what it builds.

    Attributes:
        factory: ``SQfp16`` (exact), or a coarse index with ``Refine(SQfp16)``.
        lists: number of inverted lists; 0 for an exact one.
        search: calibrated effort by the largest k that it was measured for; `candidates` are rows.
        recall: measured share of the true k best that is found, by k; the worst of the kinds of queries.
        grouped: k counts photos, by the best row of each, as queries want them; in older files it counts rows.
        checked: value of the counter up to which encodings were among those that the effort was measured with; 0 is the
            mark of its file.
    """

    factory: str = FLAT
    lists: int = 0
    search: dict[int, Probe] = field(default_factory=dict)
    recall: dict[int, float] = field(default_factory=dict)
    grouped: bool = False
    checked: int = 0

    @property
    def coarse(self) -> bool:
        """Whether a coarse index stands before the exact codes."""
        return self.lists > 0

    def photo_effort(self, photos: int, share: float = 1.0) -> Probe:
        """How far to look for so many nearest photos."""
        return self.effort(photos if self.grouped else ROWS_A_PHOTO * photos, share)

    def effort(self, k: int, share: float = 1.0) -> Probe:
        """How far to look for the k best when only this share of the rows may be found.

        The k best of a share s of the rows lie about where the k / s best of all rows do.
        """
        levels = sorted(self.search)
        level = next((level for level in levels if level >= k), levels[-1])
        if share >= NEARLY_ALL and k <= level:  # a tenth was removed, say: a tenth more lists do
            reach = self.search[level].nprobe / share
        else:
            wide = k / max(share, 1e-6)
            near = next((level for level in levels if level >= wide), levels[-1])
            reach = self.search[near].nprobe * math.sqrt(max(1.0, wide / near))
        candidates = self.search[level].candidates * max(1.0, k / level)
        return Probe(min(self.lists, math.ceil(reach)), max(2 * k, math.ceil(candidates)))

    def parameters(self, k: int, rows: int, share: float, bits: NDArray[np.uint8] | None) -> Any:
        """FAISS search parameters for one call, or None.

        Args:
            k: how many are asked for.
            rows: of the index.
            share: of the rows that may be found; fewer rows need more lists.
            bits: which positions may be found, packed little-endian; None is all. Kept alive by the caller.
        """
        faiss = load_faiss()
        given = {} if bits is None else {"sel": faiss.IDSelectorBitmap(rows, faiss.swig_ptr(bits))}
        if not self.coarse:
            return faiss.SearchParameters(**given) if given else None
        effort = self.effort(k, share)
        # The selector belongs to the lists: the outer index would apply it after the candidates are chosen.
        inner = faiss.SearchParametersIVF(nprobe=effort.nprobe, **given)
        return faiss.IndexRefineSearchParameters(k_factor=effort.candidates / k, base_index_params=inner)

    def to_json(self) -> str:
        """The recipe as it is kept in its generation's row."""
        search = {k: [probe.nprobe, probe.candidates] for k, probe in self.search.items()}
        plain = {"factory": self.factory, "lists": self.lists, "search": search, "recall": self.recall}
        return json.dumps({**plain, "grouped": self.grouped, "checked": self.checked})

    @staticmethod
    def from_json(text: str) -> Recipe:
        """What `to_json` wrote."""
        plain = json.loads(text)
        return Recipe(
            plain["factory"],
            plain["lists"],
            {int(k): Probe(*v) for k, v in plain["search"].items()},
            {int(k): v for k, v in plain["recall"].items()},
            plain.get("grouped", False),
            plain.get("checked", 0),
        )


def recipe_for(rows: int, dim: int) -> Recipe:
    """The recipe for a number of rows, not calibrated yet.

    >>> recipe_for(100_000, 256).factory, recipe_for(1_200_000, 256).factory
    ('SQfp16', 'IVF1024,PQ128x4fs,Refine(SQfp16)')
    """
    if rows <= FLAT_ROWS or dim % 2:
        return Recipe()
    lists = 2 ** max(4, round(math.log2(math.sqrt(rows))))
    return Recipe(f"IVF{lists},PQ{dim // 2}x4fs,Refine(SQfp16)", lists)


def list_bytes(dim: int) -> int:
    """Bytes of memory that a row of inverted lists takes: its product code and its position.

    >>> list_bytes(256)
    72
    """
    return dim // 4 + 8


def flat_head(rows: int, dim: int) -> bytes:
    """What FAISS writes before the codes of a flat index of this size, so that codes can follow from anywhere.

    The head of an index with one row, with the two places set that tell how many there are.

    Raises:
        StorageError: FAISS lays its file out in another way than expected.
    """
    faiss = load_faiss()
    index = new_index(Recipe(), dim)
    index.add(np.zeros((1, dim), np.float32))
    head = bytearray(faiss.serialize_index(index)[: -2 * dim].tobytes())
    for place, one, wanted in ((8, 1, rows), (len(head) - 8, 2 * dim, 2 * dim * rows)):
        if struct.unpack_from("<q", head, place) != (one,):
            raise StorageError(
                f"FAISS {faiss.__version__} writes a flat index otherwise than expected; "
                "install a version that the package names"
            )
        struct.pack_into("<q", head, place, wanted)
    return bytes(head)


def new_index(recipe: Recipe, dim: int, sample: NDArray[np.float32] | None = None) -> Any:
    """An empty FAISS index of this recipe.

    Args:
        sample: (n, D) float32 to train a coarse one on; at least 16 rows a list.
    """
    faiss = load_faiss()
    if not recipe.coarse:
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    index = faiss.index_factory(dim, recipe.factory, faiss.METRIC_INNER_PRODUCT)
    lists = faiss.extract_index_ivf(index)
    lists.cp.min_points_per_centroid = 1  # our samples are of a known size; FAISS would warn on standard error
    on_gpu = gpu.clustering_index(dim, faiss.METRIC_INNER_PRODUCT)
    if on_gpu is not None:
        lists.clustering_index = on_gpu
    index.train(sample)
    lists.clustering_index = None  # FAISS holds it by a bare pointer
    return index
