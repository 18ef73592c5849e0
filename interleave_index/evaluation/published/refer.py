"""RefCOCO, RefCOCO+, RefCOCOg and their false-premise versions, in the forms that they are handed out in.

`refs(SPLITBY).p` is a pickle of plain values (read without looking anything up) or the same list as JSON, beside an
`instances.json` of COCO train2014. A single JSON file with `images` and `annotations`, each annotation with its
`sentences`, is read too (the form of FIND's `refcocog_umd_val.json`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...records import BoolMask
from .coco import PhotoInfo, read_instances
from .files import Row, by_photo, expected_form, rasterise, read_json, read_plain_pickle


@dataclass(frozen=True, slots=True)
class Expression:
    """One sentence about one thing.

    Attributes:
        text: as the annotator wrote it.
        reference: number of the thing's reference in its file.
        segmentations: of the thing, as COCO writes them; a false premise, which names what is not there, has none.
        instead: what is there instead of a false premise, where the file says so (`gt_sent` of FP-RefCOCO).
    """

    text: str
    reference: int
    segmentations: tuple[Any, ...]
    instead: str = ""

    @property
    def exists(self) -> bool:
        """Whether the thing is in the photo."""
        return bool(self.segmentations)


@dataclass(frozen=True, slots=True)
class ReferredPhoto(PhotoInfo):
    """One photo with its expressions."""

    expressions: tuple[Expression, ...]

    def masks(self) -> list[BoolMask]:
        """One (H, W) mask an expression; empty where it has no thing."""
        masks = []
        for expression in self.expressions:
            mask = np.zeros(self.size, bool)
            for segmentation in expression.segmentations:
                mask |= rasterise(segmentation, self.size)
            masks.append(mask)
        return masks


def read_refer(
    refs: Path, instances: Path | None, folder: Path, split: str, *, sentences: str = "all", lower: bool = False
) -> list[ReferredPhoto]:
    """Read the expressions of one split, photo by photo in the order of the file.

    Args:
        refs: `refs(unc).p`, the same as JSON, or one JSON file with everything (then `instances` is None).
        instances: `instances.json` of COCO train2014.
        folder: of the COCO photos.
        split: such as ``val``, ``testA``; not looked at in a file that holds one split alone.
        sentences: ``all`` of each reference (READ), or the ``first`` (FIND).
        lower: as they were typed, in lower case (FIND), else as REFER cleaned them.
    Raises:
        InputError: a file is missing or of another form, or the split is empty.
    """
    content = read_instances(instances or refs)
    with expected_form(instances or refs, "COCO instances"):
        number_key = "ann_id" if instances is None else "id"
        known = {int(annotation[number_key]): annotation["segmentation"] for annotation in content["annotations"]}
        images = {int(image["id"]): image for image in content["images"]}
    with expected_form(refs, "REFER"):
        rows = content["annotations"]
        if instances is not None:
            every = read_json(refs) if refs.suffix == ".json" else read_plain_pickle(refs)
            rows = [row for row in every if row["split"] == split]
        if not rows:
            raise InputError(
                f"{refs} has no reference of split {split!r}; RefCOCO and RefCOCO+ have val, testA, testB, "
                "RefCOCOg has val, test"
            )
        for position, row in enumerate(rows):
            row.setdefault("ref_id", position)
        photos = []
        for number, of_photo in by_photo(rows).items():
            expressions: list[Expression] = []
            for row in of_photo:
                segmentations = _segmentations(row, known, refs)
                reference = int(row["ref_id"])
                for sentence in row["sentences"][: 1 if sentences == "first" else None]:
                    there = row.get("exist", True) and not sentence.get("is_false_premise", False)
                    expressions.append(
                        Expression(
                            _text(sentence, lower),
                            reference,
                            segmentations if there else (),
                            "" if there else str(sentence.get("gt_sent") or "").strip(),
                        )
                    )
            if number not in images:
                raise _of_another_release(refs, f"photo {number}")
            info = PhotoInfo.from_json(images[number], folder)
            photos.append(ReferredPhoto(info.id, info.file, info.size, tuple(expressions)))
    return photos


def _segmentations(row: Row, known: dict[int, Any], path: Path) -> tuple[Any, ...]:
    """Those of a reference's annotations; number -1 stands for none."""
    numbers = [number for number in np.atleast_1d(row["ann_id"]).astype(int).tolist() if number >= 0]
    for number in numbers:
        if number not in known:
            raise _of_another_release(path, f"annotation {number}")
    return tuple(known[number] for number in numbers)


def _of_another_release(path: Path, what: str) -> InputError:
    return InputError(f"{path} refers to {what}, which its instances lack; both must be of one release")


def _text(sentence: Row, lower: bool) -> str:
    """FIND asks the sentence as it was typed, in lower case; READ the one without signs."""
    if lower:
        return str(sentence.get("raw") or sentence["sent"]).strip().lower()
    return str(sentence.get("sent") or sentence["raw"]).strip()
