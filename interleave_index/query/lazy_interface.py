"""The interface of a search, built on first use and checked against the space of the index."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import SpaceMismatch
from ..interface.protocol import Interface
from ..records import Space


class LazyInterface:
    """An interface that most queries of stored vectors never need.

    Args:
        factory: builds it.
        space: of the index; the interface must be of the same.
        filled: gives the ids of all spaces of the index that hold photos, for the error where another one is meant.
    Attributes:
        built: the interface once it was asked for, else None.
    """

    def __init__(
        self, factory: Callable[[], Interface], space: Space, filled: Callable[[], Mapping[Space, int]] = dict
    ) -> None:
        self._factory, self._space, self._filled = factory, space, filled
        self.built: Interface | None = None

    def get(self) -> Interface:
        """The interface; SpaceMismatch when it is not that of the space."""
        if self.built is None:
            interface = self._factory()
            if interface.space != self._space:
                raise SpaceMismatch(_difference(self._space, interface.space, self._filled().get(interface.space)))
            self.built = interface
        return self.built


def _difference(mine: Space, theirs: Space, filled: int | None) -> str:
    """How the space of the index differs from that of the interface, and what to do about it.

    Args:
        filled: id of the space of the interface where the index holds it already, beside the active one.
    """
    same_model = (mine.interface, mine.checkpoint, mine.dim) == (theirs.interface, theirs.checkpoint, theirs.dim)
    if same_model:  # only how photos are prepared differs
        held, given = mine.preprocessing, theirs.preprocessing
        remedy = "set models.interface, models.regions and models.proposals as they were"
    else:
        held, given = (f"{space.interface} {space.checkpoint[:8]} (D={space.dim})" for space in (mine, theirs))
        remedy = "set models.interface"
    if filled is not None:
        return f"index searches space {held}, the interface is {given}, which it holds too: activate space {filled}"
    return f"index holds space {held}, the interface is {given}; ingest again and activate the new space, or {remedy}"
