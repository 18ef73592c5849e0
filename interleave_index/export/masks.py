"""Masks as pictures: one lossless one-channel PNG for each hit and entity, and photos painted with them.

Knows records and pixels. Where the pixels of a photo come from is the caller's business.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..geometry import resize_mask, resize_rle
from ..records import RGB, Answer, BoolMask, EntityHit, Hit, Photo, Region, Rle
from .colours import colour_of
from .files import safe_name
from .outputs import check_output, made_folder, save_picture

LoadPixels = Callable[[Photo], RGB]
TINT = 0.45  # share of the entity's colour over the photo inside a mask


def at_photo_size(rle: Rle, photo: Photo) -> Rle:
    """The mask at the size of the upright photo; stored masks have a long side of at most 512.

    Returns:
        `rle` itself when it already has that size, else one enlarged by nearest neighbour.
    """
    return resize_rle(rle, (photo.height, photo.width))


def entity_mask(entity: EntityHit, photo: Photo) -> BoolMask:
    """(H, W) bool union of the entity's regions in pixels of the upright photo; empty when it has none."""
    mask = np.zeros((photo.height, photo.width), bool)
    for region in entity.regions:
        mask |= at_photo_size(region.rle, photo).decode()
    return mask


def mask_name(hit: Hit, number: int) -> str:
    """File name of the mask of one entity: rank, photo id, photo name, entity number (1 is the first), phrase.

    Made of lower-case ASCII letters, digits, dashes and dots, under 110 characters, unique within an answer.
    """
    entity = hit.entities[number]
    sign = "not-" if entity.negative else ""
    return f"{_stem(hit)}-e{number + 1}-{sign}{safe_name(entity.text)}.png"


def write_masks(
    answer: Answer,
    folder: Path | str,
    *,
    load_pixels: LoadPixels | None = None,
    absent: bool = False,
    overwrite: bool = False,
) -> list[Path]:
    """Write the masks of an answer: 8-bit greyscale PNGs at photo size, 255 inside and 0 outside.

    Args:
        answer: hits with their entities; an entity without a region gets no file.
        folder: made if missing, in a folder that is there.
        load_pixels: gives the upright photo; when given, each hit with a mask also gets a JPEG in
            which the masks are painted, one colour an entity, dotted where it is doubtful.
        absent: also write masks of entities that are not judged to be there: the best place for what is not.
        overwrite: whether masks of the same name may be written over.
    Returns:
        The files written, in the order of the hits.
    Raises:
        InputError: a file must not be written, see `export.outputs`; then none is.
        InterleaveError, OSError: from `load_pixels`, or the folder cannot be written.
    """
    folder = made_folder(folder)
    wanted = [(hit, _written_entities(hit, absent)) for hit in answer]
    for hit, numbers in wanted:
        names = [mask_name(hit, number) for number in numbers]
        if load_pixels is not None and numbers:
            names.append(_painted_name(hit))
        for name in names:
            check_output(folder / name, overwrite=overwrite)
    written: list[Path] = []
    for hit, numbers in wanted:
        masks = {number: entity_mask(hit.entities[number], hit.photo) for number in numbers}
        for number, mask in masks.items():
            written.append(_save_mask(mask, folder / mask_name(hit, number), overwrite=True))
        if load_pixels is not None and masks:
            doubtful = {number for number in masks if not hit.entities[number].grounding.present}
            painted = paint(load_pixels(hit.photo), masks, doubtful)
            written.append(save_picture(painted, folder / _painted_name(hit), "painted photo", overwrite=True))
    return written


def write_library_masks(
    rows: Iterable[tuple[Photo, Sequence[Region]]], folder: Path | str, *, overwrite: bool = False
) -> Iterator[Path]:
    """Write every stored region as a mask PNG, one folder a thousand photo ids; yields each file once written.

    Args:
        rows: photos with their stored regions; taken one at a time, so that memory stays flat.
        folder: made if missing, in a folder that is there.
        overwrite: whether masks of the same name may be written over.
    Raises:
        InputError: a file must not be written, see `export.outputs`; those before it are.
    """
    folder = made_folder(folder)
    for photo, regions in rows:
        for ordinal, region in enumerate(regions):
            thousand = made_folder(folder / f"{photo.id // 1000:06d}")
            file = thousand / f"{photo.id:09d}-{ordinal:03d}.png"
            yield _save_mask(at_photo_size(region.rle, photo).decode(), file, overwrite=overwrite)


def paint(photo: RGB, masks: dict[int, BoolMask], doubtful: Collection[int] = ()) -> RGB:
    """A copy of the photo with masks tinted and outlined in the colours of their entities.

    Args:
        photo: (H, W, 3) uint8; not changed.
        masks: entity position -> mask; resized to the photo where the size differs.
        doubtful: entities whose masks get a broken line and no tint.
    """
    painted = photo.astype(np.float32)
    wide = 1 + max(photo.shape[:2]) // 500
    for entity, mask in masks.items():
        inside = mask if mask.shape == photo.shape[:2] else resize_mask(mask, (photo.shape[0], photo.shape[1]))
        colour = np.array(colour_of(entity), np.float32)
        line = edge(inside, wide)
        if entity in doubtful:
            line = edge(inside, wide + 1) & _dashes(inside, wide)
        else:
            painted[inside] = painted[inside] * (1 - TINT) + colour * TINT
        painted[line] = colour
    return painted.round().astype(np.uint8)


def _dashes(mask: BoolMask, width: int) -> BoolMask:
    """Where a broken line along the border shows: every other step of x or y, whichever the border follows more."""
    from scipy import ndimage

    if min(mask.shape) < 2:  # no slope to follow: a whole line
        return np.ones_like(mask)
    down, across = np.gradient(ndimage.gaussian_filter(mask.astype(np.float32), 2.0 * width))
    rows, columns = np.indices(mask.shape)
    dashes: BoolMask = np.where(np.abs(across) > np.abs(down), rows, columns) // (4 * width) % 2 == 0
    return dashes


def edge(mask: BoolMask, width: int) -> BoolMask:
    """Pixels of the mask within `width` steps of its border (the frame of the photo is not a border)."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1, mode="edge")
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _written_entities(hit: Hit, absent: bool) -> list[int]:
    """Positions of the entities of a hit that get a mask."""
    return [n for n, entity in enumerate(hit.entities) if entity.regions and (absent or entity.grounding.present)]


def _stem(hit: Hit) -> str:
    name = Path(hit.photo.path).stem if hit.photo.path else "photo"
    return f"{hit.rank:03d}-{hit.photo.id}-{safe_name(name)}"


def _painted_name(hit: Hit) -> str:
    return f"{_stem(hit)}-painted.jpg"


def _save_mask(mask: BoolMask, path: Path, *, overwrite: bool) -> Path:
    return save_picture(mask.astype(np.uint8) * 255, path, "mask", overwrite=overwrite)
