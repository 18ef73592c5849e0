"""How a picture becomes the input of an interleaved encoder: kept in its aspect, resized by Pillow, cut into patches.

The numbers come from the checkpoint's own image processor, read in its Pillow form, and the sizes from functions of the
library. The patches are cut here, on the device, so that what waits for the model is 8-bit; the values are those of the
processors. torchvision is neither needed nor used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...geometry import size_of
from ...models.hub.pretrained import reader
from ...records import RGB, Size

LONGEST = 199  # sides of more than 200 to 1 are refused by Qwen's processor: such a picture is squeezed to this


class Pixels(ABC):
    """What a picture is put through.

    Args:
        settings: the image processor of the checkpoint.
        token: side of the square that one token of the language model shows, pixels of the prepared picture.

    Attributes:
        patch: side of a patch of the vision tower, pixels.
    """

    def __init__(self, settings: Any, token: int) -> None:
        self.patch = int(settings.patch_size)
        self._token, self._filter = token, int(settings.resample)
        normalised = bool(settings.do_normalize)
        self._mean = tuple(settings.image_mean) if normalised else (0.0,) * 3
        self._std = tuple(settings.image_std) if normalised else (1.0,) * 3

    @abstractmethod
    def resized(self, size: Size) -> Size:
        """(height, width) that a picture of this (height, width) is resized to: whole tokens."""

    @abstractmethod
    def tensors(self, prepared: Sequence[RGB], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """Keyword arguments of the model for prepared pictures, in order; no pictures give no arguments."""

    def grid(self, size: Size) -> Size:
        """(h, w) tokens that a picture of this (height, width) gets."""
        high, wide = self.resized(size)
        return high // self._token, wide // self._token

    def tokens(self, prepared: RGB) -> int:
        """How many tokens a prepared picture has."""
        high, wide = size_of(prepared)
        return (high // self._token) * (wide // self._token)

    def prepare(self, photo: RGB) -> RGB:
        """(h, w, 3) uint8 at the size of the model's input; may run in another thread than the model."""
        from PIL import Image

        high, wide = self.resized(size_of(photo))
        picture = Image.fromarray(photo)
        if picture.size != (wide, high):
            picture = picture.resize((wide, high), Image.Resampling(self._filter))
        return np.array(picture)

    def _normal(self, picture: RGB, device: torch.device) -> Tensor:
        """(h, w, 3) float32 on the device."""
        mean, std = torch.tensor(self._mean, device=device), torch.tensor(self._std, device=device)
        return (torch.from_numpy(picture).to(device) * (1 / 255) - mean) / std

    @property
    def _how(self) -> str:
        from PIL import Image

        return f"pillow {Image.Resampling(self._filter).name.lower()}"


class QwenPixels(Pixels):
    """Qwen3-VL: any size in whole tokens between a least and a largest number of pixels.

    Args:
        folder: of the checkpoint.
        most: pixels of a picture, at most; the smaller of this and what the checkpoint's processor allows counts.
    """

    def __init__(self, folder: Path, most: int) -> None:
        settings = reader(folder, "Qwen2VLImageProcessorPil")
        self._merge, self._frames = int(settings.merge_size), int(settings.temporal_patch_size)
        super().__init__(settings, int(settings.patch_size) * self._merge)
        self._most = min(most, int(settings.size["longest_edge"]))
        self._least = min(int(settings.size["shortest_edge"]), self._most)

    def __str__(self) -> str:
        return f"native {self._least} to {self._most} pixels in {self._token}, {self._how}"

    def resized(self, size: Size) -> Size:
        """See `Pixels.resized`."""
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

        high, wide = (max(side, -(-max(size) // LONGEST)) for side in size)
        high, wide = smart_resize(high, wide, self._token, self._least, self._most)
        return int(high), int(wide)

    def tensors(self, prepared: Sequence[RGB], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """See `Pixels.tensors`: the patches of one token lie together, each once a frame."""
        if not len(prepared):
            return {}
        patches, shapes = [], []
        for picture in prepared:
            down, across = picture.shape[0] // self.patch, picture.shape[1] // self.patch
            cut = self._normal(picture, device).reshape(
                down // self._merge, self._merge, self.patch, across // self._merge, self._merge, self.patch, 3
            )
            ordered = cut.permute(0, 3, 1, 4, 6, 2, 5)  # token row and column, patch row and column, channel, y, x
            frames = ordered[:, :, :, :, :, None].expand(*ordered.shape[:5], self._frames, *ordered.shape[5:])
            patches.append(frames.reshape(down * across, -1))
            shapes.append((1, down, across))
        return {
            "pixel_values": torch.cat(patches).to(dtype),
            "image_grid_thw": torch.tensor(shapes, device=device),
        }


class GemmaPixels(Pixels):
    """Gemma 4's vision tower: as large as a number of tokens allows.

    Args:
        folder: of the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        settings = reader(folder, "Gemma4ImageProcessorPil")
        self._pool = int(settings.pooling_kernel_size)
        super().__init__(settings, int(settings.patch_size) * self._pool)
        self._most = int(settings.max_soft_tokens)

    def __str__(self) -> str:
        return f"native {self._most} tokens of {self._token}, {self._how}"

    def resized(self, size: Size) -> Size:
        """See `Pixels.resized`."""
        from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

        high, wide = get_aspect_ratio_preserving_size(*size, self.patch, self._most * self._pool**2, self._pool)
        return int(high), int(wide)

    def tensors(self, prepared: Sequence[RGB], device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        """See `Pixels.tensors`: rows of patches with the place (x, y) of each, -1 where there is none."""
        if not len(prepared):
            return {}
        most = self._most * self._pool**2
        values = torch.zeros((len(prepared), most, self.patch**2 * 3), device=device)
        places = torch.full((len(prepared), most, 2), -1, dtype=torch.long, device=device)
        for n, picture in enumerate(prepared):
            down, across = picture.shape[0] // self.patch, picture.shape[1] // self.patch
            cut = self._normal(picture, device).reshape(down, self.patch, across, self.patch, 3)
            values[n, : down * across] = cut.transpose(1, 2).reshape(down * across, -1)
            y, x = torch.meshgrid(torch.arange(down), torch.arange(across), indexing="ij")
            places[n, : down * across] = torch.stack([x, y], -1).reshape(-1, 2).to(device)
        return {"pixel_values": values.to(dtype), "image_position_ids": places}
