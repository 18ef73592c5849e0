"""Any mode and colour profile to plain 8-bit sRGB. Knows Pillow pictures; nothing of files."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

SAME = 2  # grey levels by which a profile may differ from sRGB and still be taken for it
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}


def to_srgb(image: Image.Image) -> Image.Image:
    """Turn a loaded picture into mode RGB.

    Alpha is laid on white; a colour profile is applied and a damaged or foreign one ignored; 16 bits and
    floats are scaled to 8 (see `to_eight_bits`); palettes are looked up.

    Args:
        image: of any mode that Pillow has.
    """
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        grey = apply_profile(Image.fromarray(to_eight_bits(np.asarray(image))), profile)
        return _without_transparent_grey(grey, image)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA") if _has_alpha(image) else image.convert("RGB")
    if image.mode in ("RGBA", "RGBX"):
        return _flatten(image, profile) if image.mode == "RGBA" else apply_profile(image.convert("RGB"), profile)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "LAB":
        image, profile = _from_lab(image), None
    elif image.mode not in _SPACES:
        image = image.convert("RGB")
    return apply_profile(image, profile)


def apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert a picture of mode RGB, L or CMYK to sRGB by its ICC profile, if it has a usable one."""
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    converted: Image.Image = transform.apply(image)
    return converted


def is_srgb(profile: bytes | None) -> bool:
    """Whether an RGB picture with this profile can be taken as it is."""
    return not profile or _transform(profile, "RGB") is None


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> Any:
    """A transform to sRGB, or None when the profile is sRGB already, damaged, or of another kind of picture."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.ImageCmsTransform(source, _srgb(), mode, "RGB")
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
        return None


def _changes_nothing(transform: Any, mode: str) -> bool:
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    if mode == "L":
        probe = steps[None]
        wanted = np.repeat(probe[..., None], 3, -1)
    else:
        probe = wanted = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    got = np.asarray(transform.apply(Image.fromarray(probe)))
    return int(np.abs(got.astype(int) - wanted).max()) <= SAME


@lru_cache(maxsize=1)
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _from_lab(image: Image.Image) -> Image.Image:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    converted: Image.Image = ImageCms.ImageCmsTransform(lab, _srgb(), "LAB", "RGB").apply(image)
    return converted


def _has_alpha(image: Image.Image) -> bool:
    return "A" in image.mode or "a" in image.mode or "transparency" in image.info


def _flatten(image: Image.Image, profile: bytes | None) -> Image.Image:
    alpha = image.getchannel("A")
    colour = apply_profile(image.convert("RGB"), profile)
    if alpha.getextrema() == (255, 255):
        return colour
    return Image.composite(colour, Image.new("RGB", image.size, "white"), alpha)


def _without_transparent_grey(picture: Image.Image, image: Image.Image) -> Image.Image:
    """White where a picture of deep grey has the one level that its file calls transparent."""
    level = image.info.get("transparency")
    if not isinstance(level, int):
        return picture
    seen = Image.fromarray(np.where(np.asarray(image) == level, 0, 255).astype(np.uint8))
    return Image.composite(picture, Image.new("RGB", picture.size, "white"), seen)


def to_eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Samples of any depth as 8 bits, of the same shape.

    Integers are scaled by 255 / 65535, or by their maximum when they go above that; 8 bits stay. Floats count as 0 to 1
    when nearly all lie there, but for lights of up to 4, and as 0 to 255 else; what is beyond is clipped.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    samples = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    if values.dtype.kind == "f":
        some = samples.reshape(-1)[:: max(1, samples.size // 1_000_000)]
        scale = 255.0 if some.size and float(np.quantile(some, 0.99)) <= 4 else 1.0
    else:
        scale = 255.0 / max(float(samples.max(initial=0.0)), 65535.0)
    eight: NDArray[np.uint8] = (samples * scale + 0.5).clip(0, 255).astype(np.uint8)
    return eight
