"""What interfaces do alike that make no vectors: they mask what a query means in one photo, and fill no index."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ..errors import ModelError
from ..records import RGB, PhotoEncoding, QueryEncoding, ResolvedQuery
from .calibration import Calibration
from .protocol import Capabilities, Interface


class GroundingInterface(Interface):
    """Base of the interfaces that only ground, one photo at a time.

    Args:
        device, dtype: see `Capabilities`.
    """

    def __init__(self, device: str, dtype: str) -> None:
        self._capabilities = Capabilities(encodes=False, photos_at_a_time=1, device=device, dtype=dtype)

    @property
    def capabilities(self) -> Capabilities:
        """It only grounds."""
        return self._capabilities

    @abstractmethod
    def _error(self, what: str) -> ModelError:
        """That it does not do this, and what to ask it instead."""

    @property
    def calibration(self) -> Calibration:
        """There is none."""
        raise self._error("makes no vectors, so that it fills no index")

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """It makes no vectors."""
        raise self._error("makes no vectors of photos")

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """It makes no vectors."""
        raise self._error("makes no vectors of queries")
