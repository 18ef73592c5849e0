"""Where the masks of a photo come from: an interface that finds regions, a promptable segmenter asked everywhere, or a
universal segmenter, which gives them all in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from ...geometry import box_of, encode_rle, mask_iou, resize_mask, size_of
from ...models.segmenters.sam import Segmenter
from ...models.segmenters.universal import UniversalSegmenter
from ...records import RGB, BoolMask, Box, Floats, PhotoEncoding, Prompt, Rle, Size
from ..protocol import Interface

POINTS = 12  # along each side; every one costs two passes of the mask decoder
QUALITY = 0.7  # predicted IoU
SMALLEST, LARGEST = 0.001, 0.95  # share of the photo
SAME_IOU = 0.7
MOST_REGIONS, LONG_SIDE = 32, 256
FEW_CELLS = 1.0  # a marked part that covers less than this many cells points at something rather than outlining it
SEGMENTED_SIDE = 1024  # long side at most at which a universal segmenter draws: a photo's pixels would fill the memory

Candidate: TypeAlias = tuple[float, float, Box, BoolMask]  # score, share of the photo, box, small mask


@dataclass(frozen=True, slots=True)
class Proposals:
    """Masks of one photo, best first.

    Attributes:
        masks: R masks in the photo's aspect, long side at most 512.
        boxes: (R, 4) float32, x0 y0 x1 y1 in pixels of the upright photo.
        areas: (R,) float32, share of the photo.
        scores: (R,) float32, 0 to 1, falling.
    """

    masks: tuple[Rle, ...]
    boxes: Floats
    areas: Floats
    scores: Floats

    def decoded(self) -> list[BoolMask]:
        """The masks, (h, w) bool each."""
        return [mask.decode() for mask in self.masks]

    def encoding(self, image: Floats, regions: Floats, record: bytes) -> PhotoEncoding:
        """What an index keeps of the photo.

        Args:
            image, regions: (D,) and (R, D) unit vectors; record: for grounding.
        """
        return PhotoEncoding(image, regions, self.boxes, self.areas, self.scores, self.masks, record)


class Proposer(Protocol):
    """Finds things in photos without knowing what they are."""

    @property
    def name(self) -> str:
        """Name of these proposals, part of the identity of a space."""

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """Proposals of upright photos, in order."""


class NoProposals:
    """No masks at all: photos stand for themselves as a whole."""

    name = "no proposals"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`."""
        return [_proposals([]) for _ in photos]


class InterfaceProposals:
    """The regions of another interface, without their vectors."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface

    @property
    def name(self) -> str:
        """Name and checkpoint of the interface."""
        space = self._interface.space
        return f"{space.interface} {space.checkpoint[:8]}"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`."""
        encodings = self._interface.encode_photos(photos)
        return [Proposals(one.masks, one.boxes, one.areas, one.scores) for one in encodings]


class AutomaticMasks:
    """Masks of everything in a photo by a promptable segmenter: a point in the middle of every field of a grid.

    Source: the automatic mask generator of Kirillov et al., Segment Anything, 2023; without its crops.

    Args:
        segmenter: makes masks of points.
        name: of its checkpoint, for the identity of a space.
    """

    def __init__(self, segmenter: Segmenter, name: str) -> None:
        self._segmenter, self.name = segmenter, f"{name}, {POINTS} x {POINTS} points"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`. Of masks that cover the same pixels the best is kept."""
        return [self._propose(photo) for photo in photos]

    def _propose(self, photo: RGB) -> Proposals:
        candidates: list[Candidate] = []
        segment = self._segmenter.bind(photo)
        for prompt in grid_prompts(size_of(photo), POINTS):
            (segmented,) = segment([prompt])
            area = float(segmented.mask.mean())
            is_object = segmented.object_score is None or segmented.object_score > 0
            if is_object and segmented.quality >= QUALITY and SMALLEST <= area <= LARGEST:
                small = resize_mask(segmented.mask, long_side=LONG_SIDE)
                if small.any():
                    candidates.append((min(segmented.quality, 1.0), area, box_of(segmented.mask), small))
        candidates.sort(key=lambda candidate: candidate[:2], reverse=True)

        kept: list[Candidate] = []
        for candidate in candidates:
            if len(kept) < MOST_REGIONS and all(mask_iou(candidate[3], other[3]) < SAME_IOU for other in kept):
                kept.append(candidate)
        return _proposals(kept)


class UniversalMasks:
    """The masks of a universal segmenter, which do not overlap.

    Args:
        segmenter: finds everything in a photo.
        name: of its checkpoint, for the identity of a space.
    """

    def __init__(self, segmenter: UniversalSegmenter, name: str) -> None:
        self._segmenter, self.name = segmenter, f"{name}, panoptic"

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """See `Proposer.propose`."""
        return [self._propose(photo) for photo in photos]

    def _propose(self, photo: RGB) -> Proposals:
        candidates: list[Candidate] = []
        shrunk = max(1.0, max(size_of(photo)) / SEGMENTED_SIDE)
        height, width = (max(1, round(side / shrunk)) for side in size_of(photo))
        across, down = photo.shape[1] / width, photo.shape[0] / height
        for segment in self._segmenter.segment(photo, (height, width)):
            area, small = float(segment.mask.mean()), resize_mask(segment.mask, long_side=LONG_SIDE)
            if SMALLEST <= area <= LARGEST and small.any():
                x0, y0, x1, y1 = box_of(segment.mask)
                box = (x0 * across, y0 * down, x1 * across, y1 * down)
                candidates.append((segment.score, area, box, small))
        return _proposals(candidates[:MOST_REGIONS])


def _proposals(kept: Sequence[Candidate]) -> Proposals:
    return Proposals(
        masks=tuple(encode_rle(mask) for *_, mask in kept),
        boxes=np.array([box for _, _, box, _ in kept], np.float32).reshape(-1, 4),
        areas=np.array([area for _, area, _, _ in kept], np.float32),
        scores=np.array([score for score, *_ in kept], np.float32),
    )


def grid_prompts(size: Size, points: int) -> list[Prompt]:
    """One prompt of one point for the middle of every field of a grid over a photo of (height, width).

    >>> [prompt.points.tolist() for prompt in grid_prompts((10, 40), 1)]
    [[[20.0, 5.0]]]
    """
    middles = (np.arange(points) + 0.5) / points
    on = np.ones(1, np.int8)
    return [Prompt(np.array([[x * size[1], y * size[0]]], np.float32), on) for y in middles for x in middles]


def outlined(photo: RGB, mask: BoolMask, background: BoolMask | None, *, cells: int, proposer: Proposer) -> BoolMask:
    """The part of a photo that is meant: the mask itself, or for points the proposal that they point at.

    Args:
        mask: (H, W) of the marked pixels; background: those that do not belong to it, or None.
        cells: into which the model divides the photo.
    """
    if background is None and float(mask.mean()) * cells >= FEW_CELLS:
        return mask
    proposal = proposal_at(mask, background, proposer.propose([photo])[0])
    return mask if proposal is None else proposal


def proposal_at(mask: BoolMask, background: BoolMask | None, proposals: Proposals) -> BoolMask | None:
    """The proposal that a few marked pixels point at: the smallest that holds them and none of the background.

    Args:
        mask: (H, W) of the marked pixels.
        background: (H, W) of pixels that do not belong to it, or None.
        proposals: of the same photo.
    Returns:
        (h, w) bool of the proposal, or None when none holds most of the marked pixels.
    """
    for candidate in sorted(proposals.decoded(), key=np.count_nonzero):
        off_background = background is None or _share_inside(background, candidate) < 0.5
        if off_background and _share_inside(mask, candidate) > 0.5:
            return candidate
    return None


def _share_inside(marked: BoolMask, candidate: BoolMask) -> float:
    """Share of the marked pixels that lie in a mask of another size."""
    if not marked.any():
        return 0.0
    return float(resize_mask(candidate, (marked.shape[0], marked.shape[1]))[marked].mean())
