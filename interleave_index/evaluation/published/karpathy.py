"""Karpathy's split of COCO captions: `dataset_coco.json` over train2014 and val2014."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...records import RGB
from .files import read_json, read_photo


@dataclass(frozen=True, slots=True)
class CaptionedPhoto:
    """One photo and its captions."""

    id: int
    file: Path
    captions: tuple[str, ...]

    def rgb(self) -> RGB:
        """Its pixels, (H, W, 3) uint8."""
        return read_photo(self.file)


def read_karpathy(path: Path, photos: Path, split: str = "test") -> list[CaptionedPhoto]:
    """Read one split in the order of the file.

    Args:
        path: `dataset_coco.json`.
        photos: the folder that holds `val2014/` and `train2014/`, or all photos in one folder.
        split: ``test`` (the 5,000 photos that retrieval is measured on), ``val``, ``train``, ``restval``.
    Raises:
        InputError: the file is missing or of another form, or the split is empty.
    """
    content = read_json(path)
    found = []
    try:
        for number, one in enumerate(content["images"]):
            if one["split"] != split:
                continue
            captions = tuple(" ".join(str(sentence["raw"]).split()) for sentence in one["sentences"])
            nested = photos / str(one.get("filepath", "")) / str(one["filename"])
            file = nested if nested.exists() else photos / str(one["filename"])
            found.append(CaptionedPhoto(int(one.get("cocoid", one.get("imgid", number))), file, captions))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not of the form of dataset_coco.json: {error!r}") from error
    if not found:
        raise InputError(f"{path} has no photo of split {split!r}, expected test, val, train or restval")
    return found
