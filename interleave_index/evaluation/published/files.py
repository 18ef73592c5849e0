"""Reads the files of published data sets: JSON, pickles of plain values, pictures, polygons. Knows no data set.

Pickles come from strangers, and a pickle may run code when it is read. Those of the data sets hold nothing but
dictionaries, lists, texts and numbers, so the reader here refuses to look up any class or function at all.
"""

from __future__ import annotations

import io
import json
import pickle
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...errors import ImageUnreadable, InputError
from ...marks import png_options
from ...records import RGB, BoolMask, Size

if TYPE_CHECKING:
    from PIL import Image


Row: TypeAlias = dict[str, Any]  # one object of a JSON file
Ids: TypeAlias = NDArray[np.int64]  # (H, W) of panoptic segments


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        InputError: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}; see docs/reproduce.md for the files wanted"
        ) from error


def read_json(path: Path, *, fallback: str = "utf-8") -> Any:
    """The content of a JSON file.

    Args:
        fallback: encoding of a file that is not UTF-8.
    Raises:
        InputError: it is missing or no JSON.
    """
    content = read_bytes(path)
    for encoding in ("utf-8", fallback):
        try:
            return json.loads(content.decode(encoding))
        except ValueError as error:
            problem = error
    raise InputError(f"{path} is no JSON: {problem}; download it again") from problem


@contextmanager
def expected_form(path: Path, form: str) -> Iterator[None]:
    """Turn errors of taking a file's content apart into an `InputError` that names the file and its `form`."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not of the form of {form}: {error!r}") from error


@contextmanager
def read_form(path: Path, form: str, *, fallback: str = "utf-8") -> Iterator[Any]:
    """`read_json`, whose content is taken apart in `expected_form`."""
    content = read_json(path, fallback=fallback)
    with expected_form(path, form):
        yield content


def by_photo(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Annotations of COCO's form by the photo that they belong to, in their order."""
    grouped: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[int(row["image_id"])].append(row)
    return grouped


class _PlainUnpickler(pickle.Unpickler):
    """Dictionaries, lists, tuples, sets, texts, numbers, truth values and None; nothing that has to be looked up."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise InputError(
            f"the pickle asks for {module_name}.{global_name}, expected plain values only; "
            "it is not a file of the data set, do not trust it"
        )


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle of plain values, such as the `refs(unc).p` of RefCOCO.

    Raises:
        InputError: it is missing, damaged, or wants a class or function.
    """
    content = io.BytesIO(read_bytes(path))
    try:
        return _PlainUnpickler(content, encoding="latin1").load()  # some were written by Python 2
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise InputError(f"{path} is no whole pickle: {error!r}; download it again") from error


def read_photo(path: Path, size: Size | None = None) -> RGB:
    """The pixels of a picture as they are stored: what annotations refer to, so no EXIF turn is applied.

    Args:
        size: (height, width) that the annotations name, or None.
    Returns:
        (H, W, 3) uint8.
    Raises:
        ImageUnreadable: missing, damaged, or of another size.
    """
    pixels = np.array(_read_picture(path).convert("RGB"))
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
    picture = _read_picture(path)
    if picture.mode not in ("P", "L"):
        raise ImageUnreadable(f"mask {path} is of mode {picture.mode}, expected an indexed PNG as VOC has it")
    return np.array(picture)


def _read_picture(path: Path) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
            return picture
    except FileNotFoundError as error:
        raise ImageUnreadable(f"no photo {path}; see docs/reproduce.md for the files wanted") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageUnreadable(f"photo {path} does not decode: {error}; download it again") from error


def read_ids(path: Path) -> Ids:
    """The segment ids of a panoptic PNG, (H, W) int64: R + 256 G + 256² B."""
    ids: Ids = read_photo(path).astype(np.int64) @ np.array([1, 256, 65536])
    return ids


def write_ids(path: Path, ids: Ids) -> None:
    """Write segment ids (H, W) as a panoptic PNG that carries the mark of this program; see `read_ids`."""
    from PIL import Image

    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours).save(path, "PNG", **png_options("panoptic"))


def rasterise(segmentation: Any, size: Size) -> BoolMask:
    """A COCO segmentation as a mask (H, W): polygons (their union), or run lengths in either form.

    Raises:
        InputError: of another form.
    """
    from pycocotools import mask as coco

    try:
        if isinstance(segmentation, list):
            segmentation = [polygon for polygon in segmentation if len(polygon) >= 6]  # x, y of three corners at least
            if not segmentation:
                return np.zeros(size, bool)
            segmentation = coco.merge(coco.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            segmentation = coco.frPyObjects(segmentation, *size)
        mask: BoolMask = coco.decode(segmentation).astype(bool)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"a segmentation cannot be used: {error!r}, expected polygons or run lengths of COCO"
        ) from error
    if mask.shape != size:
        raise InputError(f"a segmentation has size {mask.shape}, expected {size} as its photo")
    return mask
