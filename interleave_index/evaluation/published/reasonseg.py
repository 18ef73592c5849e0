"""ReasonSeg: `NAME.jpg` beside `NAME.json`, with questions and drawn shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import IGNORED
from ...records import BoolMask
from .files import expected_form, read_json


@dataclass(frozen=True, slots=True)
class ReasonPhoto:
    """One photo with the first text that was asked of it.

    Attributes:
        name: of its files.
        text: what is asked; only the first of several takes part, as in the published evaluation.
        long: a whole sentence, else a short phrase.
        shapes: (label, (n, 2) corners) in the order of the file; labels are ``target``, ``ignore`` and ``flag``.
    """

    name: str
    file: Path
    text: str
    long: bool
    shapes: tuple[tuple[str, NDArray[np.float64]], ...]

    def truth(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8: 1 target, 255 ignored, 0 elsewhere. Larger shapes are painted first, `flag` never."""
        painted = [(label, _paint(corners, size)) for label, corners in self.shapes if label != "flag"]
        painted.sort(key=lambda shape: -int(shape[1].sum()))
        truth = np.zeros(size, np.uint8)
        for label, mask in painted:
            truth[mask] = 1 if label == "target" else IGNORED
        return truth


def read_reasonseg(folder: Path) -> list[ReasonPhoto]:
    """Read one split, `val/` or `test/`, in the order of the names.

    Raises:
        InputError: the folder has no pair of files, or a file is of another form.
    """
    photos = []
    for file in sorted(folder.glob("*.jpg")):
        path = file.with_suffix(".json")
        content = read_json(path, fallback="cp1252")
        with expected_form(path, "ReasonSeg"):
            text = content["text"]
            if not isinstance(text, str):
                text = text[0]
            shapes = []
            for shape in content["shapes"]:
                corners = np.array(shape["points"], float).reshape(-1, 2)
                shapes.append((_label(shape["label"]), corners))
            photos.append(ReasonPhoto(file.stem, file, text.strip(), bool(content["is_sentence"]), tuple(shapes)))
    if not photos:
        raise InputError(f"{folder} holds no NAME.jpg with its NAME.json, expected a split of ReasonSeg such as val/")
    return photos


def _label(name: str) -> str:
    """What is neither `flag` nor something with `ignore` in it is a target, as the published reader has it."""
    name = name.lower()
    if name == "flag":
        return "flag"
    return "ignore" if "ignore" in name else "target"


def _paint(points: NDArray[np.float64], size: tuple[int, int]) -> BoolMask:
    """One filled polygon, (H, W)."""
    from PIL import Image, ImageDraw

    corners = [(int(x), int(y)) for x, y in points]
    if len(corners) == 1:
        corners *= 2  # Pillow draws no polygon of one corner
    canvas = Image.new("1", size[::-1])
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
    return np.array(canvas)
