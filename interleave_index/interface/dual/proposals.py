"""Where the masks of a photo come from: any interface that finds regions, or anything else of the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...records import RGB, BoolMask, Floats, PhotoEncoding, Rle
from ..protocol import Interface


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


class Proposer(Protocol):
    """Finds things in photos without knowing what they are."""

    @property
    def name(self) -> str:
        """What tells these proposals from others, for the identity of a space."""

    def propose(self, photos: Sequence[RGB]) -> list[Proposals]:
        """Proposals of upright photos, in order."""


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
        return [_of(encoding) for encoding in self._interface.encode_photos(photos)]


def meant(mask: BoolMask, background: BoolMask | None, proposals: Proposals) -> BoolMask | None:
    """The proposal that a few marked pixels point at: the smallest that holds them and none of the background.

    Args:
        mask: (H, W) of the marked pixels.
        background: (H, W) of pixels that do not belong to it, or None.
        proposals: of the same photo.
    Returns:
        (h, w) bool of the proposal, or None when none holds most of the marked pixels.
    """
    best: tuple[int, BoolMask] | None = None
    for candidate in proposals.decoded():
        size = int(candidate.sum())
        if (
            _held(mask, candidate) > 0.5
            and (background is None or _held(background, candidate) < 0.5)
            and (best is None or size < best[0])
        ):
            best = size, candidate
    return None if best is None else best[1]


def _held(marked: BoolMask, candidate: BoolMask) -> float:
    """Share of the marked pixels that lie in a mask of another size."""
    y, x = np.nonzero(marked)
    if not len(y):
        return 0.0
    rows = ((y + 0.5) * candidate.shape[0] / marked.shape[0]).astype(int)
    columns = ((x + 0.5) * candidate.shape[1] / marked.shape[1]).astype(int)
    return float(candidate[rows, columns].mean())


def _of(encoding: PhotoEncoding) -> Proposals:
    return Proposals(encoding.masks, encoding.boxes, encoding.areas, encoding.scores)
