"""Small JPEGs of the photos, named by content, made again when lost. Knows a folder and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..records import RGB
from ..storage.names import thumbnail_file
from ..whole_files import replaced

__all__ = ["ensure_thumbnail", "shrink", "thumbnail_file", "write_thumbnail"]

QUALITY = 85


def shrink(rgb: RGB, long_side: int) -> Image.Image:
    """The picture shrunk by the smallest whole factor that brings its longer side to at most `long_side`.

    A whole factor costs a fifth of a free choice of size, which counts when it is done for every photo of a run.
    """
    image = Image.fromarray(rgb)
    factor = -(-max(image.size) // long_side)
    return image.reduce(factor) if factor > 1 else image


def write_thumbnail(file: Path, small: Image.Image) -> None:
    """Write a thumbnail; a reader never sees half a file.

    Args:
        file: where it goes; missing folders are made.
        small: of mode RGB.
    """
    import simplejpeg

    data = simplejpeg.encode_jpeg(np.asarray(small), quality=QUALITY, colorspace="RGB", colorsubsampling="420")
    try:
        _write(file, data)
    except FileNotFoundError:  # the first one of its folder
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, data)


def _write(file: Path, data: bytes) -> None:
    with replaced(file) as draft:
        draft.write_bytes(data)


def ensure_thumbnail(file: Path, original: Path | str, *, max_pixels: int, long_side: int) -> Path:
    """The thumbnail's path; when the file is lost it is made again from the original.

    Args:
        file: where the thumbnail belongs.
        original: the photo, in any format that `decode` reads; only opened when the thumbnail is not there.
    Raises:
        ImageUnreadable, ImageTooLarge: the original cannot be decoded.
    """
    from .decode import decode

    if not file.exists():
        write_thumbnail(file, shrink(decode(original, max_pixels=max_pixels, long_side=long_side).rgb, long_side))
    return file
