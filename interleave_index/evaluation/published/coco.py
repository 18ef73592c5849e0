"""COCO as its own files have it: panoptic maps with their segments, instances, captions.

`annotations/panoptic_val2017.json`, the folder of its PNG files beside it or beside `annotations/`, and the photos
in `val2017/`. Files are opened when they are asked for, photo by photo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...metrics import IGNORED, Segment
from ...records import RGB, BoolMask, Size
from .files import Ids, Row, by_photo, read_form, read_ids, read_photo

FOR_PRECISION = ("id", "image_id", "category_id", "segmentation", "area", "iscrowd")  # of annotations, to measure AP


@dataclass(frozen=True, slots=True)
class Category:
    """One class of COCO; things can be counted, stuff cannot."""

    id: int
    name: str
    thing: bool


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """One photo of an annotation file.

    Attributes:
        size: (height, width).
    """

    id: int
    file: Path
    size: Size

    @classmethod
    def from_json(cls, image: Row, folder: Path) -> PhotoInfo:
        """From an entry of `images`; its file lies in `folder`."""
        return cls(int(image["id"]), folder / image["file_name"], (int(image["height"]), int(image["width"])))

    def rgb(self) -> RGB:
        """Its pixels, (H, W, 3) uint8."""
        return read_photo(self.file, self.size)


@dataclass(frozen=True, slots=True)
class PanopticSet:
    """A panoptic annotation file with its maps.

    Attributes:
        photos: by id, in the order of the file.
        categories: in the order of the file.
        segments: by photo id, groups included.
        maps: PNG file by photo id.
        annotation: the annotation file itself.
    """

    photos: dict[int, PhotoInfo]
    categories: tuple[Category, ...]
    segments: dict[int, tuple[Segment, ...]]
    maps: dict[int, Path]
    annotation: Path

    def ids(self, photo: int) -> Ids:
        """(H, W) segment ids of a photo, 0 where nothing was annotated.

        Raises:
            InputError: the map is of another size than the photo.
        """
        ids, size = read_ids(self.maps[photo]), self.photos[photo].size
        if ids.shape != size:
            raise InputError(f"map {self.maps[photo]} has size {ids.shape}, expected {size}")
        return ids

    def mask(self, photo: int, segment: int, ids: Ids | None = None) -> BoolMask:
        """(H, W) mask of one segment; empty where there is no such segment or it is a group drawn as one."""
        if ids is None:
            ids = self.ids(photo)
        single = any(s.id == segment and not s.crowd for s in self.segments[photo])
        mask: BoolMask = (ids == segment) & single
        return mask

    def classes(self, photo: int) -> Ids:
        """(H, W) position of the class in `categories`, 255 where there is none; groups count."""
        ids = self.ids(photo)
        position = {category.id: number for number, category in enumerate(self.categories)}
        classes = np.full(ids.shape, IGNORED, np.int64)
        for segment in self.segments[photo]:
            classes[ids == segment.id] = position[segment.category]
        return classes


def read_panoptic(root: Path, split: str = "val2017") -> PanopticSet:
    """Read `annotations/panoptic_SPLIT.json` below a COCO folder.

    Raises:
        InputError: a file is missing or of another form.
    """
    path = root / "annotations" / f"panoptic_{split}.json"
    with read_form(path, "COCO panoptic") as content:
        folders = [parent / f"panoptic_{split}" for parent in (root, root / "annotations")]
        folder = next(filter(Path.is_dir, folders), None)
        if folder is None:
            raise InputError(
                f"no folder {folders[0]} with the PNG files of {path.name}; unpack panoptic_{split}.zip there"
            )
        listed = {int(image["id"]): PhotoInfo.from_json(image, root / split) for image in content["images"]}
        categories = tuple(
            Category(int(row["id"]), str(row["name"]), bool(row.get("isthing", 1))) for row in content["categories"]
        )
        photos, segments, maps = {}, {}, {}
        for annotation in content["annotations"]:
            photo = int(annotation["image_id"])
            photos[photo], maps[photo] = listed[photo], folder / annotation["file_name"]
            segments[photo] = tuple(
                Segment(int(row["id"]), int(row["category_id"]), bool(row.get("iscrowd", 0)))
                for row in annotation["segments_info"]
            )
        unknown = {one.category for row in segments.values() for one in row} - {category.id for category in categories}
        if unknown:
            raise InputError(f"{path} names classes {sorted(unknown)[:5]} that it does not list; download it again")
    return PanopticSet(photos, categories, segments, maps, path)


def read_captions(root: Path, split: str = "val2017") -> dict[int, tuple[str, ...]]:
    """Captions by photo id, from `annotations/captions_SPLIT.json` below a COCO folder.

    Raises:
        InputError: it is missing or of another form.
    """
    with read_form(root / "annotations" / f"captions_{split}.json", "COCO captions") as content:
        of_photos = by_photo(content["annotations"]).items()
        return {photo: tuple(str(row["caption"]).strip() for row in rows) for photo, rows in of_photos}


def read_instances(path: Path, wanted: Sequence[str] = ()) -> Row:
    """An instances file as pycocotools takes it, with its `images`, `annotations` and `categories`.

    Args:
        wanted: what each annotation must have; `FOR_PRECISION` for pycocotools.
    Raises:
        InputError: it is missing, or lacks one of the first two or what is wanted.
    """
    with read_form(path, "COCO instances") as content:
        for annotation in content["annotations"]:
            for key in wanted:
                annotation[key]
        return {"images": content["images"], "annotations": content["annotations"], **content}
