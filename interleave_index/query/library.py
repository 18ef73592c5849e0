"""The vectors of a library before one query, wherever they are held. Knows the store's indexes, not SQL.

`OneMachine` holds all of them here. A cluster holds parts of them elsewhere and gives the same answers
(`interleave_index.cluster`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..records import Floats, Partial
from .approximate import Beside, best_photos
from .candidates import Ids, Vectors, every_cosine, vectors_of
from .leading import Leading, leading
from .score import Cosines, ScoringQuery, fuse, with_texts
from .texts import PassageIndex

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes
    from ..storage.store import Store


@dataclass(frozen=True, slots=True)
class Request:
    """What a ranking asks of a library.

    Attributes:
        query: as the score sees it.
        allowed: (n,) photo ids, ascending; None is all.
        count: photos that are wanted.
        own: the photo that the query is, as for `leading`.
    """

    query: ScoringQuery
    allowed: Ids | None
    count: int
    own: int | None

    def leading(self, photo_ids: Ids, cosines: Cosines, added: Callable[[Ids], Floats]) -> Leading:
        """The best of these photos, by their cosines and by what texts add."""
        scores = with_texts(fuse(cosines, self.query), added(photo_ids))
        return leading(photo_ids, scores, self.count, self.own)


class Library(Protocol):
    """Vectors of all photos of a space, as one query asks for them."""

    @property
    def text(self) -> PassageIndex:
        """The index of passages."""

    def best(self, request: Request, added: Callable[[Ids], Floats]) -> Leading:
        """The best of every allowed photo: the exact path.

        Args:
            added: gives what texts add to the scores of some photos.
        """

    def nearly_best(self, request: Request, beside: Beside, top_k: int, most: int) -> Leading:
        """The best of those photos among which the `top_k` best are: the ann path; see `best_photos`."""

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

    def best(self, request: Request, added: Callable[[Ids], Floats]) -> Leading:
        """See `Library`."""
        ids, cosines = every_cosine(self._indexes, request.query, request.allowed)
        return request.leading(ids, cosines, added)

    def nearly_best(self, request: Request, beside: Beside, top_k: int, most: int) -> Leading:
        """See `Library`."""
        ids, cosines = best_photos(self._indexes, request.query, request.allowed, top_k, most, beside)
        return request.leading(ids, cosines, beside.added)

    def vectors(self, photo_ids: Ids) -> Vectors:
        """See `Library`."""
        return vectors_of(self._indexes, photo_ids)
