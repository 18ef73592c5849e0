"""An interface that encodes no query twice: one evaluation asks the same words and pictures many times over."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from typing import Any, cast

from ..interface.protocol import Interface
from ..records import QueryEncoding, ResolvedPart, ResolvedQuery


def remembering(interface: Interface) -> Interface:
    """Another interface, whose encodings of queries are kept; photos and looks at them are not."""
    return cast(Interface, _Remembering(interface))


class _Remembering:
    """Everything but `encode_query` and `encode_queries` is the other interface's own."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._kept: dict[Hashable, QueryEncoding] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._interface, name)

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface`."""
        return self.encode_queries([query])[0]

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """`encode_query` of several, those that are new in one go."""
        keys = [tuple(map(_key, query)) for query in queries]
        new = {key: query for key, query in zip(keys, queries, strict=True) if key not in self._kept}
        self._kept.update(zip(new, self._interface.encode_queries(list(new.values())), strict=True))
        return [self._kept[key] for key in keys]


def _key(part: ResolvedPart) -> Hashable:
    arrays: list[Hashable] = []
    for array in (part.photo, part.mask, part.background, part.vector):
        arrays.append(None if array is None else (array.shape, hashlib.sha1(array.tobytes()).digest()))
    return (part.role, part.kind, part.label, part.weight, *arrays)
