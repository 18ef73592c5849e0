"""RefCOCO, RefCOCO+, RefCOCOg and their false-premise versions, in the forms that they are handed out in.

`refs(SPLITBY).p` is a pickle of plain values (read without looking anything up) or the same list as JSON, beside an
`instances.json` of COCO train2014. A single JSON file with `images` and `annotations`, each annotation with its
`sentences`, is read too (the form of FIND's `refcocog_umd_val.json`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...records import RGB, BoolMask
from .coco import read_instances
from .files import rasterise, read_json, read_photo, read_plain_pickle


@dataclass(frozen=True, slots=True)
class Expression:
    """One sentence about one thing.

    Attributes:
        text: as the annotator wrote it.
        exists: whether the thing is in the photo; a false premise names what is not there.
        reference: number of the thing's reference in its file.
    """

    text: str
    exists: bool
    reference: int


@dataclass(frozen=True, slots=True)
class ReferredPhoto:
    """One photo with its expressions and the segmentation that each stands for (none for a false premise)."""

    id: int
    file: Path
    size: tuple[int, int]
    expressions: tuple[Expression, ...]
    segmentations: tuple[tuple[Any, ...], ...]

    def rgb(self) -> RGB:
        """Its pixels, (H, W, 3) uint8."""
        return read_photo(self.file, self.size)

    def masks(self) -> list[BoolMask]:
        """One (H, W) mask an expression; empty where it has no thing."""
        found = []
        for pieces in self.segmentations:
            mask = np.zeros(self.size, bool)
            for piece in pieces:
                mask |= rasterise(piece, self.size)
            found.append(mask)
        return found


def read_refer(
    refs: Path, instances: Path | None, photos: Path, split: str, *, sentences: str = "all", lower: bool = False
) -> list[ReferredPhoto]:
    """Read the expressions of one split, photo by photo in the order of the file.

    Args:
        refs: `refs(unc).p`, the same as JSON, or one JSON file with everything (then `instances` is None).
        instances: `instances.json` of COCO train2014.
        photos: folder of the COCO photos.
        split: such as ``val``, ``testA``; not looked at in a file that holds one split alone.
        sentences: ``all`` of each reference (READ), or the ``first`` (FIND).
        lower: as they were typed, in lower case (FIND), else as REFER cleaned them.
    Raises:
        InputError: a file is missing or of another form, or the split is empty.
    """
    if instances is None:
        rows, images, annotations = _single(read_json(refs), refs)
    else:
        rows = [row for row in _rows(refs) if _field(row, "split", refs) == split]
        content = read_instances(instances)
        images = {int(one["id"]): one for one in content["images"]}
        annotations = {int(one["id"]): one for one in content["annotations"]}
    if not rows:
        raise InputError(
            f"{refs} has no reference of split {split!r}; RefCOCO and RefCOCO+ have val, testA, testB, "
            "RefCOCOg has val, test"
        )
    grouped: dict[int, list[tuple[Expression, tuple[Any, ...]]]] = {}
    for number, row in enumerate(rows):
        kept = _sentences(row, sentences, refs)
        photo = int(_field(row, "image_id", refs))
        pieces = tuple(_segmentation(n, annotations, refs) for n in _annotation_ids(row, refs))
        for sentence in kept:
            text, exists = _text(sentence, refs, raw=lower)
            exists = exists and bool(row.get("exist", True)) and bool(pieces)
            reference = int(row.get("ref_id", number))
            found = Expression(text.lower() if lower else text, exists, reference)
            grouped.setdefault(photo, []).append((found, pieces if exists else ()))
    return [_photo(photo, found, images, photos, refs) for photo, found in grouped.items()]


def _rows(path: Path) -> list[dict[str, Any]]:
    content = read_json(path) if path.suffix == ".json" else read_plain_pickle(path)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise InputError(f"{path} holds a {type(content).__name__}, expected a list of references")
    return content


def _single(content: Any, path: Path) -> tuple[list[dict[str, Any]], dict[int, Any], dict[int, Any]]:
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise InputError(
            f"{path} is not of the form expected: one file with `images` and `annotations`; with "
            "refs(SPLITBY).p give the instances too"
        )
    rows = list(content["annotations"])
    return (
        rows,
        {int(one["id"]): one for one in content["images"]},
        {int(_field(one, "ann_id", path)): one for one in rows},
    )


def _field(row: dict[str, Any], name: str, path: Path) -> Any:
    try:
        return row[name]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: a reference has no {name!r}, expected the fields of REFER") from error


def _sentences(row: dict[str, Any], which: str, path: Path) -> Sequence[dict[str, Any]]:
    found: Sequence[dict[str, Any]] = _field(row, "sentences", path)
    return found[:1] if which == "first" else found


def _annotation_ids(row: dict[str, Any], path: Path) -> Iterable[int]:
    found = _field(row, "ann_id", path)
    return [int(n) for n in (found if isinstance(found, list) else [found]) if int(n) >= 0]


def _segmentation(number: int, annotations: dict[int, Any], path: Path) -> Any:
    if number not in annotations:
        raise InputError(f"{path} refers to annotation {number}, which its instances lack; both must be of one release")
    return annotations[number]["segmentation"]


def _text(sentence: dict[str, Any], path: Path, *, raw: bool) -> tuple[str, bool]:
    """What is asked, and whether it is there; FIND asks the sentence as it was typed, READ without its signs."""
    names = ("raw", "sent") if raw else ("sent", "raw")
    text = sentence.get(names[0], sentence.get(names[1]))
    if not isinstance(text, str):
        raise InputError(f"{path}: a sentence has neither 'sent' nor 'raw'")
    return text.strip(), not sentence.get("is_false_premise", False)


def _photo(
    photo: int, found: list[tuple[Expression, tuple[Any, ...]]], images: dict[int, Any], folder: Path, path: Path
) -> ReferredPhoto:
    if photo not in images:
        raise InputError(f"{path} refers to photo {photo}, which its instances lack; both must be of one release")
    image = images[photo]
    expressions, pieces = zip(*found, strict=True)
    return ReferredPhoto(
        photo,
        folder / image["file_name"],
        (int(image["height"]), int(image["width"])),
        tuple(expressions),
        tuple(pieces),
    )
