"""What is made of a query once, although a search asks it of every hit in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ..records import ResolvedQuery

Made = TypeVar("Made")


class OfLatestQuery(Generic[Made]):
    """Makes something of a query and keeps it while the very same one is asked again.

    Parts are compared by identity: of an equal query whose pixels may have been changed meanwhile it is made anew.

    Args:
        make: of a query.
    """

    def __init__(self, make: Callable[[ResolvedQuery], Made]) -> None:
        self._make = make
        self._latest: tuple[ResolvedQuery, Made] | None = None  # in one piece, as several threads may ask

    def __call__(self, query: ResolvedQuery) -> Made:
        """What was made of the query."""
        latest = self._latest
        if latest is None or list(map(id, latest[0])) != list(map(id, query)):
            latest = self._latest = query, self._make(query)
        return latest[1]
