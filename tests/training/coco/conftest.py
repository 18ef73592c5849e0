"""A drawn training set in COCO's own files: discs and boxes in three colours on two grounds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SIZE = 96
THINGS = {1: ("red", (220, 40, 40)), 2: ("green", (40, 160, 60)), 3: ("blue", (40, 70, 210))}
STUFF = {101: ("white-stuff", (250, 250, 250)), 102: ("black", (15, 15, 15))}


def _place(kind: int, corner: tuple[int, int], side: int) -> Any:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    if kind == 0:
        return (rows >= corner[0]) & (rows < corner[0] + side) & (columns >= corner[1]) & (columns < corner[1] + side)
    middle = corner[0] + side / 2, corner[1] + side / 2
    return (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < (side / 2) ** 2


def write_coco(root: Path, photos: int, split: str = "train2017") -> Path:
    """`photos` pictures with one or two things each, panoptic maps, captions and entity sentences."""
    rng = np.random.default_rng(5)
    images, maps, captions, sentences = [], [], [], []
    for folder in (split, f"panoptic_{split}", "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, photos + 1):
        ground = [101, 102][number % 2]
        ids = np.full((SIZE, SIZE), 1000 * number + ground, np.int64)
        pixels = np.empty((SIZE, SIZE, 3), np.uint8)
        pixels[:] = STUFF[ground][1]
        kinds = [[1], [2], [3], [1, 2], [2, 3], [3, 1]][number % 6]
        for half, kind in enumerate(kinds):
            side = int(rng.integers(36, 46))
            left = int(rng.integers(0, max(1, 48 - side + 4))) + 48 * (half if len(kinds) > 1 else int(rng.integers(2)))
            mask = _place(number % 2, (int(rng.integers(2, SIZE - side)), min(left, SIZE - side)), side)
            ids[mask], pixels[mask] = 1000 * number + kind, THINGS[kind][1]
        Image.fromarray(pixels).save(root / split / f"{number:012d}.jpg", "PNG")
        Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(
            root / f"panoptic_{split}" / f"{number:012d}.png"
        )
        images.append({"id": number, "file_name": f"{number:012d}.jpg", "height": SIZE, "width": SIZE})
        maps.append(
            {
                "image_id": number,
                "file_name": f"{number:012d}.png",
                "segments_info": [{"id": int(n), "category_id": int(n) % 1000, "iscrowd": 0} for n in np.unique(ids)],
            }
        )
        names = [THINGS[kind][0] for kind in kinds if (ids == 1000 * number + kind).any()]
        text = f"a {' thing and a '.join(names)} thing on {STUFF[ground][0].removesuffix('-stuff')}"
        captions.append({"id": number, "image_id": number, "caption": text})
        phrases = [
            {
                "annotation_id": 1000 * number + kind,
                "phrase": f"{THINGS[kind][0]} thing",
                "_start_idx": (at := text.index(f"{THINGS[kind][0]} thing")),
                "start_idx": at - 1,
                "end_idx": at + len(THINGS[kind][0]) + 6,
            }
            for kind in kinds
            if THINGS[kind][0] in names
        ]
        sentences.append({"image_id": number, "sentence": text, "phrase": phrases})
    categories = [{"id": n, "name": name, "isthing": int(n in THINGS)} for n, (name, _) in {**THINGS, **STUFF}.items()]
    files = {
        f"panoptic_{split}": {"images": images, "annotations": maps, "categories": categories},
        f"captions_{split}": {"images": images, "annotations": captions},
        f"entity_{split}": {"images": images, "annotations": sentences},
    }
    for name, content in files.items():
        (root / "annotations" / f"{name}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def drawn_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("drawn-coco"), 8)
