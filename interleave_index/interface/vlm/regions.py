"""How a mask becomes a vector in the space of an interleaved encoder.

Three ways, by the names that dual encoders use. *attention*: the model's own pooling, kept to the tokens under the
mask (`families`). *patches*: the mean of the last hidden states of the tokens under it. *crop*: the square around it is
cut out and encoded as a photo of its own, one forward pass a region.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import ConfigError
from ...geometry import size_of, unit
from ...grounding.grid import PatchGrid
from ...models.batching import Batcher
from ...records import RGB, BoolMask, Floats, Size
from ..dual.regions import METHODS, WholeView, square_around
from .encoder import InterleavedEncoder


class RegionEncoder:
    """Vectors of photos with masked parts.

    Args:
        encoder: the interleaved encoder.
        method: ``attention``, ``patches`` or ``crop``.
        batcher: decides how many crops go at a time.
    Raises:
        ConfigError: an unknown method.
    """

    def __init__(self, encoder: InterleavedEncoder, method: str, batcher: Batcher) -> None:
        if method not in METHODS:
            raise ConfigError(f"method of regions is {method!r}, expected one of {', '.join(METHODS)}")
        self._encoder, self._batcher, self.method = encoder, batcher, method

    def grid(self, size: Size) -> PatchGrid:
        """Where the tokens of a photo of this (height, width) lie."""
        return PatchGrid.whole(size, self._encoder.pixels.grid(size), "native")

    def encode(
        self, photos: Sequence[RGB], prepared: Sequence[RGB], masks: Sequence[Sequence[BoolMask]]
    ) -> list[WholeView]:
        """One batch of photos with their regions, in one pass over the photos but for the crops.

        Args:
            photos: upright, of any sizes.
            prepared: of each, from `Pixels.prepare`.
            masks: per photo, of any size in its aspect.
        """
        grids = [self.grid(size_of(photo)) for photo in photos]
        coverages = [grid.coverage(photo_masks) for grid, photo_masks in zip(grids, masks, strict=True)]
        encoded = self._encoder.encode_photos(prepared, coverages if self.method == "attention" else None)
        if self.method == "attention":
            regions = [one.regions for one in encoded]
        elif self.method == "patches":
            regions = [_mean_under(rows, one.patches) for rows, one in zip(coverages, encoded, strict=True)]
        else:
            regions = [self._crops(photo, photo_masks) for photo, photo_masks in zip(photos, masks, strict=True)]
        return [
            WholeView(one.image, rows, one.patches, grid)
            for one, rows, grid in zip(encoded, regions, grids, strict=True)
        ]

    def vectors(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        """(M, D) float32 unit vectors of some masks in one photo."""
        if not len(masks):
            return np.zeros((0, self._encoder.dim), np.float32)
        if self.method == "crop":
            return self._crops(photo, masks)
        return self.encode([photo], [self._encoder.pixels.prepare(photo)], [masks])[0].regions

    def _crops(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        crops = [self._encoder.pixels.prepare(square_around(photo, mask)) for mask in masks]
        encoded = self._batcher.run(crops, self._encoder.encode_photos)
        return np.array([one.image for one in encoded], np.float32).reshape(-1, self._encoder.dim)


def _mean_under(coverage: Floats, patches: Floats) -> Floats:
    """(R, D) unit vectors: means of patch vectors by a coverage (R, h, w); of all where a mask covers none."""
    flat = coverage.reshape(len(coverage), -1)
    shares = np.where(flat.sum(1, keepdims=True) > 0, flat, 1)
    return unit(shares @ patches)
