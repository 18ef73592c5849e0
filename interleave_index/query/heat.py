"""How much every place of a picture resembles each part of a query: the maps behind grounding, to be looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..geometry import fit
from ..grammar import Query
from ..grounding.resample import enlarged
from ..grounding.similarity import normalised, scene_of
from ..interface.protocol import Interface
from ..records import RGB, Floats
from .pixels import LoadPicture
from .resolve import resolve, whole_text


@dataclass(frozen=True, slots=True)
class Heat:
    """The map of one part.

    Attributes:
        text: the part, as it is written.
        picture: (h, w) float32 in the photo's aspect, 0 at the least similar place and 1 at the most; NaN where the
            model did not look.
        low, high: cosines that 0 and 1 stand for; a map that hardly varies means little.
    """

    text: str
    picture: Floats
    low: float
    high: float


def heat_of(interface: Interface, rgb: RGB, query: Query, *, load_picture: LoadPicture, side: int = 512) -> list[Heat]:
    """One map for every entity of a query, in order; `HeatQuery` does the same for many pictures.

    Args:
        interface: encodes the picture and the query; its grounding record draws the map where it makes one, else its
            regions do.
        rgb: (H, W, 3) uint8, upright.
        query: its parts; indexed photos and regions cannot be named.
        load_picture: gives upright RGB for a path, a URL or an array.
        side: long side of the maps, pixels.
    Raises:
        InputError: the query names something indexed.
        ModelError: the interface makes no vectors.
    """
    return HeatQuery(interface, query, load_picture).maps_of(rgb, side)


class HeatQuery:
    """The entities of a query, resolved and encoded once; plain text alone is one entity.

    Args:
        interface, query, load_picture: see `heat_of`.
    Raises:
        InputError: the query names something indexed.
        ModelError: the interface makes no vectors.
    """

    def __init__(self, interface: Interface, query: Query, load_picture: LoadPicture) -> None:
        parts = resolve(query, None, 0, load_picture).parts
        whole = whole_text(parts)
        asked = [part for part in (parts if whole is None else (whole,)) if part.role == "entity"]
        self._interface = interface
        self._labels = [part.label for part in asked]
        self._vectors: Iterable[Floats] = interface.encode_query(tuple(asked)).entities if asked else ()

    def maps_of(self, rgb: RGB, side: int = 512) -> list[Heat]:
        """One map for every entity, in order.

        Args:
            rgb: (H, W, 3) uint8, upright.
            side: long side of the maps, pixels.
        Raises:
            ModelError: the interface makes no vectors.
        """
        if not self._labels:
            return []
        size = (int(rgb.shape[0]), int(rgb.shape[1]))
        (encoding,) = self._interface.encode_photos([rgb])
        scene = scene_of(size, encoding)
        use = scene.grid.usable()
        heats = []
        for label, vector in zip(self._labels, self._vectors, strict=True):
            values = scene.map_of(vector)
            picture = enlarged(scene.grid, normalised(values, use), fit(size, side))
            heats.append(Heat(label, np.clip(picture, 0, 1), float(values[use].min()), float(values[use].max())))
        return heats
