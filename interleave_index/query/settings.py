"""The dials of a search, with their defaults. What nobody changes is a constant where it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .score import ENTITY_WEIGHT, NEGATIVE_WEIGHT


class Dials(Protocol):
    """What a search may be told to do otherwise; the query section of the settings is one."""

    @property
    def entity_weight(self) -> float:
        """What the entities count beside a long sentence, 0 or more."""

    @property
    def negative_weight(self) -> float:
        """What evidence for negatives takes off, 0 or more."""

    @property
    def candidates(self) -> int:
        """Fewest photos that the ann path fetches from each index."""

    @property
    def cutoff(self) -> float | None:
        """Relevance under which a hit is unlikely to be meant, 0 to 1; None lets the calibration decide."""


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """The defaults of `Dials`."""

    entity_weight: float = ENTITY_WEIGHT
    negative_weight: float = NEGATIVE_WEIGHT
    candidates: int = 200
    cutoff: float | None = None
