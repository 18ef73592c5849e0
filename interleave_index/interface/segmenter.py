"""A segmenter where an interface is expected: it masks what is marked in one photo, and reads no words.

Promptable ones, SAM and its kin, are shown the marks; a universal one, Mask2Former and its kin, segments the whole
photo, and the segment is taken that the marks mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..geometry import MASK_LONG_SIDE, fit, size_of
from ..records import RGB, GroundedMask, Prompt, ResolvedPart, ResolvedQuery, Space
from .marked import by_masks, grounded
from .only_grounds import GroundingInterface

if TYPE_CHECKING:
    from ..models.segmenters.sam import Segmenter
    from ..models.segmenters.universal import UniversalSegmenter


def by_segmenter(segmenter: Segmenter, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
    """What a promptable segmenter makes of marks on a photo, see `Interface.interact`; the score is its own."""
    found = segmenter.bind(photo)([_prompt(part) for part in parts])
    together = enumerate(zip(parts, found, strict=True))
    return [grounded(number, part, one.mask, one.quality) for number, (part, one) in together]


def _prompt(part: ResolvedPart) -> Prompt:
    if part.prompt is None:
        raise TypeError(f"part {part.label!r} is not marked")
    return part.prompt


class SegmenterInterface(GroundingInterface):
    """A segmenter for `interact` alone; see `capabilities`.

    Args:
        name: of the model, for messages.
        model: shown the marks, or segments everything.
        device: where it runs, as torch names it.
    """

    def __init__(self, name: str, model: Segmenter | UniversalSegmenter, *, device: str = "cpu") -> None:
        super().__init__(device, "float32")
        self._name, self._model = name, model

    @property
    def space(self) -> Space:
        """No vectors are ever of it."""
        return Space("segmenter", self._name, "one photo at a time", 1)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """It reads nothing."""
        raise self._error("reads no words")

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`."""
        from ..models.segmenters.universal import UniversalSegmenter

        if not isinstance(self._model, UniversalSegmenter):
            return by_segmenter(self._model, photo, parts)
        segments = self._model.segment(photo, fit(size_of(photo), 2 * MASK_LONG_SIDE))
        return by_masks(parts, [one.mask for one in segments], np.array([one.score for one in segments], np.float32))

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"model {self._name} masks what is marked in a photo, and reads no words; expected marks such as "
            f"#point=40,60 alone, as in: interleave-index ground PHOTO '#point=40,60' --model {self._name}"
        )
