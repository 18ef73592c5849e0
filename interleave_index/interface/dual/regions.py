"""How a mask becomes a vector in the space of whole photos and texts.

Three ways, of which an encoder that gives no patches knows the last alone. *attention*: the encoder's own pooling, kept
to the patches under the mask. *patches*: the mean of the patch vectors under it. *crop*: the square around it is cut
out and encoded as a photo of its own, one forward pass a region.

Checkpoints that cut a square from the middle of a photo hide a quarter of it at 4:3. Their image vector stays as it
is; regions and patches come from a second pass over the whole photo, squeezed to a square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import ConfigError
from ...geometry import box_of
from ...grounding.grid import PatchGrid
from ...grounding.similarity import square_cells
from ...models.batching import Batcher
from ...models.hub.dual_encoder import DualEncoder
from ...models.hub.pixels import Preparation, Prepared, Preprocessing
from ...records import RGB, BoolMask, Floats, Size

Method = Literal["attention", "patches", "crop"]
METHODS: tuple[Method, ...] = ("attention", "patches", "crop")
AROUND = 1.2  # side of the square that is cut out, in long sides of the region's box


@dataclass(frozen=True, slots=True)
class WholeView:
    """What the view of a photo as a whole gives.

    Attributes:
        image: (D,) float32 unit vector of this view.
        regions: (R, D) float32 unit vectors, one a mask.
        patches: (h * w, D) float32 unit vectors, or None where the encoder has none.
        grid: where the patches lie.
    """

    image: Floats
    regions: Floats
    patches: Floats | None
    grid: PatchGrid


class RegionEncoder:
    """Vectors of masked parts of photos.

    Args:
        encoder: the dual encoder.
        method: one of `METHODS`; an encoder without patches cuts regions out, whatever is asked for.
        batcher: decides how many photos go at a time.
    Raises:
        ConfigError: an unknown method.
    """

    def __init__(self, encoder: DualEncoder, method: str, batcher: Batcher) -> None:
        if method not in METHODS:
            raise ConfigError(f"method of regions is {method!r}, expected one of {', '.join(METHODS)}")
        self._encoder, self._batcher = encoder, batcher
        self.method: Method = method if encoder.has_patches else "crop"
        self.view: Preparation = encoder.preprocessing.whole()

    def grid(self, size: Size) -> PatchGrid:
        """Where the patches of a photo of this (height, width) lie."""
        if not self._encoder.has_patches or not isinstance(self.view, Preprocessing):
            return PatchGrid.whole(size, square_cells(size), "native")  # of masks alone
        return PatchGrid.whole(size, self.view.grid(size), self.view.mode)

    def prepare(self, photo: RGB) -> Prepared:
        """The photo as a whole at the size of the model's input; may run in another thread."""
        return self.view.prepare(photo)

    def encode(
        self, photos: Sequence[RGB], prepared: Sequence[Prepared], masks: Sequence[Sequence[BoolMask]]
    ) -> list[WholeView]:
        """Regions and patches of one batch, in one forward pass but for the crops.

        Args:
            photos: upright, of any sizes.
            prepared: of each, from `prepare`.
            masks: per photo, of any size in its aspect.
        """
        grids = [self.grid((photo.shape[0], photo.shape[1])) for photo in photos]
        if self.method == "crop":
            encoded = self._encoder.encode_images(prepared, patches=True)
            regions = [self._encode_crops(*pair) for pair in zip(photos, masks, strict=True)]
        else:
            coverages = [grid.coverage(photo_masks) for grid, photo_masks in zip(grids, masks, strict=True)]
            encoded = self._encoder.encode_images(prepared, coverages, method=self.method, patches=True)
            regions = [one.regions for one in encoded]
        return [
            WholeView(one.image, rows, one.patches if self._encoder.has_patches else None, grid)
            for one, rows, grid in zip(encoded, regions, grids, strict=True)
        ]

    def vectors(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        """(M, D) float32 unit vectors of some masks in one photo."""
        if not len(masks):
            return np.zeros((0, self._encoder.dim), np.float32)
        return self.encode([photo], [self.prepare(photo)], [masks])[0].regions

    def _encode_crops(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        crops = [self.prepare(square_around(photo, mask)) for mask in masks]
        encoded = self._batcher.run(crops, self._encoder.encode_images)
        return np.array([one.image for one in encoded], np.float32).reshape(-1, self._encoder.dim)


def square_around(photo: RGB, mask: BoolMask) -> RGB:
    """The part of a photo around a mask: a square where the photo is large enough for one.

    Args:
        photo: (H, W, 3).
        mask: of any size in the photo's aspect; an empty one means the whole photo.

    >>> square_around(np.zeros((100, 200, 3), np.uint8), np.eye(1, 4, 1, dtype=bool)).shape
    (100, 120, 3)
    """
    high, wide = photo.shape[:2]
    x0, y0, x1, y1 = box_of(mask)
    if x1 <= x0:
        return photo
    across, down = wide / mask.shape[1], high / mask.shape[0]
    centre_x, centre_y = (x0 + x1) / 2 * across, (y0 + y1) / 2 * down
    side = AROUND * max((x1 - x0) * across, (y1 - y0) * down)
    left, right = _placed(centre_x, side, wide)
    top, bottom = _placed(centre_y, side, high)
    return np.ascontiguousarray(photo[top:bottom, left:right])


def _placed(centre: float, side: float, length: int) -> tuple[int, int]:
    """A stretch of `side` pixels around a centre, shifted into 0 to length, or all of it."""
    if side >= length:
        return 0, length
    start = round(min(max(centre - side / 2, 0.0), length - side))
    return start, max(start + 1, min(length, start + round(side)))
