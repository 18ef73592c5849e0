"""Small JPEGs of the photos, named by content, made again when lost. Knows a folder and pixels."""

from __future__ import annotations

import os
from pathlib import Path

from ..geometry import fit
from ..records import RGB

QUALITY = 85


def thumbnail_file(folder: Path | str, sha256: str) -> Path:
    """Where the thumbnail of a photo lies: two hex digits spread the files over 256 folders.

    >>> thumbnail_file("thumbnails", "ab12").as_posix()
    'thumbnails/ab/ab12.jpg'
    """
    return Path(folder) / sha256[:2] / f"{sha256}.jpg"


def shrink(rgb: RGB, long_side: int) -> RGB:
    """The picture with its longer side at most `long_side`, (h, w, 3) uint8; never enlarged."""
    import numpy as np
    from PIL import Image

    height, width = fit(rgb.shape, long_side)
    if (height, width) == rgb.shape[:2]:
        return rgb
    small = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.asarray(small)


def write_thumbnail(file: Path, rgb: RGB, long_side: int) -> RGB:
    """Write the thumbnail under a temporary name, then rename it: a reader never sees half a file.

    Args:
        file: where it goes; missing folders are made.
        rgb: (H, W, 3) uint8, upright.
        long_side: pixels of the longer side, at most.
    Returns:
        the small picture that was written.
    """
    import numpy as np
    import simplejpeg

    small = np.ascontiguousarray(shrink(rgb, long_side))
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = file.with_name(f".{file.stem}.{os.getpid()}.part")
    try:
        waiting.write_bytes(simplejpeg.encode_jpeg(small, quality=QUALITY, colorspace="RGB", colorsubsampling="420"))
        os.replace(waiting, file)
    except OSError:
        waiting.unlink(missing_ok=True)
        raise
    return small


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
        write_thumbnail(file, decode(original, max_pixels=max_pixels, long_side=2 * long_side).rgb, long_side)
    return file
