"""ReasonSeg: `NAME.jpg` beside `NAME.json`, with questions and drawn shapes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...metrics import IGNORED
from ...records import RGB
from .files import read_json, read_photo


@dataclass(frozen=True, slots=True)
class ReasonPhoto:
    """One photo with the first text that was asked of it.

    Attributes:
        name: of its files.
        text: what is asked; only the first of several takes part, as in the published evaluation.
        long: a whole sentence, else a short phrase.
        shapes: (label, corners) in the order of the file.
    """

    name: str
    file: Path
    text: str
    long: bool
    shapes: tuple[tuple[str, NDArray[np.float64]], ...]

    def rgb(self) -> RGB:
        """Its pixels, (H, W, 3) uint8."""
        return read_photo(self.file)

    def truth(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W) uint8: 1 target, 255 ignored, 0 elsewhere. Larger shapes are painted first, `flag` never."""
        from PIL import Image, ImageDraw

        canvas = Image.new("L", (size[1], size[0]))
        draw = ImageDraw.Draw(canvas)
        painted = sorted((one for one in self.shapes if one[0] != "flag"), key=lambda one: -_area(one[1], size))
        for label, corners in painted:
            draw.polygon(
                _corners(corners), fill=1 if label == "target" else IGNORED, outline=1 if label == "target" else IGNORED
            )
        return np.array(canvas)


def read_reasonseg(folder: Path) -> list[ReasonPhoto]:
    """Read one split, `val/` or `test/`, in the order of the names.

    Raises:
        InputError: the folder has no pair of files, or a file is of another form.
    """
    found = []
    for file in sorted(folder.glob("*.jpg")):
        found.append(_read(file))
    if not found:
        raise InputError(f"{folder} holds no NAME.jpg with its NAME.json, expected a split of ReasonSeg such as val/")
    return found


def _read(file: Path) -> ReasonPhoto:
    path = file.with_suffix(".json")
    content: dict[str, Any] = read_json(path, encodings=("utf-8", "cp1252"))
    try:
        texts = content["text"]
        shapes = []
        for shape in content["shapes"]:
            shapes.append((_label(str(shape["label"])), np.array(shape["points"], float).reshape(-1, 2)))
        text = texts if isinstance(texts, str) else str(texts[0])
        return ReasonPhoto(file.stem, file, text.strip(), bool(content["is_sentence"]), tuple(shapes))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not of the form of ReasonSeg: {error!r}") from error


def _label(name: str) -> str:
    """``flag``, ``ignore`` or ``target``: what is neither of the first two is meant, as the published reader has it."""
    name = name.lower()
    return "flag" if name == "flag" else "ignore" if "ignore" in name else "target"


def _corners(points: NDArray[np.float64]) -> list[tuple[int, int]]:
    corners = [(int(x), int(y)) for x, y in points]
    return corners if len(corners) > 1 else corners * 2


def _area(points: NDArray[np.float64], size: tuple[int, int]) -> int:
    """Pixels of one shape when it is painted."""
    from PIL import Image, ImageDraw

    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon(_corners(points), fill=1, outline=1)
    return int(np.array(canvas).sum())
