"""A COCO in miniature, in the form of its own files: three drawn photos whose segments are known by hand.

1  red 0:40 x 0:40 and blue 0:40 x 56:96 on white; blue is a group drawn as one
2  green 16:48 x 16:48 on white
3  red 0:64 x 0:48 on black; a strip of 8 columns at the right was not annotated
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.interface.toy import COLOURS
from interleave_index.records import RGB

SIZE = (64, 96)
CATEGORIES = [
    {"id": 1, "name": "red", "isthing": 1},
    {"id": 2, "name": "blue", "isthing": 1},
    {"id": 3, "name": "green", "isthing": 1},
    {"id": 100, "name": "white", "isthing": 0},
    {"id": 101, "name": "black", "isthing": 0},
]
SCENES: dict[int, tuple[str, dict[str, tuple[slice, slice]]]] = {
    1: ("white", {"red": (slice(0, 40), slice(0, 40)), "blue": (slice(0, 40), slice(56, 96))}),
    2: ("white", {"green": (slice(16, 48), slice(16, 48))}),
    3: ("black", {"red": (slice(0, 64), slice(0, 48))}),
}


def paint(ground: str, patches: dict[str, tuple[slice, slice]]) -> RGB:
    pixels = np.empty((*SIZE, 3), np.uint8)
    pixels[:] = COLOURS[ground]
    for colour, place in patches.items():
        pixels[place] = COLOURS[colour]
    return pixels


def write_png(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")  # also under a name that ends in .jpg: content decides


def segment_id(photo: int, category: int) -> int:
    return 70000 + 1000 * photo + category


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco")
    write_coco(root)
    return root


def write_coco(root: Path, split: str = "val2017", photos: Sequence[int] = (1, 2, 3), *, groups: bool = True) -> None:
    """Write a split of the miniature with its sentences.

    Args:
        photos: of the three.
        groups: whether the blue of photo 1 is a group drawn as one.
    """
    numbers = {str(category["name"]): int(str(category["id"])) for category in CATEGORIES}
    images, annotations = [], []
    for photo in photos:
        ground, patches = SCENES[photo]
        write_png(root / split / f"{photo:012d}.jpg", paint(ground, patches))
        ids = np.full(SIZE, segment_id(photo, numbers[ground]), np.int64)
        for colour, place in patches.items():
            ids[place] = segment_id(photo, numbers[colour])
        if photo == 3:
            ids[:, 88:] = 0
        write_png(
            root / f"panoptic_{split}" / f"{photo:012d}.png",
            np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8),
        )
        images.append({"id": photo, "file_name": f"{photo:012d}.jpg", "height": 64, "width": 96})
        segments = [
            {
                "id": int(n),
                "category_id": int(n) % 1000,
                "iscrowd": int(groups and photo == 1 and n % 1000 == 2),
                "area": int((ids == n).sum()),
                "bbox": [0, 0, 1, 1],
            }
            for n in np.unique(ids)
            if n
        ]
        annotations.append({"image_id": photo, "file_name": f"{photo:012d}.png", "segments_info": segments})
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"panoptic_{split}.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES})
    )
    captions = [{"id": n, "image_id": n, "caption": f" {' '.join(SCENES[n][1])} on {SCENES[n][0]} \n"} for n in photos]
    (root / "annotations" / f"captions_{split}.json").write_text(
        json.dumps({"images": images, "annotations": captions})
    )
    _write_entities(root, images, split)


def _phrase(sentence: str, words: str, photo: int, category: int, **more: Any) -> dict[str, Any]:
    start = sentence.index(words)
    return {
        "annotation_id": str(segment_id(photo, category)),
        "phrase": words,
        "_start_idx": start,
        "start_idx": max(0, start - 1),
        "end_idx": start + len(words),
        "phrase_raw": words,
        **more,
    }


def _write_entities(root: Path, images: list[dict[str, Any]], split: str) -> None:
    texts = {1: "A red thing on white ground", 2: "the green square", 3: "black beside red"}
    phrases = {1: [("red thing", 1), ("white", 100)], 2: [("green square", 3)], 3: [("red", 1), ("black", 101)]}
    references = {(1, 1): (3, 1), (3, 1): (1, 1)}
    for name, linked in ((f"entity_{split}", False), (f"interleave_{split}", True)):
        annotations = []
        for photo in (image["id"] for image in images):
            rows, text = [], texts[photo]
            for words, category in phrases[photo]:
                other = references.get((photo, category)) if linked else None
                more = (
                    {}
                    if other is None
                    else {"reference": {"image_id": other[0], "annotation_id": segment_id(*other), "prob": 0.9}}
                )
                rows.append(_phrase(text, words, photo, category, **more))
            annotations.append({"image_id": str(photo), "sentence": text, "phrase": rows, "sentence_raw": text})
        (root / "annotations" / f"{name}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
