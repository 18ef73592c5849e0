"""Every data set of docs/reproduce.md in miniature: its files in their official form, under the names of the page.

A further data set is a function here, called by `write_all`. Photos are those that `conftest` paints, one or two a set.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interleave_index.interface.published.classes import COCO_PANOPTIC
from tests.evaluation.published.conftest import CATEGORIES, SCENES, paint, write_coco, write_png

RED, BLUE = [0, 0, 40, 0, 40, 40, 0, 40], [56, 0, 96, 0, 96, 40, 56, 40]  # of the first photo


def write_all(root: Path) -> None:
    """Write all of them below `root`."""
    coco(root)
    photos = {"COCO_train2014_000000000001.jpg": 1, "COCO_train2014_000000000003.jpg": 3}
    for name, scene in photos.items():
        write_png(root / "COCO14" / "train2014" / name, paint(*SCENES[scene]))
    refer(root / "refer")
    false_premises(root / "fp-refer")
    reasonseg(root / "ReasonSeg")
    karpathy(root)
    voc(root / "VOC2012")
    cirr(root / "CIRR")
    circo(root / "CIRCO")
    fashioniq(root / "FashionIQ")


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".p":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        path.write_text(json.dumps(content), encoding="utf-8")


def coco(root: Path) -> None:
    """val2017 with its long sentences, train2017, sentences of classes, and RefCOCOg as FIND has it."""
    folder = root / "COCO"
    write_coco(folder, photos=(1, 3))
    write_coco(folder, "train2017", groups=False)
    for name in ("entity_val2017", "interleave_val2017"):
        text = (folder / "annotations" / f"{name}.json").read_text()
        (folder / "annotations" / f"{name}_long.json").write_text(text)
    _write(root / "classes.json", {row["name"]: f"Something {row['name']} to look at." for row in CATEGORIES})
    image = {"id": 1, "file_name": "000000000001.jpg", "height": 64, "width": 96}
    rows = [
        {"ann_id": 1, "image_id": 1, "segmentation": [RED], "sentences": [{"raw": "Red one"}, {"raw": "left"}]},
        {"ann_id": 2, "image_id": 1, "segmentation": [BLUE], "sentences": [{"raw": "blue"}]},
    ]
    constants = root / "FIND" / "utils" / "constants.py"
    constants.parent.mkdir(parents=True)
    sentences = [f"Number {n} of the classes." for n in range(len(COCO_PANOPTIC))]
    constants.write_text(f"COCO_PANOPTIC_CLASSES = {list(COCO_PANOPTIC)}\nCOCO_DESCRIPTION = {sentences}\n")
    _write(root / "refcocog_umd_val.json", {"images": [image], "annotations": rows})


def _instances() -> dict[str, Any]:
    size = {"height": 64, "width": 96}
    return {
        "images": [{"id": n, "file_name": f"COCO_train2014_{n:012d}.jpg", **size} for n in (1, 3)],
        "annotations": [
            {"id": 11, "image_id": 1, "segmentation": [RED]},
            {"id": 12, "image_id": 1, "segmentation": [BLUE]},
            {"id": 31, "image_id": 3, "segmentation": [[0, 0, 48, 0, 48, 64, 0, 64]]},
        ],
    }


def refer(folder: Path) -> None:
    """RefCOCO, RefCOCO+ and RefCOCOg as REFER keeps them, one photo a split."""
    for name, splits in (
        ("refcoco/refs(unc).p", ("val", "testA", "testB")),
        ("refcoco+/refs(unc).p", ("val", "testA", "testB")),
        ("refcocog/refs(umd).p", ("val", "test")),
    ):
        rows = []
        for number, split in enumerate(splits):
            ann, photo = ((11, 1), (12, 1), (31, 3))[number]
            sentences = [{"sent": "the red one", "raw": "The red one."}, {"sent": "left", "raw": "left"}]
            rows.append({"ref_id": number, "ann_id": ann, "image_id": photo, "split": split, "sentences": sentences})
        _write(folder / name, rows)
        _write((folder / name).with_name("instances.json"), _instances())


def false_premises(folder: Path) -> None:
    """FP-RefCOCO, + and g: a sentence that fits and one that does not."""
    there = {"sent": "red", "is_false_premise": False}
    absent = {"sent": "a green kite", "is_false_premise": True, "gt_sent": "red"}
    for name in ("refcoco", "refcoco+", "refcocog"):
        row = {"ref_id": 0, "ann_id": 11, "image_id": 1, "split": "val", "sentences": [there, absent]}
        _write(folder / name / "refs(berkeley_exclude_unified).p", [row])
        _write(folder / name / "instances.json", _instances())


def reasonseg(folder: Path) -> None:
    """One photo in val/, in test/ one with a phrase and one with a sentence."""
    shapes = [{"label": "target", "points": [[0, 0], [39, 0], [39, 39], [0, 39]]}]
    for split, name, text, sentence in (
        ("val", "a", "what is red in this picture?", True),
        ("test", "a", "the red thing", False),
        ("test", "b", "what is red in this picture?", True),
    ):
        write_png(folder / split / f"{name}.jpg", paint(*SCENES[1]))
        _write(folder / split / f"{name}.json", {"text": [text], "is_sentence": sentence, "shapes": shapes})


def karpathy(root: Path) -> None:
    """dataset_coco.json with two photos of the test split in val2014/."""
    images = []
    for photo in (1, 3):
        name, texts = f"COCO_val2014_{photo:012d}.jpg", ("red on it", f"photo {photo}")
        write_png(root / "COCO14" / "val2014" / name, paint(*SCENES[photo]))
        sentences = [{"raw": text} for text in texts]
        row = {"filepath": "val2014", "filename": name, "split": "test", "cocoid": photo, "sentences": sentences}
        images.append(row)
    _write(root / "dataset_coco.json", {"images": images})


def voc(folder: Path) -> None:
    """One photo of VOC 2012 with two objects and an outline."""
    write_png(folder / "JPEGImages" / "2007_000001.jpg", paint(*SCENES[1]))
    ids = np.zeros((64, 96), np.uint8)
    ids[:40, :40], ids[:40, 56:96], ids[40, :] = 1, 2, 255
    mask = Image.fromarray(ids, "L")
    mask.putpalette([n % 256 for n in range(768)])
    (folder / "SegmentationObject").mkdir(parents=True)
    mask.save(folder / "SegmentationObject" / "2007_000001.png")
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000001\n")


def cirr(folder: Path) -> None:
    """CIRR's val with truths and test1 without, over the same three photos."""
    names = {f"dev-{n}-0-img0": f"./dev/dev-{n}-0-img0.png" for n in SCENES}
    for place, scene in zip(names.values(), SCENES.values(), strict=True):
        write_png(folder / place, paint(*scene))
    first, second, third = names
    row = {"pairid": 12063, "reference": first, "caption": "has green on it", "target_hard": second}
    row |= {"target_soft": {second: 1.0}, "img_set": {"id": 1, "members": [first, second, third]}}
    _write(folder / "cirr" / "captions" / "cap.rc2.val.json", [row])
    untold = {key: value for key, value in row.items() if not key.startswith("target")}
    _write(folder / "cirr" / "captions" / "cap.rc2.test1.json", [untold])
    for split in ("val", "test1"):
        _write(folder / "cirr" / "image_splits" / f"split.rc2.{split}.json", names)


def circo(folder: Path) -> None:
    """CIRCO's val with truths and test without, over three photos of unlabeled2017."""
    unlabeled, images = folder / "COCO2017_unlabeled", []
    for number, scene in SCENES.items():
        name = f"{number:012d}.jpg"
        write_png(unlabeled / "unlabeled2017" / name, paint(*scene))
        images.append({"id": number, "file_name": name, "height": 64, "width": 96})
    _write(unlabeled / "annotations" / "image_info_unlabeled2017.json", {"images": images})
    row = {"id": 0, "reference_img_id": 1, "relative_caption": "is on black", "shared_concept": "a red patch"}
    _write(folder / "annotations" / "test.json", [row])
    told = {"target_img_id": 3, "gt_img_ids": [3, 2], "semantic_aspects": ["direct_addressing"]}
    _write(folder / "annotations" / "val.json", [row | told])


def fashioniq(folder: Path) -> None:
    """FashionIQ's val of all three kinds, two photos each."""
    for kind in ("dress", "shirt", "toptee"):
        names = [f"{kind}1", f"{kind}2"]
        for name, number in zip(names, (1, 2), strict=True):
            write_png(folder / "images" / f"{name}.png", paint(*SCENES[number]))
        row = {"candidate": names[0], "target": names[1], "captions": ["is green", "has one patch."]}
        _write(folder / "captions" / f"cap.{kind}.val.json", [row])
        _write(folder / "image_splits" / f"split.{kind}.val.json", names)
