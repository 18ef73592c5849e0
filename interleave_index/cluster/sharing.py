"""Which part of a library holds a photo, and what is asked of a part. numpy only, pure; everything here travels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..query.score import ScoringQuery
from ..records import Floats
from ..storage.files import Kind

Ids = NDArray[np.int64]
NONE: Ids = np.empty(0, np.int64)


def share(photo_ids: Ids, number: int, parts: int) -> Ids:
    """Those of the photos that belong to part `number` of `parts`, in their order: by the remainder of their ids.

    >>> share(np.arange(1, 8), 1, 3).tolist()
    [1, 4, 7]
    """
    own: Ids = photo_ids[photo_ids % parts == number]
    return own


def digest(photo_ids: Ids) -> bytes:
    """8 bytes by which two lists of photos are told apart."""
    return hashlib.blake2b(np.ascontiguousarray(photo_ids, "<i8").tobytes(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Added:
    """What texts add to the scores of photos: (n,) ascending ids and (n,) float32; nothing to any other photo."""

    photo_ids: Ids
    values: Floats

    @staticmethod
    def of(photo_ids: Ids, values: Floats) -> Added:
        """Without the photos to which nothing is added."""
        there = values != 0
        return Added(photo_ids[there], values[there])

    def to(self, photo_ids: Ids) -> Floats:
        """(n,) float32: what is added to each of some photos."""
        values = np.zeros(len(photo_ids), np.float32)
        if len(self.photo_ids):
            places = np.minimum(np.searchsorted(self.photo_ids, photo_ids), len(self.photo_ids) - 1)
            there = self.photo_ids[places] == photo_ids
            values[there] = self.values[places[there]]
        return values

    def share(self, number: int, parts: int) -> Added:
        """For the photos of one part."""
        own = self.photo_ids % parts == number
        return Added(self.photo_ids[own], self.values[own])


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of a library that a question is about, as one part sees it.

    Attributes:
        space_id: of the catalog.
        digest: of the photos that the part holds at that moment.
    """

    space_id: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class BestAsked:
    """Asks for the best of all photos of a part: `Library.best`.

    Attributes:
        allowed: those of its photos that may be found, ascending; None is all.
        own: the photo that the query is, or is a part of.
    """

    query: ScoringQuery
    allowed: Ids | None
    added: Added
    count: int
    own: int | None


@dataclass(frozen=True, slots=True)
class RoughAsked:
    """Asks for the best of a part by rough scores: `approximate.best_by_rough_scores`."""

    query: ScoringQuery
    allowed: Ids | None
    added: Added
    count: int


@dataclass(frozen=True, slots=True)
class IndexAsked:
    """Asks one index of a part: a method of `VectorIndex` and its arguments.

    Attributes:
        count: of `nearest_photos`.
        exact: what the part said of its index: whether it has no inverted lists. Another one is no answer.
    """

    method: Literal["best", "rough", "nearest_photos"]
    kind: Kind
    queries: Floats
    allowed: Ids | None
    count: int = 0
    exact: bool | None = None


@dataclass(frozen=True, slots=True)
class StateAsked:
    """Asks what a part holds."""

    allowed: Ids | None = None


Asked = BestAsked | RoughAsked | IndexAsked | StateAsked


@dataclass(frozen=True, slots=True)
class State:
    """What a part holds: how many photos, and by kind whether its vectors have no inverted lists."""

    photos: int
    exact: dict[Kind, bool]


@dataclass(frozen=True, slots=True)
class Changed:
    """Instead of an answer: the part is at another moment, or has other files, than the question is about."""

    what: Literal["photos", "files"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a part says to a question.

    Attributes:
        told: `Leading` to `BestAsked`, ids and scores to `RoughAsked`, what the method gives to `IndexAsked`, `State`
            to `StateAsked`; or `Changed`.
        behind: photos of the question that the part has not taken in yet.
    """

    told: Any
    behind: int = 0
