"""Heat maps of the hits of a command: written as PNGs, and handed to the page."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from ..errors import InputError
from ..export.heat import paint_heat, write_heat
from ..grammar import Query
from ..interface.protocol import Interface
from ..query.heat import HeatQuery
from ..records import RGB, Hit, Photo
from . import show

ON_PAGE = 376  # pixels of the longer side of a map on a page


class HeatMaps:
    """Makes the maps of one query, once a photo.

    Args:
        folder: where PNGs go.
        overwrite: whether maps that are there may be written over.
        interface: encodes photos and the query.
        query: whose entities get a map each.
        pixels: gives the upright (H, W, 3) uint8 pixels of a photo.
        load: gives upright RGB for a path, a URL or an array.
    """

    def __init__(
        self,
        folder: Path,
        interface: Interface,
        query: Query,
        pixels: Callable[[Photo], RGB],
        load: Callable[[str | Path | RGB], RGB],
        overwrite: bool = False,
    ) -> None:
        self._overwrite = overwrite
        self._folder, self._interface, self._query = folder, interface, query
        self._pixels, self._load = pixels, load
        self._made: dict[int, list[tuple[str, RGB]]] = {}

    def __call__(self, hit: Hit) -> list[tuple[str, RGB]]:
        """Per entity its text and the painted photo; writes the files when it is first asked for a photo."""
        if hit.photo.id not in self._made:
            self._made[hit.photo.id] = self._make(hit)
        return self._made[hit.photo.id]

    @cached_property
    def _asked(self) -> HeatQuery | None:
        """The query, encoded for all photos when the first one comes; None when it has no maps."""
        try:
            return HeatQuery(self._interface, self._query, self._load)
        except InputError as error:
            show.note(f"note: no heat maps: {error}")
            return None

    def _make(self, hit: Hit) -> list[tuple[str, RGB]]:
        if self._asked is None:
            return []
        rgb = self._pixels(hit.photo)
        heats = self._asked.maps_of(rgb)
        name = Path(hit.photo.path).stem if hit.photo.path else "photo"
        written = write_heat(
            rgb, heats, self._folder, f"{hit.rank:03d}-{hit.photo.id}-{name}", overwrite=self._overwrite
        )
        for file in written:
            show.note(f"heat map written to {file}")
        return [(heat.text, paint_heat(rgb, heat, ON_PAGE)) for heat in heats]
