"""The vectors of a library before one query, wherever they are held. Knows the store's indexes, not SQL.

`OneMachine` holds all of them here. A cluster holds parts of them elsewhere and gives the same answers
(`interleave_index.cluster`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from ..records import Floats, Partial
from .approximate import Beside, best_photos
from .candidates import Ids, Vectors, every_cosine, vectors_of
from .leading import Leading, leading
from .score import ScoringQuery, fuse, with_texts
from .texts import PassageIndex

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes
    from ..storage.store import Store


class Library(Protocol):
    """Vectors of all photos of a space, as one query asks for them."""

    @property
    def text(self) -> PassageIndex:
        """The index of passages."""

    def best(
        self, query: ScoringQuery, allowed: Ids | None, added: Callable[[Ids], Floats], count: int, own: int | None
    ) -> Leading:
        """The `count` best of every allowed photo: the exact path.

        Args:
            allowed: (n,) photo ids, ascending; None is all.
            added: gives what texts add to the scores of some photos.
            own: as for `leading`.
        """

    def nearly_best(
        self,
        query: ScoringQuery,
        allowed: Ids | None,
        beside: Beside,
        top_k: int,
        most: int,
        count: int,
        own: int | None,
    ) -> Leading:
        """The `count` best of those photos among which the `top_k` best are: the ann path; see `best_photos`."""

    def vectors(self, photo_ids: Ids) -> Vectors:
        """The vectors of a few photos, in the order of their ids.

        Raises:
            NotInIndex: one of them is not there.
        """

    @property
    def partial(self) -> Partial | None:
        """What did not answer this query, where something did not."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of that."""


OpenLibrary = Callable[["Store", int], Library]


class OneMachine:
    """A library whose vectors are all in the indexes of this machine."""

    partial: Partial | None = None
    notes: Sequence[str] = ()

    def __init__(self, indexes: SpaceIndexes) -> None:
        self._indexes = indexes

    @staticmethod
    def of(store: Store, space_id: int) -> OneMachine:
        """That of a space, as of now."""
        return OneMachine(store.indexes(space_id))

    @property
    def text(self) -> PassageIndex:
        """See `Library`."""
        return self._indexes.text

    def best(
        self, query: ScoringQuery, allowed: Ids | None, added: Callable[[Ids], Floats], count: int, own: int | None
    ) -> Leading:
        """See `Library`."""
        ids, cosines = every_cosine(self._indexes, query, allowed)
        return leading(ids, with_texts(fuse(cosines, query), added(ids)), count, own)

    def nearly_best(
        self,
        query: ScoringQuery,
        allowed: Ids | None,
        beside: Beside,
        top_k: int,
        most: int,
        count: int,
        own: int | None,
    ) -> Leading:
        """See `Library`."""
        ids, cosines = best_photos(self._indexes, query, allowed, top_k, most, beside)
        return leading(ids, with_texts(fuse(cosines, query), beside.added(ids)), count, own)

    def vectors(self, photo_ids: Ids) -> Vectors:
        """See `Library`."""
        return vectors_of(self._indexes, photo_ids)
