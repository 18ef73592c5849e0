"""Exact codes of a segment held by GPUs, which score every photo in one pass over their memory.

The codes are cut at photos into one part a GPU and copied in the background; until they are there, and where they do
not fit, the processor answers as it did before. Only torch is used, so that the same code runs on any of its devices.

A product of fp16 codes with a float32 query keeps its exactness without widened copies: the query is cut into two
halves whose sum it is, and both are multiplied with sums in float32. Whether a device does that is tried on the first
rows; where it does not, blocks are widened before they are multiplied. Knows no SQL and no files.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from .rows import Ids

WORTH_ROWS = 100_000  # of a segment from which it is copied
BLOCK_ROWS = 1 << 18  # multiplied at a time: the products of 32 queries take 32 MB
TRIED_ROWS = 64
CLOSE = 1e-5  # of products of unit vectors that were summed in another order
_log = logging.getLogger(__name__)


@cache
def devices() -> tuple[str, ...]:
    """The GPUs that hold codes: those of faiss-gpu (extra `gpu`), where torch can use them; none without it."""
    from .backend import load_faiss

    if not load_faiss().get_num_gpus():
        return ()
    import torch

    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def held(codes: NDArray[np.uint8], starts: Ids) -> DeviceCodes | None:
    """The codes on all GPUs, as soon as they are there; None without a GPU, or where a segment is not worth it."""
    names = devices() if len(codes) >= WORTH_ROWS else ()
    return DeviceCodes(codes, starts, names) if names else None


def clustering_index(dim: int, metric: int) -> Any:
    """What FAISS assigns vectors to centres with while it trains inverted lists: all GPUs; None without one."""
    from .backend import load_faiss

    faiss = load_faiss()
    return faiss.index_cpu_to_all_gpus(faiss.IndexFlat(dim, metric)) if faiss.get_num_gpus() else None


class DeviceCodes:
    """Codes on one or several devices of torch.

    Args:
        codes: (n, 2 * D) uint8, rows of little-endian fp16; read in the background.
        starts: (N + 1,) int64, first row of each photo, and the number of rows; each photo has one at least.
        names: devices as torch names them; each gets about the same number of rows.
    """

    def __init__(self, codes: NDArray[np.uint8], starts: Ids, names: Sequence[str]) -> None:
        self._starts, self._names = starts, tuple(names)
        self._parts: list[_Part] | None = None
        self._filler = threading.Thread(target=self._fill, args=(codes,), name="codes to GPU", daemon=True)
        self._filler.start()

    @property
    def is_filled(self) -> bool:
        """Whether searches can be answered here; never, where the memory did not suffice."""
        return self._parts is not None

    def wait(self) -> None:
        """Return when the copy has ended, well or not."""
        self._filler.join()

    def best(self, queries: Floats) -> Floats | None:
        """For every photo its best inner product with each query (N, Q) float32; None while that cannot be said."""
        parts = self._parts
        if parts is None:
            return None
        try:
            return np.concatenate([part.best(queries) for part in parts])
        except RuntimeError as trouble:  # out of memory is one, and what a driver says when a card is lost
            self._give_up(trouble)
            return None

    def _fill(self, codes: NDArray[np.uint8]) -> None:
        total = int(self._starts[-1])
        try:
            wanted = [total * number // len(self._names) for number in range(1, len(self._names))]
            cuts = [0, *np.searchsorted(self._starts, wanted).tolist(), len(self._starts) - 1]
            self._parts = [
                _Part(codes, self._starts[first : past + 1], name)
                for name, first, past in zip(self._names, cuts, cuts[1:], strict=False)
                if first < past
            ]
        except RuntimeError as trouble:
            self._give_up(trouble)

    def _give_up(self, trouble: Exception) -> None:
        self._parts = None
        words = " ".join(str(trouble).split())[:160]
        _log.warning("vectors are searched by the processor: %s could not hold them (%s)", self._names[0], words)


class _Part:
    """Rows of some photos on one device."""

    def __init__(self, codes: NDArray[np.uint8], starts: Ids, name: str) -> None:
        import torch

        self.name, first = name, int(starts[0])
        self.starts = starts - first
        rows = int(self.starts[-1])
        self.codes = torch.empty((rows, codes.shape[1] // 2), dtype=torch.float16, device=name)
        for start in range(0, rows, BLOCK_ROWS):
            past = min(rows, start + BLOCK_ROWS)
            some = np.ascontiguousarray(codes[first + start : first + past]).view("<f2")
            self.codes[start:past] = torch.from_numpy(some).to(name)
        counts = torch.from_numpy(np.diff(self.starts))
        self.owner = torch.repeat_interleave(torch.arange(len(counts)), counts).to(name)
        self.halves_are_exact = _multiplies_halves(self.codes[:TRIED_ROWS])

    def best(self, queries: Floats) -> Floats:
        """(N, Q) best products of the photos."""
        import torch

        asked = torch.from_numpy(np.ascontiguousarray(queries, np.float32)).to(self.name)
        found = torch.full((len(self.starts) - 1, len(asked)), -torch.inf, device=self.name)
        multiply = _by_halves if self.halves_are_exact else _widened
        for start in range(0, len(self.codes), BLOCK_ROWS):
            products = multiply(self.codes[start : start + BLOCK_ROWS], asked)
            owner = self.owner[start : start + BLOCK_ROWS, None].expand_as(products)
            found.scatter_reduce_(0, owner, products, "amax")
        return np.asarray(found.cpu().numpy(), np.float32)


def _widened(codes: Any, queries: Any) -> Any:
    """(n, Q) float32 products of fp16 rows (n, D) with float32 queries (Q, D)."""
    return codes.float() @ queries.T


def _by_halves(codes: Any, queries: Any) -> Any:
    """The same, without a widened copy of the rows: a query is the sum of two fp16 vectors to about 22 bits."""
    import torch

    upper = queries.half()
    lower = (queries - upper.float()).half()
    products = torch.mm(codes, torch.cat([upper, lower]).T, out_dtype=torch.float32)
    return products[:, : len(queries)] + products[:, len(queries) :]


def _multiplies_halves(codes: Any) -> bool:
    """Whether a device multiplies fp16 with sums in float32 as exactly as it does widened."""
    asked = codes[:8].float() * 1.0003  # so that the lower halves count
    try:
        return bool((_by_halves(codes, asked) - _widened(codes, asked)).abs().max() < CLOSE)
    except (RuntimeError, TypeError):  # a device or an edition of torch that does not know such a product
        return False
