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
            rows[name] = {"published": value}
            own = ours.get(name)
            if isinstance(own, int | float):
                rows[name] |= {"ours": own, "difference": own - value}
        return {"model": self.model, "source": self.source, "figures": rows}


def _table(source: str, names: tuple[str, ...], rows: Mapping[str, tuple[float, ...]]) -> tuple[Published, ...]:
    """One entry a row; a row may end before the names do."""
    return tuple(Published(model, source, dict(zip(names, row, strict=False))) for model, row in rows.items())


_MASKS, _RANKS = ("cIoU", "P@0.5"), ("IR@5", "IR@10")
FIND_GROUNDING = {  # by whether the sentences are the long ones
    False: _table(
        FIND,
        _MASKS,
        {"FIND Focal-T": (74.9, 79.5), "FIND Focal-L": (76.2, 81.3), "Grounding-SAM (H)": (58.9, 63.2)},
    ),
    True: _table(
        FIND,
        _MASKS,
        {"FIND Focal-T": (73.2, 77.7), "FIND Focal-L": (74.8, 79.3), "Grounding-SAM (H)": (56.1, 62.5)},
    ),
}
FIND_RETRIEVAL = {
    False: _table(
        FIND, _RANKS, {"FIND Focal-T": (43.5, 57.1), "FIND Focal-L": (81.1, 88.7), "ImageBIND (H)": (51.4, 61.3)}
    ),
    True: _table(
        FIND, _RANKS, {"FIND Focal-T": (49.4, 63.9), "FIND Focal-L": (89.3, 94.6), "ImageBIND (H)": (58.7, 68.9)}
    ),
}

_REFER = {  # cIoU by set and split, RefCOCOg by the splits of UMD; then READ-7B's gIoU
    ("refcoco", "val"): {"LISA-7B": 74.9, "SESAME-7B": 74.7, "READ-7B": 78.1},
    ("refcoco", "testA"): {"LISA-7B": 79.1, "READ-7B": 80.2},
    ("refcoco", "testB"): {"LISA-7B": 72.3, "READ-7B": 73.2},
    ("refcoco+", "val"): {"LISA-7B": 65.1, "SESAME-7B": 64.9, "READ-7B": 68.4},
    ("refcoco+", "testA"): {"LISA-7B": 70.8, "READ-7B": 73.7},
    ("refcoco+", "testB"): {"LISA-7B": 58.1, "READ-7B": 60.4},
    ("refcocog", "val"): {"LISA-7B": 67.9, "SESAME-7B": 66.1, "READ-7B": 70.1},
    ("refcocog", "test"): {"LISA-7B": 70.6, "READ-7B": 71.4},
}
_REFER_GIOU = {("refcoco", "val"): 79.05, ("refcoco+", "val"): 71.20, ("refcocog", "val"): 71.74}  # READ-7B


def refer(name: str, split: str) -> tuple[Published, ...]:
    """Figures of READ's table for one split; none where it has none."""
    rows = [Published(model, READ, {"cIoU": value}) for model, value in _REFER.get((name, split), {}).items()]
    if (name, split) in _REFER_GIOU:
        rows.append(Published("READ-7B", "READ repository", {"gIoU": _REFER_GIOU[name, split]}))
    return tuple(rows)


_REASON = ("gIoU", "cIoU", "gIoU short", "cIoU short", "gIoU long", "cIoU long")
REASONSEG = {
    "val": _table(
        READ, _REASON, {"LISA-7B LLaVA-1.5 (ft)": (61.3, 62.9), "SESAME-7B": (34.8, 39.1), "READ-7B": (59.8, 67.6)}
    ),
    "test": _table(
        READ,
        _REASON,
        {
            "LISA-7B LLaVA-1.5 (ft)": (55.6, 56.9, 48.3, 46.3, 57.9, 59.7),
            "SESAME-7B": (30.5, 30.4, 28.3, 27.6, 31.6, 32.7),
            "READ-7B": (58.5, 58.6, 52.6, 49.5, 60.4, 61.0),
            "READ-13B": (62.2, 62.8, 55.4, 53.7, 64.4, 65.1),
        },
    ),
}

_PREMISE = ("See", "Segment")
FALSE_PREMISE = {
    "refcoco": _table(
        READ, _PREMISE, {"LISA-7B": (51.36, 44.00), "SESAME-7B": (79.84, 57.93), "READ-7B": (82.87, 61.50)}
    ),
    "refcoco+": _table(
        READ, _PREMISE, {"LISA-7B": (51.32, 39.62), "SESAME-7B": (80.00, 50.81), "READ-7B": (83.51, 54.54)}
    ),
    "refcocog": _table(
        READ, _PREMISE, {"LISA-7B": (51.25, 39.64), "SESAME-7B": (81.78, 53.79), "READ-7B": (84.67, 56.12)}
    ),
}
