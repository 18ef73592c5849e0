"""Heat maps as pictures: the photo in grey, and over it the colour of how much each place resembles a phrase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..geometry import fit
from ..query.heat import Heat
from ..records import RGB
from .files import safe_name
from .outputs import check_output, made_folder, save_picture

SHARE = 0.65  # of the colour over the photo
LONGEST_SIDE = 1024  # pixels of a written map
_STOPS = np.array([(0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)], float)


def warm(values: NDArray[np.floating]) -> RGB:
    """Colours from black by violet and orange to yellow, equal steps look equal in grey too.

    Args:
        values: (h, w), 0 to 1; NaN is black.
    Returns:
        (h, w, 3) uint8.

    >>> warm(np.array([[0.0, 1.0]])).tolist()
    [[[0, 0, 4], [252, 255, 164]]]
    """
    at = np.clip(np.nan_to_num(np.asarray(values, float)), 0, 1) * (len(_STOPS) - 1)
    low = np.minimum(at.astype(int), len(_STOPS) - 2)
    share = (at - low)[..., None]
    colours: RGB = np.rint(_STOPS[low] * (1 - share) + _STOPS[low + 1] * share).astype(np.uint8)
    return colours


def paint_heat(photo: RGB, heat: Heat, side: int = LONGEST_SIDE) -> RGB:
    """The photo with one map over it.

    Args:
        photo: (H, W, 3) uint8; not changed.
        heat: of the photo.
        side: long side of the result, pixels; never more than the photo has.
    Returns:
        (h, w, 3) uint8; where the model did not look, the photo stays grey.
    """
    from PIL import Image

    height, width = fit((photo.shape[0], photo.shape[1]), side)
    small = Image.fromarray(photo).resize((width, height), Image.Resampling.BILINEAR)
    grey = np.asarray(small.convert("L"), float)[..., None].repeat(3, 2)
    seen = ~np.isnan(heat.picture)
    stretched = Image.fromarray(np.nan_to_num(heat.picture).astype(np.float32))
    values = np.asarray(stretched.resize((width, height), Image.Resampling.BILINEAR))
    looked = np.asarray(Image.fromarray(seen).resize((width, height), Image.Resampling.NEAREST))
    mixed = grey * (1 - SHARE) + warm(values) * SHARE
    return np.rint(np.where(looked[..., None], mixed, grey)).astype(np.uint8)


def heat_name(stem: str, number: int, heat: Heat) -> str:
    """File name of the map of one entity: the photo's name, entity number (1 is the first), phrase.

    >>> heat_name("Harbour 1", 0, Heat("[a red boat]", np.zeros((1, 1)), 0.0, 1.0))
    'harbour-1-e1-a-red-boat-heat.png'
    """
    return f"{safe_name(stem)}-e{number + 1}-{safe_name(heat.text)}-heat.png"


def write_heat(
    photo: RGB, heats: Sequence[Heat], folder: Path | str, stem: str, *, overwrite: bool = False
) -> list[Path]:
    """Write one PNG a map.

    Args:
        photo: (H, W, 3) uint8.
        heats: of the photo, in the order of the entities.
        folder: made if missing, in a folder that is there.
        stem: what the files are named after.
        overwrite: whether maps of the same name may be written over.
    Raises:
        InputError: a file must not be written, see `export.outputs`; then none is.
    """
    folder = made_folder(folder)
    files = [folder / heat_name(stem, number, heat) for number, heat in enumerate(heats)]
    for file in files:
        check_output(file, overwrite=overwrite)
    for file, heat in zip(files, heats, strict=True):
        save_picture(paint_heat(photo, heat), file, "heat map", overwrite=True)
    return files
