"""Grounders that know the annotations: one that masks phrases, detectors that box them, and a segmenter of prompts.

They stand where SAM 3, Grounding DINO or OWLv2, and SAM would stand, see `Grounders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from interleave_index.geometry import box_mask, box_of, mask_iou
from interleave_index.interface.points import AROUND
from interleave_index.records import RGB, BoolMask, Box, Detected, Prompt, Segmented
from tests.oracles.masks import degraded
from tests.oracles.world import Quality, World, random_of

SURE = 0.95  # score of what an oracle finds


class _Oracle:
    """What all of them know."""

    def __init__(self, world: World, quality: Quality | None = None) -> None:
        self._world, self._quality = world, quality or Quality()

    def _mask(self, position: int, number: int) -> BoolMask:
        photo = self._world.photos[position]
        rle = photo.regions[number].rle
        assert rle is not None
        return degraded(rle.decode(), self._quality.iou, f"{photo.key} {number}")

    def _detected(self, position: int, numbers: Sequence[int], question: str) -> list[Detected]:
        """The regions, or what is answered in error: nothing where there is one, another region where there is none."""
        photo = self._world.photos[position]
        random = random_of(f"{photo.key} {question}")
        if random.uniform() < self._quality.presence_error:
            others = [number for number, _ in self._world.regions(position)]
            numbers = [] if numbers else others[:1]
        masks = [self._mask(position, number) for number in numbers]
        return [Detected(box_of(mask), SURE, mask) for mask in masks if mask.any()]


class OracleConcepts(_Oracle):
    """Masks of all that a phrase names, or of all that has the label of what boxes in the photo show."""

    def find(
        self, photo: RGB, phrase: str | None, on: Sequence[Box] = (), beside: Sequence[Box] = ()
    ) -> list[Detected]:
        """See `ConceptSegmenter`."""
        position = self._world.position(photo)
        if position is None:
            return []
        if phrase is not None:
            return self._detected(position, self._world.shows(position, phrase), phrase)
        regions = self._world.regions(position)
        if not on or not regions:
            return []
        boxed = box_mask(on[0], (photo.shape[0], photo.shape[1]))
        best = max(regions, key=lambda found: mask_iou(boxed, box_mask(found[1].box, boxed.shape)))
        alike = [number for number, region in regions if region.label == best[1].label]
        return self._detected(position, alike, f"{on[0]}")


class OracleDetector(_Oracle):
    """Boxes of all that a phrase names, or that has the label of a thing in another photo, given as a crop of it."""

    def find(self, photo: RGB, phrase: str | None, exemplar: RGB | None = None) -> list[Detected]:
        """See `Detector`."""
        position = self._world.position(photo)
        if position is None:
            return []
        if phrase is None:
            phrase = None if exemplar is None else self._label_of(exemplar)
        if phrase is None:
            return []
        found = self._detected(position, self._world.shows(position, phrase), phrase)
        return [Detected(one.box, one.score) for one in found]

    def _label_of(self, crop: RGB) -> str | None:
        cut = self._world.cut_from(crop)
        if cut is None:
            return None
        position, where = cut
        regions = [region for _, region in self._world.regions(position) if region.label is not None]
        if not regions:
            return None
        return max(regions, key=lambda region: mask_iou(where, box_mask(_with_margin(region.box), where.shape))).label


def _with_margin(box: Box) -> Box:
    """The box and what is shown around it, when it is shown as a crop."""
    x0, y0, x1, y1 = box
    wide, high = AROUND * (x1 - x0), AROUND * (y1 - y0)
    return (x0 - wide, y0 - high, x1 + wide, y1 + high)


class OracleSegmenter(_Oracle):
    """The region that a box or points mean."""

    def bind(self, photo: RGB) -> Callable[[Sequence[Prompt]], list[Segmented]]:
        """See `Segmenter`."""
        position = self._world.position(photo)

        def segment(prompts: Sequence[Prompt]) -> list[Segmented]:
            if position is None:
                return [Segmented(np.zeros(photo.shape[:2], bool), 0.0) for _ in prompts]
            return [self._segmented(position, prompt) for prompt in prompts]

        return segment

    def _segmented(self, position: int, prompt: Prompt) -> Segmented:
        photo = self._world.photos[position]
        best, chosen = 0.0, None
        for number, _ in self._world.regions(position):
            fits = _fit(prompt, self._mask(position, number))
            if fits > best:
                best, chosen = fits, number
        if chosen is None:
            return Segmented(np.zeros((photo.height, photo.width), bool), 0.0)
        return Segmented(self._mask(position, chosen), SURE)


def _fit(prompt: Prompt, mask: BoolMask) -> float:
    """How well a prompt means a mask: by the box, and by the share of the points that lie as they are labelled."""
    fits = []
    if prompt.box is not None and mask.any():
        fits.append(mask_iou(box_mask(prompt.box, mask.shape), box_mask(box_of(mask), mask.shape)))
    if len(prompt.points):
        columns, rows = prompt.points.astype(int).T
        on = mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]
        fits.append(float((on == (prompt.labels == 1)).mean()))
    return float(np.mean(fits)) if fits else 0.0
