"""Published figures, to be printed beside what was measured. Percent, names as the reports here have them.

They stand in `figures.json`, by the name of the benchmark. Sources: the poster of FIND and the README of its repository
(its released checkpoints), and the tables of the READ paper and repositories. The README does not say of which mode its
retrieval is: its row of Focal-L fits the mode `text`, all others are those that the poster gives for `interleaved`.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..outcome import Figures

FIGURES = Path(__file__).with_name("figures.json")


def published_figures(benchmark: str) -> list[Figures]:
    """What is known of a benchmark, by its name, nothing of most: ``model``, ``source`` and ``figures`` of each row."""
    rows: list[Figures] = json.loads(FIGURES.read_text(encoding="utf-8")).get(benchmark, [])
    return rows


def beside(published: Figures, ours: Figures) -> Figures:
    """A row of `published_figures` with ours and the difference at every figure that both have."""
    rows = {}
    for name, value in published["figures"].items():
        rows[name] = {"published": value}
        if name in ours:
            rows[name] |= {"ours": ours[name], "difference": ours[name] - value}
    return {**published, "figures": rows}
