"""Reads the files of published data sets: JSON, pickles of plain values, pictures, polygons. Knows no data set.

Pickles come from strangers, and a pickle may run code when it is read. Those of the data sets hold nothing but
dictionaries, lists, texts and numbers, so the reader here refuses to look up any class or function at all.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageUnreadable, InputError
from ...records import RGB, BoolMask


def read_json(path: Path, *, encodings: Sequence[str] = ("utf-8",)) -> Any:
    """The content of a JSON file.

    Args:
        encodings: tried in their order.
    Raises:
        InputError: it is missing or no JSON.
    """
    content = read_bytes(path)
    for encoding in encodings:
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except ValueError as error:
            raise InputError(f"{path} is no JSON: {error}; download it again") from error
    raise InputError(f"{path} is no text in {' or '.join(encodings)}; download it again")


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; see docs/reproduce.md for the files wanted"
        ) from error


class _Plain(pickle.Unpickler):
    """Dictionaries, lists, tuples, sets, texts, numbers, truth values and None; nothing that has to be looked up."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise InputError(
            f"the pickle asks for {module_name}.{global_name}, expected plain values only; "
            "it is not a file of the data set, do not trust it"
        )

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise InputError("the pickle refers to something outside, expected plain values only")


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle of plain values, such as the `refs(unc).p` of RefCOCO.

    Raises:
        InputError: it is missing, damaged, or wants a class or function.
    """
    try:
        with open(path, "rb") as file:
            return _Plain(file, encoding="latin1").load()  # some were written by Python 2
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}; see docs/reproduce.md") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} is no whole pickle: {error!r}; download it again") from error


def read_photo(path: Path, size: tuple[int, int] | None = None) -> RGB:
    """The pixels of a picture as they are stored: what annotations refer to, so no EXIF turn is applied.

    Args:
        size: (height, width) that the annotations name, or None.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageUnreadable: missing, damaged, or of another size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
    except FileNotFoundError as error:
        raise ImageUnreadable(f"no photo {path}; see docs/reproduce.md for the files wanted") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ImageUnreadable(f"photo {path} does not decode: {error}; download it again") from error
    if size is not None and pixels.shape[:2] != size:
        raise ImageUnreadable(
            f"photo {path} is {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {size[1]} x "
            f"{size[0]} as its annotations say; photos and annotations are of two releases"
        )
    return pixels


def read_indexed(path: Path) -> NDArray[np.uint8]:
    """The palette positions of an indexed PNG, (H, W) uint8, as VOC keeps its masks; a grey one as it is.

    Raises:
        ImageUnreadable: missing, damaged, or of another kind.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode not in ("P", "L"):
                raise ImageUnreadable(f"mask {path} is of mode {picture.mode}, expected an indexed PNG as VOC has it")
            return np.array(picture)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise ImageUnreadable(f"mask {path} cannot be read: {error}") from error


def read_ids(path: Path) -> NDArray[np.int64]:
    """The segment ids of a panoptic PNG, (H, W) int64: R + 256 G + 256² B."""
    pixels = read_photo(path).astype(np.int64)
    ids: NDArray[np.int64] = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    return ids


def rasterise(segmentation: Any, size: tuple[int, int]) -> BoolMask:
    """A COCO segmentation as a mask (H, W): polygons (their union), or run lengths in either form.

    Raises:
        InputError: of another form.
    """
    from pycocotools import mask as coco

    height, width = size
    try:
        if isinstance(segmentation, Mapping):
            counts = segmentation["counts"]
            rle = (
                dict(segmentation)
                if isinstance(counts, str | bytes)
                else coco.frPyObjects(dict(segmentation), height, width)
            )
        elif not segmentation:
            return np.zeros(size, bool)
        else:
            pieces = [piece for piece in segmentation if len(piece) >= 6]
            rle = coco.merge(coco.frPyObjects(pieces, height, width)) if pieces else None
        mask = np.zeros(size, bool) if rle is None else coco.decode(rle).astype(bool)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"a segmentation cannot be used: {error!r}, expected polygons or run lengths of COCO"
        ) from error
    if mask.shape != size:
        raise InputError(f"a segmentation has size {mask.shape}, expected {size} as its photo")
    return mask
