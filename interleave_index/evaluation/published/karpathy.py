"""Karpathy's split of COCO captions: `dataset_coco.json` over train2014 and val2014."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from .files import read_form


@dataclass(frozen=True, slots=True)
class CaptionedPhoto:
    """One photo and its captions."""

    id: int
    file: Path
    captions: tuple[str, ...]


def read_karpathy(path: Path, folder: Path, split: str = "test") -> list[CaptionedPhoto]:
    """Read one split in the order of the file.

    Args:
        path: `dataset_coco.json`.
        folder: holds `val2014/` and `train2014/`, or all photos itself.
        split: ``test`` (the 5,000 photos that retrieval is measured on), ``val``, ``train``, ``restval``.
    Raises:
        InputError: the file is missing or of another form, or the split is empty.
    """
    photos = []
    with read_form(path, "dataset_coco.json") as content:
        for image in content["images"]:
            if image["split"] == split:
                captions = tuple(" ".join(sentence["raw"].split()) for sentence in image["sentences"])
                file = folder / image.get("filepath", "") / image["filename"]
                number = int(image.get("cocoid", image.get("imgid")))
                photos.append(CaptionedPhoto(number, file if file.exists() else folder / image["filename"], captions))
    if not photos:
        raise InputError(f"{path} has no photo of split {split!r}, expected test, val, train or restval")
    return photos
