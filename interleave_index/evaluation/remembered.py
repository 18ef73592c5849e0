"""An interface that encodes no query twice: one evaluation asks the same words and pictures many times over."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

from ..interface.calibration import Calibration
from ..interface.protocol import Capabilities, Interface, TextReading
from ..records import RGB, GroundedMask, PhotoEncoding, QueryEncoding, ResolvedPart, ResolvedQuery, Space


class Remembered(Interface):
    """Another interface, whose encodings of queries are kept; photos and looks at them are not.

    Args:
        interface: asked for what is new.
    """

    def __init__(self, interface: Interface) -> None:
        self._interface, self._calibration = interface, interface.calibration
        self._kept: dict[Hashable, QueryEncoding] = {}

    @property
    def space(self) -> Space:
        """See `Interface`."""
        return self._interface.space

    @property
    def calibration(self) -> Calibration:
        """See `Interface`; the same object every time."""
        return self._calibration

    @property
    def capabilities(self) -> Capabilities:
        """See `Interface`."""
        return self._interface.capabilities

    def reading(self, text: str) -> TextReading:
        """See `Interface`."""
        return self._interface.reading(text)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface`."""
        return self._interface.encode_photos(photos)

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface`."""
        return self.encode_queries([query])[0]

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """`encode_query` of several, those that are new in one go."""
        keys = [tuple(map(_key, query)) for query in queries]
        new = {key: query for key, query in zip(keys, queries, strict=True) if key not in self._kept}
        self._kept.update(zip(new, self._interface.encode_queries(list(new.values())), strict=True))
        return [self._kept[key] for key in keys]

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface`."""
        return self._interface.ground(photo, query)


def _key(part: ResolvedPart) -> Hashable:
    arrays: list[Hashable] = []
    for array in (part.photo, part.mask, part.background, part.vector):
        arrays.append(None if array is None else (array.shape, hashlib.sha1(array.tobytes()).digest()))
    return (part.role, part.kind, part.label, part.weight, *arrays)
