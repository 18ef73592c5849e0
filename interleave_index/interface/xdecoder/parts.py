"""SEEM and X-Decoder as parts for other models: masks of everything, of points and boxes, and maps of phrases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...geometry import box_mask
from ...models.segmenters.grounders import Grounders
from ...records import RGB, BoolMask, Floats, Prompt, Segmented, Size
from ..dual.proposals import MOST_REGIONS, Proposals
from ..find.adapter import View, encoding_of
from ..find.tasks import certainty_of
from ..published.regions import distinct_regions
from .folder import read_sizes
from .interface import SeemInterface, XDecoderInterface

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


class PhraseMaps:
    """Maps of what a phrase names: see `models.segmenters.dense.DenseMapper`.

    Args:
        interface: ready to answer.
    """

    def __init__(self, interface: XDecoderInterface | SeemInterface) -> None:
        self._model = interface.model
        self._latest: tuple[RGB, View] | None = None

    def draw(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> Floats | None:
        """See `DenseMapper.draw`: phrases alone."""
        return None if phrase is None else self._model.phrase_map(self.view(photo), phrase)

    def view(self, photo: RGB) -> View:
        """The photo as the model sees it; that of the last call is not seen again."""
        latest = self._latest
        if latest is None or latest[0] is not photo:
            latest = self._latest = photo, self._model.view(photo, bicubic=True)
        return latest[1]


class SeemHelper(PhraseMaps):
    """Masks of points and boxes by SEEM too: see `models.segmenters.sam.Segmenter`.

    Args:
        interface: ready to answer.
    """

    def __init__(self, interface: SeemInterface) -> None:
        super().__init__(interface)
        self._seem = interface.model

    def bind(self, photo: RGB) -> Callable[[Sequence[Prompt]], list[Segmented]]:
        """See `Segmenter.bind`."""
        view = self.view(photo)
        return lambda prompts: [self._segment(view, prompt) for prompt in prompts]

    def _segment(self, view: View, prompt: Prompt) -> Segmented:
        """One prompt; the quality is the certainty inside its mask, for SEEM predicts no IoU."""
        marked = _around(prompt, view.photo, on=True)
        beside = _around(prompt, view.photo, on=False)
        found = self._seem.interact(view, [marked], [beside] if beside.any() else None)
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


def with_released(grounders: Grounders, folder: Path, device: str) -> Grounders:
    """The same grounders, and a released SEEM or X-Decoder for what none of them does.

    Args:
        folder: of an imported checkpoint.
        device: where it runs, as torch names it.
    Raises:
        WeightsMissing, BackendMissing: it cannot be built.
    """
    if read_sizes(folder).interface.family == "xdecoder":
        return replace(grounders, maps=grounders.maps or PhraseMaps(XDecoderInterface.load(folder, device=device)))
    helper = SeemHelper(SeemInterface.load(folder, device=device))
    return replace(grounders, maps=grounders.maps or helper, segmenter=grounders.segmenter or helper)
