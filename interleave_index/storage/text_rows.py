"""Frozen records of text sources: what goes into a transaction and what comes out. Knows no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from ..records.texts import SourceText, Span
from .rows import Ids, LocationState

REFUSED = "ModelError"  # reason of a source that can be read, but of which the model takes not every passage


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What the catalog knows of one text source.

    Attributes:
        bytes, mtime_ns: as when it was last looked at.
        about: paths of the photos that its passages describe without standing around them.
    """

    id: int
    bytes: int
    mtime_ns: int
    state: LocationState
    kind: str
    sha256: str | None
    reason: str | None = None
    detail: str | None = None
    about: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DocumentWrite:
    """One text source at a path, as it is now.

    Attributes:
        path: absolute, as `os.fsdecode` makes it.
        kind: one of `records.texts.TEXT_KINDS`, but for ``embedded``.
        sha256: of the file; None when it could not be read.
        source: what it says; None for a failed one.
        reason, detail: class name and words of the failure, or None.
        moved_from: path where this content was before; its row takes the new path.
    """

    path: str
    kind: str
    sha256: str | None
    bytes: int
    mtime_ns: int
    source: SourceText | None = None
    reason: str | None = None
    detail: str | None = None
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class PendingPassage:
    """A passage that has no vectors in a space, or vectors made with other pictures.

    Attributes:
        photo_ids: of the pictures among its words, in order; None for one that is not indexed.
    """

    id: int
    text: str
    phrases: tuple[Span, ...]
    photo_ids: tuple[int | None, ...]

    @property
    def phrase_texts(self) -> list[str]:
        """The words of its phrases, in order."""
        return [self.text[start:end] for start, end in self.phrases]

    @property
    def pictures(self) -> str:
        """The photos whose pixels take part, as they are kept beside the vectors."""
        return picture_key(self.photo_ids)


def picture_key(photo_ids: Sequence[int | None]) -> str:
    """Photos whose pixels take part in a passage's vector, as text.

    >>> picture_key((7, None, 9))
    '7,,9'
    """
    return ",".join("" if photo_id is None else str(photo_id) for photo_id in photo_ids)


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """Vectors of one passage, unit length.

    Attributes:
        passage: (D,) float32, of the whole.
        phrases: (P, D) float32, one for each phrase.
        pictures: see `picture_key`.
    """

    passage_id: int
    passage: Floats
    phrases: Floats
    pictures: str


@dataclass(frozen=True)
class PassageLinks:
    """Which photos each passage shows or is about, for passages whose source is there.

    Attributes:
        passage_ids: (n,) int64, every such passage, ascending.
        of_passage, photo_ids: (m,) int64 pairs, `of_passage` ascending.
    """

    passage_ids: Ids
    of_passage: Ids
    photo_ids: Ids

    @cached_property
    def with_photos(self) -> Ids:
        """Passages that show or are about a photo, ascending, each once."""
        return np.unique(self.of_passage)

    @cached_property
    def _by_photo(self) -> Ids:
        """Positions of the pairs by photo, and by passage within one."""
        return np.argsort(self.photo_ids, kind="stable")

    @cached_property
    def _sorted_photos(self) -> Ids:
        return self.photo_ids[self._by_photo]

    def photos_of(self, passage_ids: Ids) -> Ids:
        """Photos of these passages, ascending, each once."""
        return np.unique(self.photo_ids[_ranges(self.of_passage, passage_ids)])

    def pairs_of(self, photo_ids: Ids) -> tuple[Ids, Ids]:
        """The pairs of these photos: passages, and the photo of each; by photo, then by passage."""
        places = self._by_photo[_ranges(self._sorted_photos, np.unique(photo_ids))]
        return self.of_passage[places], self.photo_ids[places]


def _ranges(sorted_values: Ids, wanted: Ids) -> Ids:
    """Positions at which any of the wanted values stands; those of one value together, in the order wanted."""
    first = np.searchsorted(sorted_values, wanted, "left")
    counts = np.searchsorted(sorted_values, wanted, "right") - first
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))


@dataclass(frozen=True, slots=True)
class TextHalves:
    """Vectors of some passages as they are stored, by id: passage ids (n,), their seqs (n,), vectors (n, D) fp16.

    `damaged` are ids of those that were left out, since their vectors are not what was written.
    """

    passage_ids: Ids
    seqs: Ids
    vectors: NDArray[np.float16]
    damaged: frozenset[int] = frozenset()
