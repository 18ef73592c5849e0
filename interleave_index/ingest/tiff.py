"""TIFF pictures of kinds that Pillow does not read: floats, 16-bit colour with alpha, grey and CMYK with alpha.

Knows tifffile. Unpacking needs `imagecodecs` (extra `tiff`) for some ways of compression.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageUnreadable
from .colour import apply_profile, to_eight_bits

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK = 0, 1, 2, 5
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4}
ASSOCIATED, UNASSOCIATED = 1, 2  # kinds of extra samples that are alpha
PROFILE, XMP = 34675, 700


def read_tiff(data: bytes, check_size: Callable[[tuple[int, int]], None]) -> Image.Image:
    """The first page as a picture of mode RGB, in sRGB, not turned upright; EXIF and XMP are in its `info`.

    Args:
        check_size: is called with (width, height) before anything is unpacked.
    Raises:
        ImageUnreadable: a kind that is not supported.
        Exception: damaged data raises whatever tifffile raises.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        check_size((page.imagewidth, page.imagelength))
        photometric = page.photometric  # a name of tifffile, a number that it does not know, or () of a damaged tag
        colours = COLOURS.get(int(photometric)) if isinstance(photometric, int) else None
        if colours is None or page.samplesperpixel < colours:
            kind = getattr(photometric, "name", f"colours of kind {photometric}").lower()
            raise ImageUnreadable(
                f"TIFF of this kind is not supported: {kind} with {page.samplesperpixel} samples of {page.dtype}; "
                "save it as 8-bit or 16-bit RGB"
            )
        ends = [start + length for start, length in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if ends and max(ends) > len(data):
            raise ValueError("the pixels end before the file says so")
        samples = _samples(page)
        if samples.shape[:2] != (page.imagelength, page.imagewidth):
            raise ValueError(f"it unpacks to {samples.shape}, its size is {page.imagewidth} x {page.imagelength}")
        extra = [int(kind) for kind in page.extrasamples]
        profile = page.tags.valueof(PROFILE)
        xmp = page.tags.valueof(XMP)
    picture = _picture(samples, int(photometric), colours, extra, profile)
    if isinstance(xmp, bytes):
        picture.info["xmp"] = xmp
    return picture


def full_pages(data: bytes) -> int:
    """Pages that are pictures of their own, without small copies and masks of others."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return sum(not (page.is_reduced or page.is_mask) for page in file.pages)  # type: ignore[union-attr]


def _samples(page: Any) -> NDArray[Any]:
    """(H, W, S) samples of one page."""
    try:
        array: NDArray[Any] = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise ImageUnreadable(
            f"TIFF with compression {page.compression.name.lower()} needs imagecodecs; "
            "install the extra tiff: pip install 'interleave-index[tiff]'"
        ) from error
    if array.ndim == 2:
        return array[..., None]
    if page.axes.startswith("S"):  # one plane a sample
        return np.moveaxis(array, 0, -1)
    return array


def _picture(
    samples: NDArray[Any], photometric: int, colours: int, extra: list[int], profile: bytes | None
) -> Image.Image:
    colour = to_eight_bits(samples[..., :colours])
    if photometric == WHITE_IS_ZERO:
        colour = 255 - colour
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[colours]
    plain = Image.fromarray(colour[..., 0] if colours == 1 else colour, mode=None if mode != "CMYK" else "CMYK")
    picture = apply_profile(plain, profile)
    kinds = [kind for kind in extra if kind in (ASSOCIATED, UNASSOCIATED)]
    if not kinds or samples.shape[-1] <= colours:
        return picture
    alpha = to_eight_bits(samples[..., colours + extra.index(kinds[0])])
    if kinds[0] == ASSOCIATED and mode != "CMYK":  # already multiplied: only the white behind it is lacking
        lit = np.asarray(picture).astype(np.uint16) + (255 - alpha.astype(np.uint16))[..., None]
        return Image.fromarray(lit.clip(0, 255).astype(np.uint8))
    return Image.composite(picture, Image.new("RGB", picture.size, "white"), Image.fromarray(alpha))
