"""Data in LISA's layout in miniature: four drawn photos with a disc and a square, whose masks are known by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from interleave_index.records import RGB, BoolMask

SIZE = (48, 64)
COLOURS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 60, 220), "black": (10, 10, 10)}
SCENES = [  # colour and box of the disc, then of the square
    (("red", (4, 6, 28, 30)), ("blue", (38, 20, 60, 42))),
    (("green", (34, 4, 60, 30)), ("red", (4, 22, 26, 44))),
    (("blue", (8, 16, 36, 44)), ("green", (42, 4, 62, 24))),
    (("black", (30, 18, 58, 46)), ("blue", (4, 4, 24, 24))),
]


def draw(number: int) -> tuple[RGB, list[tuple[str, BoolMask]]]:
    """A photo, and its expressions with their masks."""
    picture = Image.new("RGB", SIZE[::-1], (235, 235, 235))
    things = []
    for shape, (colour, box) in zip(("disc", "square"), SCENES[number], strict=True):
        canvas = Image.new("1", SIZE[::-1])
        paint = ImageDraw.Draw(canvas)
        (paint.ellipse if shape == "disc" else paint.rectangle)(box, fill=1)
        picture.paste(COLOURS[colour], mask=canvas)
        things.append((f"{colour} {shape}", np.array(canvas)))
    return np.array(picture), things


def polygon(mask: BoolMask) -> list[list[int]]:
    """The corners of a mask that is convex, row by row down its right side and up its left one."""
    rows = [(row, np.flatnonzero(mask[row])) for row in np.flatnonzero(mask.any(1))]
    right = [[int(columns[-1]), int(row)] for row, columns in rows]
    left = [[int(columns[0]), int(row)] for row, columns in reversed(rows)]
    return right + left


@pytest.fixture(scope="session")
def lisa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder: refcoco, fprefcoco and ReasonSeg, each over the same photos."""
    root = tmp_path_factory.mktemp("lisa")
    photos = root / "refer_seg" / "images" / "mscoco" / "images" / "train2014"
    photos.mkdir(parents=True)
    images, annotations, refs, false_refs = [], [], [], []
    for number in range(len(SCENES)):
        pixels, things = draw(number)
        name = f"COCO_train2014_{number:012d}.jpg"
        Image.fromarray(pixels).save(photos / name, "PNG")  # content decides
        images.append({"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]})
        for which, (text, mask) in enumerate(things):
            corners = [float(value) for corner in polygon(mask) for value in corner]
            ann = 10 * number + which
            annotations.append({"id": ann, "image_id": number, "segmentation": [corners]})
            common = {"image_id": number, "split": "train", "ann_id": ann, "ref_id": ann}
            refs.append({**common, "sentences": [{"sent": text, "raw": text}]})
            other = "dog" if which else "cat"
            false = {"sent": other, "is_false_premise": True, "gt_sent": text if which else ""}
            false_refs.append({**common, "sentences": [{"sent": text, "is_false_premise": False}, false]})
        for split in ("train", "val"):
            folder = root / "reason_seg" / "ReasonSeg" / split
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.jpg", "PNG")
            text, mask = things[number % 2]
            shapes = [{"label": "target", "points": polygon(mask)}]
            texts = [f"what is the {text.split()[1]} ?", f"where is the {text.split()[1]} ?"]
            question: dict[str, object] = {"text": texts, "is_sentence": True, "shapes": shapes}
            question["false_premise_QA"] = [["where is the bread ?", True, "There is no bread here ."]]
            (folder / f"{number}.json").write_text(json.dumps(question))
    for name, rows in (("refcoco", refs), ("fprefcoco", false_refs)):
        folder = root / "refer_seg" / name
        folder.mkdir()
        (folder / "refs(unc_exclude_unified).json").write_text(json.dumps(rows))
        (folder / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    return root
