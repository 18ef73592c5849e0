"""BLIP-2 as it compares photos with texts itself: by the nearest of a photo's query vectors.

An index holds one vector a photo, the mean of these, and that is what a search asks.
"""

from __future__ import annotations

from ...interface.protocol import Interface
from ...models.hub.dual_encoder import DualEncoder
from ...records import RGB, Floats
from .subject import Subject


class QueryVectorsSubject(Subject):
    """A `Subject` whose photos have several vectors.

    Args:
        interface: answers everything else.
        encoder: has query vectors.
    """

    def __init__(self, interface: Interface, encoder: DualEncoder) -> None:
        super().__init__(interface)
        self._encoder = encoder
        self.facts |= {"asked": "through the interface protocol; captions by the nearest query vector of a photo"}

    def views(self, photo: RGB) -> Floats:
        """See `Subject`."""
        vectors: Floats = self._encoder.query_vectors([self._encoder.prepare(photo)])[0]
        return vectors
