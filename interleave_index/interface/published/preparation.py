"""Photos into the published model and masks back out: resize, normalise, pad, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ShapeError
from ...geometry import resize_mask, size_of
from ...models.vision.tower import PIXEL_MEAN, PIXEL_STD
from ...records import RGB, BoolMask, Size
from ..find.adapter import View, check_photo

STRIDE = 32  # input sides are padded to a multiple of it, unless the backbone says otherwise
SHORT, LONG = 640, 1024  # what the authors evaluate with


def resized_size(size: Size, short: int = SHORT, long: int = LONG) -> Size:
    """Size whose shorter side is `short`, unless the longer one would then pass `long`.

    >>> resized_size((480, 640)), resized_size((300, 900))
    ((640, 853), (341, 1024))
    """
    scale = min(short / min(size), long / max(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def padded_size(size: Size, stride: int = STRIDE) -> Size:
    """The next multiples of the stride.

    >>> padded_size((640, 853))
    (640, 864)
    """
    return -(-size[0] // stride) * stride, -(-size[1] // stride) * stride


def prepare(
    photo: RGB,
    short: int = SHORT,
    long: int = LONG,
    *,
    squeezed: Size | None = None,
    bicubic: bool = False,
    stride: int = STRIDE,
    mean: Sequence[float] = PIXEL_MEAN,
    std: Sequence[float] = PIXEL_STD,
) -> tuple[Tensor, Size]:
    """One photo as the backbone takes it.

    Args:
        photo: (H, W, 3) uint8, upright RGB.
        squeezed: (height, width) that it is brought to instead, whatever its aspect.
        bicubic: how it is resized, else bilinear.
        stride: sides are padded to multiples of it.
        mean, std: of the channels, 0 to 255.
    Returns:
        (1, 3, h', w') float32, normalised, zeros where padded; and (h, w) without padding.
    Raises:
        ShapeError: not such an array.
    """
    from PIL import Image

    own = check_photo(photo)
    height, width = squeezed or resized_size(own, short, long)
    kind = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(photo)).resize((width, height), kind)
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float()
    middle, spread = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    full = padded_size((height, width), stride)
    normalised = F.pad((pixels - middle) / spread, (0, full[1] - width, 0, full[0] - height))
    return normalised[None], (height, width)


def prompt_mask(mask: BoolMask, view: View, *, padded: bool = True) -> Tensor:
    """A mask of the photo as a prompt of the model.

    Args:
        mask: (H, W) bool in pixels of the photo, or of the model's unpadded input.
        padded: add the padding of the input; the published interleaved grounding leaves it out.
    Returns:
        (h', w') bool; a mask with pixels keeps at least one.
    Raises:
        ShapeError: neither size.
    """
    size = size_of(mask) if mask.ndim == 2 else None
    if mask.dtype != np.bool_ or size not in (view.photo, view.resized):
        raise ShapeError(
            f"mask has shape {mask.shape} and dtype {mask.dtype}, expected {view.photo} bool, as the photo"
        )
    resized = mask if size == view.resized else resize_mask(mask, view.resized)
    if not resized.any() and mask.any():
        resized = F.adaptive_max_pool2d(torch.from_numpy(mask.astype(np.float32))[None], view.resized)[0].numpy() > 0
    tensor = torch.from_numpy(np.ascontiguousarray(resized))
    if not padded:
        return tensor
    return F.pad(tensor, (0, view.padded[1] - view.resized[1], 0, view.padded[0] - view.resized[0]))


Grow = Literal["bilinear", "bicubic", "smooth"]  # smooth is bicubic with antialias, another filter when growing, too


def to_photo(
    logits: Tensor, view: View, *, size: Size | None = None, first: Grow = "bilinear", second: Grow = "smooth"
) -> Tensor:
    """Mask logits from the stride-4 grid to the photo: up to the padded input, crop, up or down to the photo.

    Args:
        logits: (n, h, w), on the padded grid.
        size: (height, width) wanted instead of the photo's, of the same aspect.
        first, second: how the two steps interpolate.
    Returns:
        (n, H, W) logits.
    """
    if not len(logits):
        return logits.new_zeros((0, *(size or view.photo)))
    grown = _grown(logits[None].float(), view.padded, first)
    return _grown(_cropped(grown, view.resized), size or view.photo, second)[0]


def stretched(logits: Tensor, view: View) -> Tensor:
    """Mask logits to the photo as the published interleaved grounding does it: the padded grid, stretched."""
    return _grown(_cropped(logits[None].float(), view.resized), view.photo, "smooth")[0]


def _cropped(maps: Tensor, size: Size) -> Tensor:
    return maps[:, :, : size[0], : size[1]]


def _grown(maps: Tensor, size: Size, kind: Grow) -> Tensor:
    mode = "bilinear" if kind == "bilinear" else "bicubic"
    return F.interpolate(maps, size=size, mode=mode, align_corners=False, antialias=kind == "smooth")
