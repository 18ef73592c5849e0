"""The dials of a search, with their defaults. Knows nothing else; what nobody turns is a constant where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Dials(Protocol):
    """What a search may be told to do otherwise; the query section of the settings is one."""

    @property
    def entity_weight(self) -> float:
        """w of the score: what the entities count beside the whole sentence, 0 or more."""

    @property
    def negative_weight(self) -> float:
        """lambda of the score: what region evidence for negatives takes off, 0 or more."""

    @property
    def candidates(self) -> int:
        """Fewest photos that the ann path fetches from each index."""

    @property
    def cutoff(self) -> float | None:
        """Relevance under which a hit is unlikely to be meant, 0 to 1; None takes the interface's own."""


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """The defaults of `Dials`."""

    entity_weight: float = 0.5
    negative_weight: float = 1.0
    candidates: int = 200
    cutoff: float | None = None
