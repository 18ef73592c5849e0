"""What commands write beside their answer: the page, heat maps and masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..grammar import Query
from ..interface.protocol import Interface
from ..records import RGB, Answer, Photo
from . import show
from .heat import HeatMaps


class OutputOptions(NamedTuple):
    """The options about what is written, as they were given."""

    page: Path | None
    heatmap: Path | None
    overwrite: bool
    masks: Path | None = None


class Outputs:
    """The page, heat maps and masks that a command was asked for, checked before anything is searched.

    Args:
        page: file of the page, or None.
        heatmap: folder of the heat maps, or None.
        overwrite: whether files that are there may be written over.
        masks: folder of the masks, or None.
        protected: whether a path must not be written.
    Raises:
        InputError: one of them must not be written.
    """

    def __init__(
        self,
        page: Path | None,
        heatmap: Path | None,
        overwrite: bool,
        masks: Path | None = None,
        protected: Callable[[Path], bool] | None = None,
    ) -> None:
        self._page, self._heatmap, self._masks, self._overwrite = page, heatmap, masks, overwrite
        folders = [folder for folder in (heatmap, masks) if folder is not None]
        if page is not None or folders:
            from ..export.outputs import check_distinct, check_folder, check_output

            check_distinct([page, *folders])
            if page is not None:
                check_output(page, overwrite=overwrite, protected=protected)
            for folder in folders:
                check_folder(folder, protected=protected)

    def write(
        self,
        answer: Answer,
        query: Query,
        interface: Callable[[], Interface],
        load_pixels: Callable[[Photo], RGB],
        load: Callable[[str | Path | RGB], RGB],
        *,
        named: bool = False,
    ) -> None:
        """Write what was asked for.

        Args:
            answer: the hits to show.
            query: what was asked.
            interface: gives the model, which only heat maps need.
            load_pixels: gives the upright (H, W, 3) uint8 pixels of a photo.
            load: gives upright RGB for a path, a URL or an array.
            named: whether the photos were named by hand.
        """
        heat = None
        if self._heatmap is not None:
            heat = HeatMaps(self._heatmap, interface(), query, load_pixels, load, self._overwrite)
            for hit in answer:
                heat(hit)
        if self._masks is not None:
            from ..export.masks import write_masks

            for file in write_masks(answer, self._masks, load_pixels=load_pixels, overwrite=self._overwrite):
                show.note(f"mask written to {file}")
        if self._page is None:
            return
        from ..export.asked import query_pictures
        from ..export.page import write_page

        write_page(
            answer,
            self._page,
            load_pixels=load_pixels,
            pictures=query_pictures(query, load),
            heat=heat,
            named=named,
            overwrite=self._overwrite,
        )
        show.note(f"page written to {self._page}")
