"""COCO as its own files have it: panoptic maps with their segments, instances, captions.

`annotations/panoptic_val2017.json`, the folder of its PNG files beside it or beside `annotations/`, and the photos
in `val2017/`. Files are opened when they are asked for, photo by photo.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import Segment
from ...records import RGB, BoolMask
from .files import read_ids, read_json, read_photo


@dataclass(frozen=True, slots=True)
class Category:
    """One class of COCO; things can be counted, stuff cannot."""

    id: int
    name: str
    thing: bool


@dataclass(frozen=True, slots=True)
class PhotoInfo:
    """One photo of an annotation file."""

    id: int
    file: Path
    size: tuple[int, int]  # height, width

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
    """

    photos: dict[int, PhotoInfo]
    categories: tuple[Category, ...]
    segments: dict[int, tuple[Segment, ...]]
    maps: dict[int, Path]
    annotation: Path = field(default=Path())

    def ids(self, photo: int) -> NDArray[np.int64]:
        """(H, W) segment ids of a photo, 0 where nothing was annotated.

        Raises:
            InputError: the map is of another size than the photo.
        """
        found = read_ids(self.maps[photo])
        if found.shape != self.photos[photo].size:
            raise InputError(f"map {self.maps[photo]} has size {found.shape}, expected {self.photos[photo].size}")
        return found

    def mask(self, photo: int, segment: int, ids: NDArray[np.int64] | None = None) -> BoolMask:
        """(H, W) mask of one segment; empty where there is no such segment or it is a group drawn as one."""
        there = any(s.id == segment and not s.crowd for s in self.segments[photo])
        found = self.ids(photo) if ids is None else ids
        mask: BoolMask = (found == segment) & there
        return mask

    def classes(self, photo: int, ids: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """(H, W) position of the class in `categories`, 255 where there is none; groups count."""
        found = self.ids(photo) if ids is None else ids
        place = {category.id: number for number, category in enumerate(self.categories)}
        names = np.full(found.shape, 255, np.int64)
        for segment in self.segments[photo]:
            names[found == segment.id] = place[segment.category]
        return names


def read_panoptic(root: Path, split: str = "val2017") -> PanopticSet:
    """Read `annotations/panoptic_SPLIT.json` below a COCO folder.

    Raises:
        InputError: a file is missing or of another form.
    """
    path = root / "annotations" / f"panoptic_{split}.json"
    content = read_json(path)
    folders = [root / f"panoptic_{split}", root / "annotations" / f"panoptic_{split}"]
    folder = next((one for one in folders if one.is_dir()), None)
    if folder is None:
        raise InputError(f"no folder {folders[0]} with the PNG files of {path.name}; unpack panoptic_{split}.zip there")
    try:
        photos = {
            int(one["id"]): PhotoInfo(
                int(one["id"]), root / split / one["file_name"], (int(one["height"]), int(one["width"]))
            )
            for one in content["images"]
        }
        categories = tuple(
            Category(int(one["id"]), str(one["name"]), bool(one.get("isthing", 1))) for one in content["categories"]
        )
        segments = {
            int(one["image_id"]): tuple(
                Segment(int(s["id"]), int(s["category_id"]), bool(s.get("iscrowd", 0))) for s in one["segments_info"]
            )
            for one in content["annotations"]
        }
        maps = {int(one["image_id"]): folder / one["file_name"] for one in content["annotations"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not of the form of COCO panoptic: {error!r}") from error
    known = {category.id for category in categories}
    strange = {s.category for rows in segments.values() for s in rows} - known
    if strange or not maps.keys() <= photos.keys():
        raise InputError(
            f"{path} names classes {sorted(strange)[:5]} or photos that it does not list; download it again"
        )
    return PanopticSet({n: photos[n] for n in maps}, categories, segments, maps, path)


@dataclass(frozen=True, slots=True)
class Captions:
    """Photos and their captions, `texts` by photo id, in the order of the file."""

    photos: dict[int, PhotoInfo]
    texts: dict[int, tuple[str, ...]]


def read_captions(root: Path, split: str = "val2017") -> Captions:
    """Read `annotations/captions_SPLIT.json` below a COCO folder.

    Raises:
        InputError: it is missing or of another form.
    """
    path = root / "annotations" / f"captions_{split}.json"
    content = read_json(path)
    try:
        photos = {
            int(one["id"]): PhotoInfo(
                int(one["id"]), root / split / one["file_name"], (int(one["height"]), int(one["width"]))
            )
            for one in content["images"]
        }
        texts: dict[int, list[str]] = defaultdict(list)
        for one in content["annotations"]:
            texts[int(one["image_id"])].append(str(one["caption"]).strip())
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not of the form of COCO captions: {error!r}") from error
    return Captions(photos, {photo: tuple(texts[photo]) for photo in photos if texts.get(photo)})


def read_instances(path: Path) -> dict[str, Any]:
    """An instances file as pycocotools takes it, with its `images`, `annotations` and `categories`.

    Raises:
        InputError: it is missing or lacks one of them.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise InputError(f"{path} is not of the form of COCO instances: expected `images` and `annotations`")
    return content
