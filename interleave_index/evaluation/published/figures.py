"""Published figures, to be printed beside what was measured. Percent, names as the reports here have them.

Sources: the README of the FIND repository (its released checkpoints), and the tables of the READ paper and
repositories. Figures of the FIND paper's other tables are not repeated here, as they were not at hand in a form
that could be checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FIND = "README of UX-Decoder/FIND"
READ = "READ, tables of the paper"


@dataclass(frozen=True, slots=True)
class Published:
    """Figures of one published model on one benchmark."""

    model: str
    source: str
    figures: Mapping[str, float]

    def beside(self, ours: Mapping[str, Any]) -> dict[str, Any]:
        """Published, ours and the difference of every figure that both have."""
        rows = {}
        for name, value in self.figures.items():
            mine = ours.get(name)
            gap = {"ours": mine, "difference": mine - value} if isinstance(mine, int | float) else {}
            rows[name] = {"published": value, **gap}
        return {"model": self.model, "source": self.source, "figures": rows}


def _find(names: tuple[str, str], *rows: tuple[str, float, float]) -> tuple[Published, ...]:
    return tuple(Published(model, FIND, dict(zip(names, values, strict=True))) for model, *values in rows)


_MASKS, _RANKS = ("cIoU", "P@0.5"), ("IR@5", "IR@10")
FIND_GROUNDING = {  # by whether the sentences are the long ones
    False: _find(_MASKS, ("FIND Focal-T", 74.9, 79.5), ("FIND Focal-L", 76.2, 81.3), ("Grounding-SAM (H)", 58.9, 63.2)),
    True: _find(_MASKS, ("FIND Focal-T", 73.2, 77.7), ("FIND Focal-L", 74.8, 79.3), ("Grounding-SAM (H)", 56.1, 62.5)),
}
FIND_RETRIEVAL = {
    False: _find(_RANKS, ("FIND Focal-T", 43.5, 57.1), ("FIND Focal-L", 81.1, 88.7), ("ImageBIND (H)", 51.4, 61.3)),
    True: _find(_RANKS, ("FIND Focal-T", 49.4, 63.9), ("FIND Focal-L", 89.3, 94.6), ("ImageBIND (H)", 58.7, 68.9)),
}


def _ciou(*rows: tuple[str, float]) -> tuple[Published, ...]:
    return tuple(Published(model, READ, {"cIoU": value}) for model, value in rows)


def _rows(lisa: float, read: float, sesame: float | None = None) -> tuple[Published, ...]:
    middle = () if sesame is None else (("SESAME-7B", sesame),)
    return _ciou(("LISA-7B", lisa), *middle, ("READ-7B", read))


REFER = {
    ("refcoco", "val"): _rows(74.9, 78.1, 74.7),
    ("refcoco", "testA"): _rows(79.1, 80.2),
    ("refcoco", "testB"): _rows(72.3, 73.2),
    ("refcoco+", "val"): _rows(65.1, 68.4, 64.9),
    ("refcoco+", "testA"): _rows(70.8, 73.7),
    ("refcoco+", "testB"): _rows(58.1, 60.4),
    ("refcocog", "val"): _rows(67.9, 70.1, 66.1),
    ("refcocog", "test"): _rows(70.6, 71.4),
}
REFER_GIOU = {"refcoco": 79.05, "refcoco+": 71.20, "refcocog": 71.74}  # READ-7B on val


def refer(name: str, split: str) -> tuple[Published, ...]:
    """Figures of READ's table for one split; RefCOCOg's splits are those of UMD."""
    rows = REFER.get((name, split), ())
    if split == "val" and name in REFER_GIOU:
        rows = (*rows, Published("READ-7B", "READ repository", {"gIoU": REFER_GIOU[name]}))
    return rows


_TEST = ("gIoU", "cIoU", "gIoU short", "cIoU short", "gIoU long", "cIoU long")


def _reason(model: str, *values: float) -> Published:
    return Published(model, READ, dict(zip(_TEST, values, strict=False)))


REASONSEG = {
    "val": (
        _reason("LISA-7B LLaVA-1.5 (ft)", 61.3, 62.9),
        _reason("SESAME-7B", 34.8, 39.1),
        _reason("READ-7B", 59.8, 67.6),
    ),
    "test": (
        _reason("LISA-7B LLaVA-1.5 (ft)", 55.6, 56.9, 48.3, 46.3, 57.9, 59.7),
        _reason("SESAME-7B", 30.5, 30.4, 28.3, 27.6, 31.6, 32.7),
        _reason("READ-7B", 58.5, 58.6, 52.6, 49.5, 60.4, 61.0),
        _reason("READ-13B", 62.2, 62.8, 55.4, 53.7, 64.4, 65.1),
    ),
}


def _false(model: str, see: float, segment: float) -> Published:
    return Published(model, READ, {"See": see, "Segment": segment})


FALSE_PREMISE = {
    "refcoco": (_false("LISA-7B", 51.36, 44.00), _false("SESAME-7B", 79.84, 57.93), _false("READ-7B", 82.87, 61.50)),
    "refcoco+": (_false("LISA-7B", 51.32, 39.62), _false("SESAME-7B", 80.00, 50.81), _false("READ-7B", 83.51, 54.54)),
    "refcocog": (_false("LISA-7B", 51.25, 39.64), _false("SESAME-7B", 81.78, 53.79), _false("READ-7B", 84.67, 56.12)),
}
