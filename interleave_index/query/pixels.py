"""Pixels of the pictures that a query names: parts of pictures as masks, and indexed photos through a cache.

Knows the store and a loader of pictures that it is given; of files it looks only at the masks that these cannot keep.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..errors import BackendMissing, InputError, RemoteError, ShapeError
from ..geometry import box_mask, point_mask, resize_mask
from ..paths import is_url
from ..records import RGB, BoolMask, Photo, Picture, Prompt
from ..regular import open_regular, sha256_of
from ..remote import facts_of

if TYPE_CHECKING:
    from ..storage.store import Store

LoadPicture: TypeAlias = Callable[[str | Path | RGB], RGB]

CACHE_BYTES = 256 * 2**20
CACHE_PHOTOS = 256  # small ones by the thousand would take the whole of it, though nobody asks for them again
POINT_RADIUS = 0.01  # of the longer side: a point marks what a fingertip would
SMALLEST_RADIUS = 1.5  # pixels
ORIENTATION = 0x0112  # EXIF
ROUNDING = 1.0  # pixels that a box may reach out of its picture: tools round differently
ASPECT_TOLERANCE = 0.02  # of a mask whose size is not that of its picture


class PixelCache:
    """The photos last used by queries, decoded; keyed by content, bounded by bytes and number. Safe between threads."""

    def __init__(self, limit: int = CACHE_BYTES, most: int = CACHE_PHOTOS) -> None:
        self._limit, self._most, self._held = limit, most, 0
        self._photos: OrderedDict[str, RGB] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> RGB | None:
        """The photo of that sha256, or None."""
        with self._lock:
            if key in self._photos:
                self._photos.move_to_end(key)
            return self._photos.get(key)

    def put(self, key: str, photo: RGB) -> None:
        """Keep a photo; those unused for longest fall out. One larger than the whole cache is not kept."""
        with self._lock:
            if key in self._photos or photo.nbytes > self._limit:
                return
            self._photos[key] = photo
            self._held += photo.nbytes
            while self._held > self._limit or len(self._photos) > self._most:
                self._held -= self._photos.popitem(last=False)[1].nbytes


def indexed_pixels(store: Store, photo: Photo, load_picture: LoadPicture, cache: PixelCache) -> RGB | None:
    """Upright pixels of an indexed photo: the original while its content is the same, else its thumbnail, else None."""
    cached = cache.get(photo.sha256)
    if cached is not None:
        return cached
    pixels = _original(store, photo, load_picture)
    if pixels is None:
        thumbnail = store.thumbnail_path(photo.sha256)
        try:
            return load_picture(thumbnail) if thumbnail.is_file() else None
        except (InputError, OSError):
            return None
    cache.put(photo.sha256, pixels)
    return pixels


def _original(store: Store, photo: Photo, load_picture: LoadPicture) -> RGB | None:
    """Its pixels, while the file is the one that was ingested: if it was edited since, they are another photo's."""
    if photo.path is None:
        return None
    try:
        if is_url(photo.path):
            pixels, now = load_picture(photo.path), facts_of(photo.path)
            known = store.known_locations([photo.path]).get(photo.path)
            is_same = known is not None and (known.bytes, known.mtime_ns) == (now.bytes, now.mtime_ns)
            return pixels if is_same else None
        return load_picture(photo.path) if sha256_of(photo.path) == photo.sha256 else None
    except (InputError, OSError, RemoteError, BackendMissing):
        return None


def marked(picture: Picture, photo: RGB, load_picture: LoadPicture) -> tuple[BoolMask | None, BoolMask | None]:
    """Which pixels of its picture a part means.

    Args:
        picture: the part.
        photo: (H, W, 3) its upright pixels.
        load_picture: for a mask that is given as a file.
    Returns:
        (H, W) bool of the part, None for the whole picture; and (H, W) bool of background points or None.
    Raises:
        InputError: a box or point outside the picture, or a mask that marks nothing.
        ShapeError: a mask of another size or dtype.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    name = "array" if isinstance(picture.source, np.ndarray) else str(picture.source)
    if picture.box is not None:
        x0, y0, x1, y1 = picture.box
        if min(x0, y0) < -ROUNDING or x1 > size[1] + ROUNDING or y1 > size[0] + ROUNDING:
            raise InputError(
                f"box {picture.box} reaches out of picture {name}, expected x within 0 to {size[1]} and "
                f"y within 0 to {size[0]} pixels of the upright picture"
            )
        return _something(box_mask(picture.box, size), f"box {picture.box}", name), None
    if picture.points:
        radius = max(SMALLEST_RADIUS, POINT_RADIUS * max(size))
        for x, y in (*picture.points, *picture.background):
            if not (x < size[1] and y < size[0]):
                raise InputError(
                    f"point ({x}, {y}) is outside picture {name}, expected x under {size[1]} and "
                    f"y under {size[0]} pixels of the upright picture"
                )
        behind = point_mask(picture.background, size, radius) if picture.background else None
        return point_mask(picture.points, size, radius), behind
    if picture.mask is None:
        return None, None
    return _something(_mask_of(picture.mask, size, name, load_picture), "mask", name), None


def prompt_of(picture: Picture, mask: BoolMask) -> Prompt:
    """How a part is marked, as a promptable segmenter takes it: its points, its box, or points along a stroke.

    Args:
        picture: the part.
        mask: (H, W) of the marked pixels, as `marked` gives it.
    """
    if picture.box is not None:
        return Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), picture.box)
    if picture.points:
        points = np.array([*picture.points, *picture.background], np.float32)
        labels = np.repeat(np.array([1, 0], np.int8), [len(picture.points), len(picture.background)])
        return Prompt(points, labels)
    from ..grounding.marks import prompt_of_marks  # brings SciPy in

    return prompt_of_marks(mask)


def _mask_of(given: str | Path | BoolMask, size: tuple[int, int], name: str, load_picture: LoadPicture) -> BoolMask:
    if isinstance(given, np.ndarray):
        if given.shape != size or given.dtype != np.bool_:
            raise ShapeError(
                f"mask of picture {name} has shape {given.shape} and dtype {given.dtype}, expected {size} bool"
            )
        return given
    shown = load_picture(given)
    exact = _exact_mask(given, (int(shown.shape[0]), int(shown.shape[1])))
    mask: BoolMask = np.asarray((shown > 0).any(axis=2)) if exact is None else exact
    if mask.shape != size:
        if abs(mask.shape[1] / mask.shape[0] / (size[1] / size[0]) - 1) > ASPECT_TOLERANCE:
            raise ShapeError(f"mask {given} has size {mask.shape}, expected {size} as picture {name}, or that aspect")
        return resize_mask(mask, size)
    return mask


def _exact_mask(given: str | Path, size: tuple[int, int]) -> BoolMask | None:
    """What a mask file marks by alpha or by deep levels, which its picture in plain colours does not keep.

    Pixels that are transparent are not marked, whatever their colour. Of the others, those that are not black are,
    or all of them when all are black, as in a drawing on a transparent ground.

    Args:
        given: a file that `load_picture` has read.
        size: (height, width) of its picture.
    Returns:
        (H, W) bool, or None for a file of plain colours, one that is turned, and one that comes from a URL.
    """
    from PIL import Image

    try:
        with open_regular(given) as file, Image.open(file) as image:
            if image.size != (size[1], size[0]) or image.getexif().get(ORIENTATION, 1) != 1:
                return None
            if image.mode.startswith(("I", "F")):
                return np.asarray(np.asarray(image) > 0)
            if not ("A" in image.mode or "transparency" in image.info):
                return None
            layers = np.asarray(image.convert("RGBA"))
    except (OSError, ValueError, SyntaxError, RemoteError):
        return None
    visible: BoolMask = layers[..., 3] > 0
    if visible.all():
        return None
    lit: BoolMask = visible & (layers[..., :3] > 0).any(axis=2)
    return lit if lit.any() else visible


def _something(mask: BoolMask, what: str, name: str) -> BoolMask:
    if not mask.any():
        raise InputError(f"{what} marks no pixel of picture {name}, expected at least one")
    return mask
