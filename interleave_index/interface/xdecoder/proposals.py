"""SEEM as a part for other models: masks of everything in a photo, and masks of points and boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...geometry import box_mask
from ...records import RGB, BoolMask, Prompt, Segmented, Size
from ..dual.proposals import MOST_REGIONS, Proposals
from ..find.adapter import View, encoding_of
from ..find.tasks import certainty_of
from ..published.regions import distinct_regions
from .interface import SeemInterface

POINT = 1  # pixels around a point that are marked, in either direction: a 3 x 3 square, as SEEM was trained on clicks


class SeemProposals:
    """The masks of all queries of SEEM, in one pass without prompts.

    Args:
        interface: ready to answer.
    """

    def __init__(self, interface: SeemInterface) -> None:
        self._interface = interface

    @property
    def name(self) -> str:
        """Name and checkpoint."""
        space = self._interface.space
        return f"{space.interface} {space.checkpoint[:8]}"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`."""
        return [self._propose(photo) for photo in photos]

    def _propose(self, photo: RGB) -> Proposals:
        model = self._interface.model
        view = model.view(photo, bicubic=True)
        regions = distinct_regions(
            view, *model.everything(view, self._interface.class_table), most=MOST_REGIONS, first=model.grow
        )
        found = encoding_of(np.zeros(1, np.float32), regions, view.photo)
        return Proposals(found.masks, found.boxes, found.areas, found.scores)


class SeemSegmenter:
    """Masks of points and boxes by SEEM: see `models.segmenters.sam.Segmenter`.

    Args:
        interface: ready to answer.
    """

    def __init__(self, interface: SeemInterface) -> None:
        self._interface = interface
        self._latest: tuple[RGB, View] | None = None

    def bind(self, photo: RGB) -> Callable[[Sequence[Prompt]], list[Segmented]]:
        """See `Segmenter.bind`; the photo of the last call is not seen again."""
        if self._latest is None or self._latest[0] is not photo:
            self._latest = photo, self._interface.model.view(photo, bicubic=True)
        view = self._latest[1]
        return lambda prompts: [self._segment(view, prompt) for prompt in prompts]

    def _segment(self, view: View, prompt: Prompt) -> Segmented:
        """One prompt; the quality is the certainty inside its mask, for SEEM predicts no IoU."""
        marked = _around(prompt, view.photo, on=True)
        beside = _around(prompt, view.photo, on=False)
        found = self._interface.model.interact(view, [marked], [beside] if beside.any() else None)
        return Segmented(found.masks[0], float(certainty_of(found.logits[0])[0]))


def _around(prompt: Prompt, size: Size, *, on: bool) -> BoolMask:
    """(H, W) bool, the pixels of a prompt's points on the thing or beside it; of a box all inside it are on it."""
    marked: BoolMask = np.zeros(size, bool)
    if on and prompt.box is not None:
        marked |= box_mask(prompt.box, size)
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        if (label == 1) == on:
            column, row = min(int(x), size[1] - 1), min(int(y), size[0] - 1)
            marked[max(0, row - POINT) : row + POINT + 1, max(0, column - POINT) : column + POINT + 1] = True
    return marked
