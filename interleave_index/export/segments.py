"""Segments of photos as panopticapi and COCO have them: an id map in colours, JSON of both forms, a painted photo.

Knows formats and pixels. Which photos are segmented, and where their files go, is the work of `segment_files`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..geometry import encode_rle
from ..records import RGB, BoolMask, Panoptic
from ..segmentation.classes import Colour, SegmentClass
from .files import to_json_text
from .masks import TINT, edge
from .outputs import save_picture, whole_file

SPREAD = 40  # by how much each channel of a thing's colour may differ from that of its class
LABEL_SHARE, SMALLEST_LABEL = 0.028, 11  # height of a name: share of the photo's shorter side, and pixels at least
LEAST_RADIUS = 0.9  # share of a segment's largest disc, in heights of a name, from which on the name is written
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
Annotations: TypeAlias = Callable[["Row", int], Iterator["Row"]]  # of the photo with this number
Row: TypeAlias = dict[str, Any]  # one photo with its segments, plain JSON values


def colours_of(panoptic: Panoptic, classes: Sequence[SegmentClass]) -> list[Colour]:
    """One colour a segment, all different and none black: that of its class, and near it for further things.

    Source: panopticapi's `IdGenerator`, by chance there; here the same photo always gets the same colours.
    """
    taken: set[Colour] = {(0, 0, 0)}
    colours: list[Colour] = []
    for segment in panoptic.segments:
        colour, draws = classes[segment.category].colour, np.random.default_rng(segment.category)
        while colour in taken:
            moved = np.array(classes[segment.category].colour) + draws.integers(-SPREAD, SPREAD + 1, 3)
            red, green, blue = (int(value) for value in moved.clip(0, 255))
            colour = (red, green, blue)
        taken.add(colour)
        colours.append(colour)
    return colours


def id_of(colour: Colour) -> int:
    """The id that a colour of a panoptic PNG means.

    >>> id_of((1, 2, 0))
    513
    """
    return colour[0] + 256 * colour[1] + 256**2 * colour[2]


def id_map(panoptic: Panoptic, colours: Sequence[Colour]) -> NDArray[np.uint8]:
    """(H, W, 3): the colour of each pixel's segment, black where there is none."""
    table = np.zeros((1 + max((segment.id for segment in panoptic.segments), default=0), 3), np.uint8)
    for segment, colour in zip(panoptic.segments, colours, strict=True):
        table[segment.id] = colour
    mapped: NDArray[np.uint8] = table[panoptic.ids]
    return mapped


def segment_rows(panoptic: Panoptic, colours: Sequence[Colour], classes: Sequence[SegmentClass]) -> list[Row]:
    """The segments of one photo: id, category_id, area, bbox (x, y, width, height), score, segmentation (RLE)."""
    from pycocotools import mask as coco

    rows = []
    for segment, colour in zip(panoptic.segments, colours, strict=True):
        rle = encode_rle(panoptic.ids == segment.id)
        coded = {"size": list(rle.size), "counts": rle.counts.encode("ascii")}
        rows.append(
            {
                "id": id_of(colour),
                "category_id": classes[segment.category].id,
                "area": int(coco.area(coded)),
                "bbox": [int(value) for value in coco.toBbox(coded)],
                "score": round(segment.score, 4),
                "segmentation": rle.to_json(),
            }
        )
    return rows


def painted(photo: RGB, panoptic: Panoptic, colours: Sequence[Colour], classes: Sequence[SegmentClass]) -> RGB:
    """The photo with every segment tinted, outlined, and named where the name fits."""
    canvas = photo.astype(np.float32)
    there = panoptic.ids > 0
    canvas[there] = canvas[there] * (1 - TINT) + id_map(panoptic, colours)[there] * TINT
    wide = 1 + max(photo.shape[:2]) // 700
    for segment, colour in zip(panoptic.segments, colours, strict=True):
        canvas[edge(panoptic.ids == segment.id, wide)] = colour
    return _with_names(canvas.round().astype(np.uint8), panoptic, classes)


def _with_names(pixels: RGB, panoptic: Panoptic, classes: Sequence[SegmentClass]) -> RGB:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(pixels)
    drawing = ImageDraw.Draw(picture)
    high = max(SMALLEST_LABEL, round(LABEL_SHARE * min(pixels.shape[:2])))
    font = ImageFont.load_default(high)
    for segment in panoptic.segments:
        (x, y), radius = _middle(panoptic.ids == segment.id)
        if radius >= LEAST_RADIUS * high:
            name = classes[segment.category].words
            line = max(1, high // 9)
            drawing.text((x, y), name, WHITE, font, "mm", stroke_width=line, stroke_fill=BLACK)
    return np.asarray(picture)


def _middle(mask: BoolMask) -> tuple[tuple[float, float], float]:
    """(x, y) of the centre of the largest disc in a mask, about, and its radius."""
    from scipy import ndimage

    step = 1 + max(mask.shape) // 400  # the exact middle of a large photo would take long
    depth = ndimage.distance_transform_edt(np.pad(mask[::step, ::step], 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(column * step), float(row * step)), float(depth.max()) * step


def write_pictures(
    photo: RGB,
    panoptic: Panoptic,
    classes: Sequence[SegmentClass],
    maps: Path,
    overlays: Path,
    *,
    overwrite: bool,
) -> list[Row]:
    """Write the id map (PNG) and the painted photo (JPEG) of one photo; gives its segments as `segment_rows`.

    Raises:
        InputError: a file must not be written, see `export.outputs`.
        OSError: it cannot be written.
    """
    colours = colours_of(panoptic, classes)
    save_picture(painted(photo, panoptic, colours, classes), overlays, "segments", overwrite=overwrite)
    save_picture(id_map(panoptic, colours), maps, "panoptic", overwrite=overwrite)
    return segment_rows(panoptic, colours, classes)


def write_panoptic_json(rows: Iterable[Row], classes: Sequence[SegmentClass], file: Path, *, overwrite: bool) -> None:
    """Write the JSON that panopticapi reads: an annotation a photo, with its segments."""

    def annotations(row: Row, number: int) -> Iterator[Row]:
        wanted = ("id", "category_id", "area", "bbox", "score")
        segments = [{name: segment[name] for name in wanted} | {"iscrowd": 0} for segment in row["segments"]]
        yield {"image_id": number, "file_name": row["panoptic"], "segments_info": segments}

    _write(rows, classes, file, annotations, overwrite=overwrite)


def write_coco_json(rows: Iterable[Row], classes: Sequence[SegmentClass], file: Path, *, overwrite: bool) -> None:
    """Write the JSON of COCO's instances: an annotation a segment, things and stuff, with its mask as run lengths."""
    count = 0

    def annotations(row: Row, number: int) -> Iterator[Row]:
        nonlocal count
        for segment in row["segments"]:
            count += 1
            yield segment | {"id": count, "image_id": number, "iscrowd": 0}

    _write(rows, classes, file, annotations, overwrite=overwrite)


def _write(
    rows: Iterable[Row], classes: Sequence[SegmentClass], file: Path, annotations: Annotations, *, overwrite: bool
) -> None:
    """One file of COCO's outline; rows are taken one at a time, so that memory does not grow with their number."""
    info = {"description": "Segments by interleave-index"}
    categories = [
        {"id": one.id, "name": one.name, "supercategory": "", "isthing": int(one.thing), "color": list(one.colour)}
        for one in classes
    ]
    with (
        whole_file(file, overwrite=overwrite) as out,
        tempfile.TemporaryFile("w+", encoding="ascii", newline="\n") as later,
    ):
        out.write(f'{{"info": {to_json_text(info)}, "licenses": [], "categories": {to_json_text(categories)},\n')
        out.write('"images": [')
        first = True
        for number, row in enumerate(rows, 1):
            size = {"width": row["width"], "height": row["height"]}
            out.write((",\n" if number > 1 else "\n") + to_json_text({"id": number, "file_name": row["path"], **size}))
            for annotation in annotations(row, number):
                later.write(("\n" if first else ",\n") + to_json_text(annotation))
                first = False
        out.write('\n],\n"annotations": [')
        later.seek(0)
        shutil.copyfileobj(later, out)
        out.write("\n]}\n")
