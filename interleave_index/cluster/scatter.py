"""A library whose vectors are in parts: every part is asked, and their answers are put together. Knows no Ray.

What is asked of all photos is answered by each part for its own, and what is answered is small: the best of a part,
those that lead by some measure (`query.leading`), or its lists of the nearest. What makes an answer is reckoned from
these here, as on one machine: the calibration and the texts come from the catalog, the best photos are scored once
more from the vectors that it holds, and the library is judged by the best of all parts. An exact answer is therefore
that of one machine to the last bit. So is that of the ann path while no part has inverted lists; lists of different
parts are different lists, and answers by them are equal within the recall that is promised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from ..errors import StorageError
from ..query.approximate import Beside, best_photos, rough_count
from ..query.candidates import Vectors
from ..query.leading import Leading, merged
from ..query.library import Request
from ..query.texts import PassageIndex
from ..records import Floats, Partial
from ..storage.files import Kind
from ..storage.near import Near, joined
from ..wording import number_of
from .sharing import (
    NONE,
    Added,
    Asked,
    BestAsked,
    Changed,
    Ids,
    IndexAsked,
    Moment,
    Reply,
    RoughAsked,
    State,
    StateAsked,
    digest,
    share,
)

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes
    from ..storage.store import Store

NOTHING = Leading(0, NONE, np.empty(0, np.float32), ())  # where no part answers
TRIES = 4  # files of a part may be put in the place of others while a query goes on


class Parts(Protocol):
    """The parts of a library, wherever they are."""

    @property
    def count(self) -> int:
        """How many there are."""

    def ask(self, questions: Mapping[int, tuple[Moment, Asked]]) -> dict[int, Reply]:
        """Ask parts by number, all at once; those that do not answer are left out."""


class _Again(Exception):
    """A part fell silent, or changed its files, in the middle of a query, which is asked once more without it."""


class Scattered:
    """A library in parts, for one query; see `query.library.Library`.

    Args:
        store: the catalog.
        space_id: of it.
        parts: hold the vectors.
    """

    def __init__(self, store: Store, space_id: int, parts: Parts) -> None:
        self._store, self._space_id, self._parts = store, space_id, parts
        self._lost: set[int] = set()
        self._behind = 0
        self._shares: list[Ids] | None = None
        self._moments: list[Moment] = []

    @property
    def text(self) -> PassageIndex:
        """See `Library`: passages are searched on this machine."""
        if not len(self._store.texts.links().passage_ids):
            return _NoPassages()
        return self._store.indexes(self._space_id).text

    @property
    def partial(self) -> Partial | None:
        """See `Library`."""
        return Partial(self._parts.count, tuple(sorted(self._lost))) if self._lost else None

    @property
    def notes(self) -> list[str]:
        """See `Library`."""
        found = []
        if self._lost:
            silent = number_of(len(self._lost), "part")
            found.append(f"partial: {silent} of {self._parts.count} did not answer; the photos there are missing here")
        if self._behind:
            found.append(f"{number_of(self._behind, 'photo')} came just now and will be found in a moment")
        return found

    def vectors(self, photo_ids: Ids) -> Vectors:
        """See `Library`: a few photos, from the catalog."""
        block = self._store.vectors(self._space_id, photo_ids)
        return Vectors(block.image, block.regions, block.offsets)

    def best(self, request: Request, added: Callable[[Ids], Floats]) -> Leading:
        """See `Library`."""
        query, allowed, count, own = request.query, request.allowed, request.count, request.own
        every = self._every(allowed)
        of_texts = Added.of(every, added(every))
        found = self._gather(
            allowed, lambda ids, n: BestAsked(query, ids, of_texts.share(n, self._parts.count), count, own)
        )
        return merged(found, count) if found else NOTHING

    def nearly_best(self, request: Request, beside: Beside, top_k: int, most: int) -> Leading:
        """See `Library`."""
        for _ in range(self._parts.count + TRIES):
            try:
                return self._nearly_best(request, beside, top_k, most)
            except _Again:
                continue
        raise StorageError("parts of the cluster change faster than a query can be answered; ask again")

    def _nearly_best(self, request: Request, beside: Beside, top_k: int, most: int) -> Leading:
        query, allowed = request.query, request.allowed
        states = self._states()
        if not states:
            return NOTHING
        indexes = self._indexes(states)

        def by_rough_scores() -> Ids:
            every = self._every(allowed)
            wanted = rough_count(len(every), top_k)
            if len(every) <= wanted:
                return every
            of_texts = Added.of(every, beside.added(every))
            found = self._gather(
                allowed, lambda ids, n: RoughAsked(query, ids, of_texts.share(n, self._parts.count), wanted), states
            )
            photo_ids = np.concatenate([ids for ids, _ in found])
            scores = np.concatenate([values for _, values in found])
            return np.sort(photo_ids[np.lexsort((photo_ids, -scores))[:wanted]])

        ids, cosines = best_photos(indexes, query, allowed, top_k, most, beside, by_rough_scores=by_rough_scores)
        return request.leading(ids, cosines, beside.added)

    def gather_index(
        self, states: Mapping[int, State], allowed: Ids | None, ask: Callable[[Ids | None, int], IndexAsked]
    ) -> list[Any]:
        """What one index of every part answers; for `_PartIndex`."""
        return self._gather(allowed, ask, states)

    def _indexes(self, states: Mapping[int, State]) -> SpaceIndexes:
        """What the ann path asks of the indexes of a machine, of those of all parts."""
        return cast("SpaceIndexes", _Indexes(_PartIndex("image", self, states), _PartIndex("region", self, states)))

    def _states(self) -> dict[int, State]:
        """What each part holds, by number."""
        replies = self._replies(None, lambda ids, _: StateAsked(ids))
        return {number: reply.told for number, reply in replies.items()}

    def _gather(
        self,
        allowed: Ids | None,
        make: Callable[[Ids | None, int], Asked],
        states: Mapping[int, State] | None = None,
    ) -> list[Any]:
        """What the parts tell, in their order.

        Args:
            allowed: photos that may be found, ascending; None is all.
            make: the question to a part, of its share of them and its number.
            states: the parts that have to answer; where one of them does not, or has other files by now, the whole
                query is asked again.
        """
        replies = self._replies(allowed, make)
        told = [reply.told for _, reply in sorted(replies.items())]
        if states is not None and (set(states) != set(replies) or any(isinstance(one, Changed) for one in told)):
            raise _Again
        self._behind = max(self._behind, sum(reply.behind for reply in replies.values()))
        return told

    def _replies(self, allowed: Ids | None, make: Callable[[Ids | None, int], Asked]) -> dict[int, Reply]:
        moments, shares = self._snapshot()
        count = self._parts.count

        def questions(numbers: Sequence[int], *, named: bool) -> dict[int, tuple[Moment, Asked]]:
            asked = {}
            for number in numbers:
                own = shares[number] if allowed is None and named else None
                own = share(allowed, number, count) if allowed is not None else own
                asked[number] = moments[number], make(own, number)
            return asked

        numbers = [number for number in range(count) if number not in self._lost]
        replies = self._parts.ask(questions(numbers, named=False))
        # A part that is at another moment is told by name which photos this one knows.
        elsewhere = [n for n, reply in replies.items() if reply.told == Changed("photos")]
        if elsewhere:
            for number in elsewhere:
                del replies[number]
            replies |= self._parts.ask(questions(elsewhere, named=True))
        self._lost |= set(numbers) - set(replies)
        return replies

    def _every(self, allowed: Ids | None) -> Ids:
        """The allowed photos, of which those that are encoded can be found."""
        return self._store.encoded(self._space_id) if allowed is None else allowed

    def _snapshot(self) -> tuple[list[Moment], list[Ids]]:
        """Each part's moment, and the photos that it holds then."""
        if self._shares is None:
            every, count = self._store.encoded(self._space_id), self._parts.count
            self._shares = shares_of(every, count)
            self._moments = [Moment(self._space_id, digest(own)) for own in self._shares]
        return self._moments, self._shares


def shares_of(photo_ids: Ids, parts: int) -> list[Ids]:
    """The photos of every part."""
    return [share(photo_ids, number, parts) for number in range(parts)]


class _PartIndex:
    """One index of all parts, as far as the ann path asks it: what is used there of `VectorIndex`."""

    def __init__(self, kind: Kind, scattered: Scattered, states: Mapping[int, State]) -> None:
        self._kind, self._scattered, self._states = kind, scattered, states

    @property
    def is_exact(self) -> bool:
        """Whether no part has inverted lists."""
        return all(state.exact[self._kind] for state in self._states.values())

    def nearest_photos(self, queries: Floats, count: int, allowed: Ids | None = None) -> list[Near]:
        """See `VectorIndex.nearest_photos`."""
        found = self._ask("nearest_photos", queries, allowed, count)
        most = count if self.is_exact else None
        return [joined(lists, most) for lists in zip(*found, strict=True)]

    def best(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """See `VectorIndex.best`."""
        return self._every_photo("best", queries, allowed)

    def rough(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """See `VectorIndex.rough`."""
        return self._every_photo("rough", queries, allowed)

    def _every_photo(self, method: Any, queries: Floats, allowed: Ids | None) -> tuple[Ids, Floats]:
        found = self._ask(method, queries, allowed)
        photo_ids = np.concatenate([ids for ids, _ in found])
        order = np.argsort(photo_ids, kind="stable")
        return photo_ids[order], np.concatenate([scores for _, scores in found])[order]

    def _ask(self, method: Any, queries: Floats, allowed: Ids | None, count: int = 0) -> list[Any]:
        return self._scattered.gather_index(
            self._states,
            allowed,
            lambda ids, n: IndexAsked(
                method,
                self._kind,
                queries,
                ids,
                count,
                self._states[n].exact[self._kind] if n in self._states else None,
            ),
        )


class _Indexes:
    """Both indexes of all parts."""

    def __init__(self, image: _PartIndex, region: _PartIndex) -> None:
        self.image, self.region = image, region


class _NoPassages:
    """The index of passages of a library without texts."""

    rows = 0

    def search(self, queries: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """See `VectorIndex.search`."""
        return np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)

    def best(self, queries: Floats, allowed: Ids | None = None) -> tuple[Ids, Floats]:
        """See `VectorIndex.best`."""
        return NONE, np.empty((0, len(queries)), np.float32)
