"""Photos of one segment that may be found, and their rows in the forms that searches want. numpy only."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .rows import Ids

if TYPE_CHECKING:
    from .segment import Segment


class Selection:
    """Photos of one segment that may be found.

    Args:
        segment: the rows.
        photos: positions among its `photo_ids`, ascending; None is all of them.
        filtered: whether more is left out than what no longer holds.
    """

    def __init__(self, segment: Segment, photos: Ids | None, *, filtered: bool) -> None:
        self._segment, self.photos, self.filtered = segment, photos, filtered

    @property
    def everything(self) -> bool:
        """Whether every photo of the segment is chosen."""
        return self.photos is None

    @cached_property
    def photo_ids(self) -> Ids:
        """The chosen photos, ascending."""
        return self._segment.photo_ids if self.photos is None else self._segment.photo_ids[self.photos]

    @cached_property
    def first(self) -> Ids:
        """(photos,) where the rows of each chosen photo begin."""
        return self._segment.starts[:-1] if self.photos is None else self._segment.starts[self.photos]

    @cached_property
    def past(self) -> Ids:
        """(photos,) where the rows of each chosen photo end."""
        return self._segment.starts[1:] if self.photos is None else self._segment.starts[self.photos + 1]

    @cached_property
    def count(self) -> int:
        """Number of chosen rows."""
        return len(self._segment) if self.photos is None else int((self.past - self.first).sum())

    @property
    def share(self) -> float:
        """Of the segment's rows."""
        return self.count / max(1, len(self._segment))

    @cached_property
    def rows(self) -> Ids:
        """The chosen rows, ascending."""
        if self.photos is None:
            return np.arange(len(self._segment))
        counts = self.past - self.first
        return np.repeat(self.first - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))

    @cached_property
    def bits(self) -> NDArray[np.uint8] | None:
        """One bit a row, least significant first; None when every row is chosen."""
        if self.photos is None:
            return None
        marked = np.zeros(len(self._segment.photo_ids), np.bool_)
        marked[self.photos] = True
        if self._segment.regions:
            marked = np.repeat(marked, np.diff(self._segment.starts))
        return np.packbits(marked, bitorder="little")

    def holds(self, rows: Ids) -> NDArray[np.bool_]:
        """Whether each of these rows is chosen."""
        if self.bits is None:
            return np.ones(rows.shape, np.bool_)
        places = (rows & 7).astype(np.uint8)
        return np.asarray((self.bits[rows >> 3] >> places) & 1, np.bool_)
