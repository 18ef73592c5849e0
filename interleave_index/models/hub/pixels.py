"""How a photo becomes the input of a dual encoder, read from the checkpoint's own preprocessor file.

Resizing is Pillow's, normalisation happens on the device. The values are those of the image processors of transformers
in their Pillow form; torchvision is not needed. What only resizes, cuts and normalises is done here, in threads; a
processor that does anything else is run itself. Knows no model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError
from ...records import RGB, Size
from .families import CLIP_MEAN as CLIP_MEAN
from .families import CLIP_STD as CLIP_STD
from .families import HALF as HALF
from .families import family_of
from .pretrained import reader

if TYPE_CHECKING:
    import torch

NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
# Processors that resize, perhaps cut out the centre, and normalise; names without what a version or backend adds.
PLAIN = {"CLIP", "ChineseCLIP", "Siglip", "Siglip2", "Blip", "ViT", "DeiT", "OwlViT", "Flava", "Tipsv2", "Bit"}
_SUFFIX = re.compile(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$")
_OWN = {"align": "EfficientNet", "owlv2": "Owlv2"}  # by model type, where the file names no processor
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's numbers


Prepared: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]  # by `Preprocessing`, by `OwnProcessor`


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a photo is put through.

    Attributes:
        mode: ``crop`` (short side to `size`, then a square from the centre), ``stretch`` (to `input` as a whole), or
            ``native`` (kept in its aspect, at most `max_patches` patches).
        input: (height, width) of the model's input, pixels; (0, 0) when native.
        size: of the short side before cropping, pixels; 0 when not cropped.
        patch: side of a patch, pixels.
        filter: of the resizing, by Pillow's number.
        mean, std: of the three channels, 0 to 1.
        max_patches: when native.
    """

    mode: Literal["crop", "stretch", "native"]
    input: tuple[int, int]
    patch: int
    size: int = 0
    filter: int = 3
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    max_patches: int = 0

    def __str__(self) -> str:
        """One line for the identity of a space.

        >>> str(Preprocessing("crop", (224, 224), 32, 224))
        'crop 224 of short side 224, pillow bicubic'
        """
        what = {
            "crop": f"crop {self.input[0]} of short side {self.size}",
            "native": f"native {self.max_patches}",
            "stretch": f"stretch {self.input[0]}",
        }[self.mode]
        return f"{what}, pillow {FILTERS[self.filter]}"

    def whole(self) -> Preprocessing:
        """The same without cutting anything off: the photo squeezed to the input where it would be cropped."""
        return replace(self, mode="stretch", size=0) if self.mode == "crop" else self

    def grid(self, size: Size) -> tuple[int, int]:
        """(h, w) patches that a photo of this (height, width) gets."""
        high, wide = self.resized(size) if self.mode == "native" else self.input
        return high // self.patch, wide // self.patch

    def resized(self, size: Size) -> tuple[int, int]:
        """(height, width) that a photo is resized to, before any cropping."""
        if self.mode == "stretch":
            return self.input
        if self.mode == "native":
            return _native_size(size, self.patch, self.max_patches)
        short, long = min(size), max(size)
        other = int(self.size * long / short)
        return (self.size, other) if size[0] <= size[1] else (other, self.size)

    def prepare(self, photo: RGB) -> NDArray[np.uint8]:
        """(h, w, 3) uint8 at the size of the model's input."""
        from PIL import Image

        high, wide = self.resized((photo.shape[0], photo.shape[1]))
        picture = Image.fromarray(photo)
        if picture.size != (wide, high):
            picture = picture.resize((wide, high), Image.Resampling(self.filter))
        if self.mode == "crop":
            top, left = (high - self.input[0]) // 2, (wide - self.input[1]) // 2
            picture = picture.crop((left, top, left + self.input[1], top + self.input[0]))
        return np.array(picture)

    def tensors(self, prepared: Sequence[Prepared], device: torch.device) -> dict[str, torch.Tensor]:
        """Keyword arguments of the vision tower, float32 on the device, normalised."""
        import torch

        mean = torch.tensor(self.mean, device=device)
        std = torch.tensor(self.std, device=device)
        if self.mode != "native":
            stacked = torch.from_numpy(np.stack(prepared)).to(device)
            return {"pixel_values": ((stacked * (1 / 255) - mean) / std).permute(0, 3, 1, 2).contiguous()}
        side, most = self.patch, self.max_patches
        values = torch.zeros((len(prepared), most, side * side * 3), device=device)
        real = torch.zeros((len(prepared), most), dtype=torch.int32, device=device)
        shapes = torch.tensor([(p.shape[0] // side, p.shape[1] // side) for p in prepared], device=device)
        for n, photo in enumerate(prepared):
            high, wide = photo.shape[0] // side, photo.shape[1] // side
            normal = (torch.from_numpy(photo).to(device) * (1 / 255) - mean) / std
            cells = normal.reshape(high, side, wide, side, 3).transpose(1, 2).reshape(high * wide, -1)
            values[n, : high * wide], real[n, : high * wide] = cells, 1
        return {"pixel_values": values, "pixel_attention_mask": real, "spatial_shapes": shapes}


class OwnProcessor:
    """The image processor of a checkpoint itself, where it does more than resize, cut and normalise.

    Args:
        folder: with its preprocessor file.
        name: of the class, without what a version or backend adds.

    Attributes:
        input: (height, width) of the model's input, pixels.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._name, self._processor = name, reader(folder, "AutoImageProcessor")
        self.input: Size = self.prepare(np.zeros((8, 8, 3), np.uint8)).shape[1:]

    def __str__(self) -> str:
        """One line for the identity of a space."""
        return f"as {self._name} prepares it, {self.input[0]} x {self.input[1]}, pillow"

    def whole(self) -> OwnProcessor:
        """Itself: what the processor cuts off is not known."""
        return self

    def prepare(self, photo: RGB) -> NDArray[np.float32]:
        """(3, h, w) float32, normalised."""
        values: NDArray[np.float32] = self._processor(photo, return_tensors="np")["pixel_values"][0]
        return values.astype(np.float32, copy=False)

    def tensors(self, prepared: Sequence[Prepared], device: torch.device) -> dict[str, torch.Tensor]:
        """Keyword arguments of the vision tower, float32 on the device."""
        import torch

        return {"pixel_values": torch.from_numpy(np.stack(prepared)).to(device)}


Preparation: TypeAlias = Preprocessing | OwnProcessor


def read_preprocessing(folder: Path, config: dict[str, Any]) -> Preparation:
    """The preprocessing of a checkpoint folder.

    Args:
        folder: with preprocessor_config.json or processor_config.json; without either, the family's usual values.
        config: its config.json.
    Raises:
        ModelError: it asks for something that no checkpoint of these families does.
        BackendMissing, WeightsMissing: its own image processor has to be run and cannot be built.
    """
    family, given = family_of(config), processor_settings(folder)
    name = _SUFFIX.sub("", str(given.get("image_processor_type") or given.get("feature_extractor_type") or ""))
    if not name and config.get("model_type") in _OWN:
        name = _OWN[config["model_type"]]
    if name and name not in PLAIN:
        return OwnProcessor(folder, name)
    settings = {**(family.pixels if family is not None else {}), **given}
    vision = config.get("vision_config") or config.get("image_config") or {}
    side = vision.get("image_size", 224)
    patch = vision.get("patch_size", 16)
    normalises = settings.get("do_normalize", True)
    if not (
        settings.get("do_rescale", True)
        and math.isclose(settings.get("rescale_factor", 1 / 255), 1 / 255)
        and (normalises or (family is not None and not family.pixels.get("do_normalize", True)))
        and settings.get("do_resize", True)
    ):
        raise ModelError(
            f"{folder} asks for a preprocessing without resizing, rescaling by 1/255 or normalising, "
            "expected all three; its preprocessor_config.json is not one of a dual encoder"
        )
    usual: dict[str, Any] = {
        "mean": tuple(settings.get("image_mean", HALF)) if normalises else NO_MEAN,
        "std": tuple(settings.get("image_std", HALF)) if normalises else NO_STD,
        "patch": int(patch[0] if isinstance(patch, list) else patch),
        "filter": int(settings.get("resample", 3)),
    }
    if config.get("model_type") == "siglip2":
        most = int(settings.get("max_num_patches", vision.get("num_patches", 256)))
        return Preprocessing("native", (0, 0), max_patches=most, **usual)
    size, crop = settings.get("size", side), settings.get("crop_size", side)
    if isinstance(size, int) and settings.get("default_to_square", False):
        size = [size, size]
    if settings.get("do_center_crop", False) and not _is_exact(size, crop):
        short, (high, wide) = _short(size), _pair(crop)
        if min(short, high, wide) < 1 or short < max(high, wide):
            raise ModelError(f"{folder} crops {high}x{wide} from a short side of {short}, expected a smaller crop")
        return Preprocessing("crop", (high, wide), size=short, **usual)
    return Preprocessing("stretch", _pair(size), **usual)


def _is_exact(size: Any, crop: Any) -> bool:
    """Whether photos are squeezed to both sides, so that there is nothing to cut off."""
    both = isinstance(size, list) or (isinstance(size, dict) and "height" in size)
    return both and _pair(size) == _pair(crop)


def processor_settings(folder: Path) -> dict[str, Any]:
    """What the preprocessor file of a folder says, in its old or new form; empty without one.

    Raises:
        ModelError: it is no JSON.
    """
    for name, key in (("preprocessor_config.json", None), ("processor_config.json", "image_processor")):
        if (folder / name).is_file():
            try:
                content = json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ModelError(f"{folder / name} is not JSON: {error}; get the model again") from error
            inner = content.get(key) if key else content
            if isinstance(inner, dict):
                return {name: value for name, value in inner.items() if value is not None}
    return {}


def _short(size: Any) -> int:
    if isinstance(size, list):
        return min(_pair(size))
    if isinstance(size, dict):
        return int(size.get("shortest_edge") or min(_pair(size)))
    return int(size)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, list):
        return int(size[0]), int(size[1])
    if isinstance(size, dict):
        square = size.get("shortest_edge") or 0
        return int(size.get("height") or square), int(size.get("width") or square)
    return int(size), int(size)


def _native_size(size: Size, patch: int, most: int) -> tuple[int, int]:
    """The largest (height, width) in the photo's aspect, in whole patches rounded up, of at most `most` patches.

    Found by halving an interval down to 1e-5, as the models were trained with it.
    """

    def scaled(scale: float) -> tuple[int, int]:
        high, wide = (max(patch, math.ceil(side * scale / patch) * patch) for side in size)
        return high, wide

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        tall, wide = scaled(middle)
        if (tall / patch) * (wide / patch) <= most:
            low = middle
        else:
            high = middle
    return scaled(low)
