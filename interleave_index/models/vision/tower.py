"""find-mini's vision tower: pixels to the pyramid that the interface reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from .conv import MiniBackbone
from .pixel_decoder import PixelDecoder, Pyramid

PIXEL_MEAN = (123.675, 116.280, 103.530)
PIXEL_STD = (58.395, 57.120, 57.375)
COARSEST = 32  # pixels of a cell of the coarsest map; sides are multiples of it
SQUARE = 208  # side of the square that every photo is pressed into first, in training and in use


def squashed(rgb: NDArray[np.uint8], square: int = SQUARE) -> NDArray[np.uint8]:
    """(H, W, 3) photo to (square, square, 3), the whole of it; big photos by the mean of what a cell covers."""
    from PIL import Image

    fast = min(rgb.shape[:2]) >= 2 * square
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(picture.resize((square, square), Image.Resampling.BOX if fast else Image.Resampling.BILINEAR))


def to_side(pixels: Tensor, side: int) -> Tensor:
    """(B, 3, SQUARE, SQUARE) to (B, 3, side, side), as crops of training are made."""
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False)


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions of its own for bfloat16; without them it is slower than float32."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


class VisionTower(nn.Module):
    """Backbone and pixel decoder. Photos enter squashed to a square whose side is a multiple of 32.

    Args:
        widths, depths: of the backbone's four stages.
        width: C of the pyramid.
        heads, ffn, layers: of the pixel decoder's transformer.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        widths: Sequence[int] = (64, 128, 256, 384),
        depths: Sequence[int] = (2, 2, 3, 2),
        width: int = 128,
        heads: int = 4,
        ffn: int = 512,
        layers: int = 3,
    ) -> None:
        super().__init__()
        self.backbone = MiniBackbone(widths, depths)
        self.pixel_decoder = PixelDecoder(widths, width, heads=heads, ffn=ffn, layers=layers)
        self.widths, self.width = tuple(widths), width
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1), persistent=False)

    def channels_last(self) -> None:
        """Keep the weights as the convolutions of a CPU like them."""
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255 to what the backbone takes, channels last in memory."""
        return ((pixels - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def deep(maps: Sequence[Tensor]) -> Tensor:
        """(B, F, h, w) at stride 16: the backbone's last map, every cell repeated, on top of the one before it."""
        return torch.cat([F.interpolate(maps[3], size=maps[2].shape[-2:], mode="nearest"), maps[2]], 1)

    def forward(self, pixels: Tensor, *, mirrored: bool = False) -> Pyramid:
        """(B, 3, S, S) RGB in 0..255 to the pyramid.

        Args:
            mirrored: the deep maps are the mean over the photo and its mirror image, which a second look of the
                backbone costs.
        """
        count = len(pixels)
        normal = self.normalise(torch.cat([pixels, pixels.flip(3)]) if mirrored else pixels)
        maps = self.backbone(normal.to(self.backbone.dtype))
        deep = self.deep(maps).to(normal.dtype)
        if mirrored:
            deep = (deep[:count] + deep[count:].flip(3)) / 2
        found: Pyramid = self.pixel_decoder([level[:count] for level in maps])
        first, second, third = (level.to(normal.dtype) for level in found.levels)
        return Pyramid(
            found.mask_features.to(normal.dtype), found.encoded.to(normal.dtype), (first, second, third), deep
        )

    def halve(self) -> None:
        """Compute in bfloat16 from here on; what comes out stays in the type of the photos."""
        self.backbone.bfloat16()
        self.pixel_decoder.bfloat16()
