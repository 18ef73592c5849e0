"""ReasonSeg: `NAME.jpg` beside `NAME.json`, with questions and drawn shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import IGNORED
from ...records import BoolMask, Size
from .files import read_form


@dataclass(frozen=True, slots=True)
class ReasonPhoto:
    """One photo with the first text that was asked of it.

    Attributes:
        name: of its files.
        text: what is asked; only the first of several takes part, as in the published evaluation.
        long: a whole sentence, else a short phrase.
        further: other texts for the same targets, for training.
        false_premises: (question, whether it is a sentence, answer) of things that are not there, in the copy that
            SESAME added them to.
        shapes: (label, (n, 2) corners) in the order of the file, labels in lower case: ``flag`` counts for nothing,
            what has ``ignore`` in it is not judged, anything else is a target, as the published reader has it.
    """

    name: str
    file: Path
    text: str
    long: bool
    shapes: tuple[tuple[str, NDArray[np.float64]], ...]
    further: tuple[str, ...] = ()
    false_premises: tuple[tuple[str, bool, str], ...] = ()

    def truth(self, size: Size) -> NDArray[np.uint8]:
        """(H, W) uint8: 1 target, 255 ignored, 0 elsewhere. Larger shapes are painted first, `flag` never."""
        painted = [(label, _paint(corners, size)) for label, corners in self.shapes if label != "flag"]
        painted.sort(key=lambda shape: -int(shape[1].sum()))
        truth = np.zeros(size, np.uint8)
        for label, mask in painted:
            truth[mask] = IGNORED if "ignore" in label else 1
        return truth


def read_reasonseg(folder: Path) -> list[ReasonPhoto]:
    """Read one split, `val/` or `test/`, in the order of the names.

    Raises:
        InputError: the folder has no pair of files, or a file is of another form.
    """
    photos = []
    for file in sorted(folder.glob("*.jpg")):
        with read_form(file.with_suffix(".json"), "ReasonSeg", fallback="cp1252") as content:
            text = content["text"]
            texts = [text] if isinstance(text, str) else [str(one) for one in text]
            false = tuple(
                (str(question).strip(), bool(is_sentence), str(answer).strip())
                for question, is_sentence, answer in content.get("false_premise_QA") or ()
            )
            shapes = tuple(
                (str(shape["label"]).lower(), np.array(shape["points"], float).reshape(-1, 2))
                for shape in content["shapes"]
            )
            first, *further = [one.strip() for one in texts]
            long = bool(content["is_sentence"])
            photos.append(ReasonPhoto(file.stem, file, first, long, shapes, tuple(further), false))
    if not photos:
        raise InputError(f"{folder} holds no NAME.jpg with its NAME.json, expected a split of ReasonSeg such as val/")
    return photos


def _paint(points: NDArray[np.float64], size: Size) -> BoolMask:
    """One filled polygon, (H, W)."""
    from PIL import Image, ImageDraw

    corners = [(int(x), int(y)) for x, y in points]
    if len(corners) == 1:
        corners *= 2  # Pillow draws no polygon of one corner
    canvas = Image.new("1", size[::-1])
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    return np.array(canvas)
