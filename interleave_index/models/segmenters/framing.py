"""How a photo is laid into the square that a segmenter wants, and how masks come back out of it. Knows no model.

SAM keeps the aspect and pads below and to the right; SAM 2 and SAM 3 press the photo into the square. Resizing is
Pillow's bilinear filter, normalisation happens on the device: torchvision is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeError
from ...records import RGB, BoolMask, Floats, Size

if TYPE_CHECKING:
    from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Frame:
    """A square input of one photo.

    Attributes:
        size: (height, width) of the photo.
        side: of the square, pixels.
        keep_aspect: padded below and to the right, else pressed into the square.
    """

    size: Size
    side: int
    keep_aspect: bool

    @property
    def inner(self) -> Size:
        """(height, width) of the photo inside the square.

        >>> Frame((427, 640), 1024, True).inner, Frame((427, 640), 1024, False).inner
        ((683, 1024), (1024, 1024))
        """
        if not self.keep_aspect:
            return self.side, self.side
        scale = self.side / max(self.size)
        return max(1, int(self.size[0] * scale + 0.5)), max(1, int(self.size[1] * scale + 0.5))

    def points(self, points: NDArray[np.floating]) -> Floats:
        """(N, 2) x and y in the photo to x and y in the square."""
        scale = np.array([self.inner[1] / self.size[1], self.inner[0] / self.size[0]])
        placed: Floats = (np.asarray(points, np.float64) * scale).astype(np.float32)
        return placed

    def pixels(self, photo: RGB, mean: tuple[float, ...], std: tuple[float, ...], device: str) -> Tensor:
        """(1, 3, side, side) float32 on the device, normalised, 0 where there is no photo."""
        import torch
        from PIL import Image

        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
            raise ShapeError(f"photo has shape {photo.shape} and dtype {photo.dtype}, expected (H, W, 3) uint8")
        height, width = self.inner
        resized = Image.fromarray(np.ascontiguousarray(photo)).resize((width, height), Image.Resampling.BILINEAR)
        values = torch.from_numpy(np.array(resized)).to(device).permute(2, 0, 1).float() / 255
        values = (values - torch.tensor(mean, device=device)[:, None, None]) / torch.tensor(std, device=device)[
            :, None, None
        ]
        return torch.nn.functional.pad(values, (0, self.side - width, 0, self.side - height))[None]

    def masks(self, logits: Tensor, cut: float = 0.0) -> list[BoolMask]:
        """(n, h, w) scores of the square to n masks of the photo's size: bilinear, then above `cut`."""
        return [(scores > cut).cpu().numpy() for scores in self.scores(logits)]

    def scores(self, logits: Tensor) -> Iterator[Tensor]:
        """(n, h, w) scores of the square to n of the photo's size, (H, W) float32, bilinear, one after the other."""
        import torch.nn.functional as F

        grown = logits[None].float()
        if self.keep_aspect:
            grown = F.interpolate(grown, (self.side, self.side), mode="bilinear", align_corners=False)
            grown = grown[..., : self.inner[0], : self.inner[1]]
        for scores in grown[0]:  # one by one: large photos with many masks would fill the memory
            yield F.interpolate(scores[None, None], self.size, mode="bilinear", align_corners=False)[0, 0]
