"""What an evaluation must know of the training packs: the label names in them, and the best constant mask.

The facts of the packs that the bundled model was trained on lie beside this file in ``train_facts.json``;
``tools/train_facts.py`` writes it. Facts of other packs can be made here and handed to `evaluate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import metrics
from ..errors import ConfigError
from ..geometry import encode_rle, resize_mask
from ..records import BoolMask, Floats, Rle
from .annotations import lone_regions
from .packs import read_pack

SIDE = 64  # of the square grid of the mean mask
SHIPPED = Path(__file__).with_name("train_facts.json")


@dataclass(frozen=True, slots=True)
class TrainFacts:
    """Facts of some training packs.

    Attributes:
        names: every label of their photos and regions.
        mean_mask: (64, 64) bool: where the mean over the masks of lone labelled regions, each stretched to the
            square, passes the cut that makes the best mean IoU over those same masks.
        cut: that cut, 0 to 1.
        packs: what it was made from: file name and SHA-256 of each pack.
    """

    names: frozenset[str]
    mean_mask: BoolMask
    cut: float
    packs: tuple[tuple[str, str], ...]


def shipped_facts() -> TrainFacts:
    """The facts of the packs that the bundled model was trained on."""
    record = json.loads(SHIPPED.read_text(encoding="utf-8"))
    mask = record["mean_mask"]
    return TrainFacts(
        frozenset(record["names"]),
        Rle((mask["size"][0], mask["size"][1]), mask["counts"]).decode(),
        float(record["cut"]),
        tuple((pack["file"], pack["sha256"]) for pack in record["packs"]),
    )


def read_facts(packs: Sequence[Path]) -> TrainFacts:
    """Make the facts of some packs, which are read once.

    Raises:
        InputError: a pack is damaged.
        ConfigError: no pack, or no labelled mask in any of them.
    """
    names: set[str] = set()
    squares: list[BoolMask] = []
    for path in packs:
        for photo in read_pack(path):
            names.update(photo.labels)
            names.update(region.label for region in photo.regions if region.label is not None)
            squares += [resize_mask(lone.rle.decode(), (SIDE, SIDE)) for lone in lone_regions([photo])]
    if not squares:
        raise ConfigError(
            f"training packs {', '.join(map(str, packs)) or '(none)'} hold no labelled mask, "
            "expected packs with masks to take the constant guess from"
        )
    cut, mask = _best_guess(np.array(squares))
    digests = tuple((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in packs)
    return TrainFacts(frozenset(names), mask, cut, digests)


def write_facts(facts: TrainFacts, path: Path) -> None:
    """Write facts as JSON, in a fixed order."""
    record = {
        "packs": [{"file": name, "sha256": digest} for name, digest in facts.packs],
        "cut": facts.cut,
        "mean_mask": encode_rle(facts.mean_mask).to_json(),
        "names": sorted(facts.names),
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _best_guess(squares: BoolMask) -> tuple[float, BoolMask]:
    flat = squares.reshape(len(squares), -1).astype(np.float32)
    areas = flat.sum(1)

    def mean_iou(guess: BoolMask) -> float:
        inside: Floats = flat @ guess.ravel().astype(np.float32)
        union = areas + guess.sum() - inside
        return float((inside / np.maximum(union, 1)).mean())

    return metrics.best_constant(squares.mean(0, dtype=np.float32), mean_iou)
