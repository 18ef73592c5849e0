"""Which photos of the packs may be trained on, and which of them are kept back. Knows packs only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..evaluation.annotations import sha1_number
from ..evaluation.packs import PackPhoto, read_pack

EXCLUDED_SOURCES = frozenset({"human-seg", "camvid"})  # terms too weak to train on
# Training photos within 8 bits of a held-out one, found by tools/manifest.py.
NEAR_HELD_OUT = frozenset({"f8k_2664102751", "cal_motorbikes_0775", "cal_inline_skate_0016"})
HELD_OUT_SHARE = 20  # one photo in so many is kept back from training, for calibration


def training_photos(packs: Iterable[Path]) -> Iterator[tuple[Path, PackPhoto]]:
    """Every photo that may be trained on, with its pack, one after the other; those of `held_out` among them."""
    for pack in packs:
        for photo in read_pack(pack):
            if photo.source not in EXCLUDED_SOURCES and photo.key not in NEAR_HELD_OUT:
                yield pack, photo


def held_out(key: str) -> bool:
    """Whether a training photo is kept back for calibration, decided by its key alone."""
    return sha1_number(key) % HELD_OUT_SHARE == 0
