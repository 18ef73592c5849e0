"""Published figures, to be printed beside what was measured. Percent, names as the reports here have them.

`figures.json` holds the published tables as they are printed: each names its source, the benchmark and the figure of
every column, and one row a system, null where nothing stands. Sources: the poster of FIND and the README of its
repository, which differ by some tenths, and the tables of the READ paper and repositories.

Some places had to be read. Table 1 of the poster has grounding by text alone, table 2 with pictures between the words;
the one grounding column of table 3 is near that of table 2 and is taken so. Retrieval of table 1 is by text, of table 2
interleaved; its column "TR@5" is taken as IR@10, as the README heads it. The README does not say of which mode its
retrieval is: its row of Focal-L fits the text mode, that of Focal-T is the interleaved one of the poster. "Paragraph"
of the paper is "long" here, as the released files have it. Where a cell prints two settings of a system, the second is
a row of its own. What could not be read in table 4 is left out.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ..outcome import Figures

FIGURES = Path(__file__).with_name("figures.json")


@cache
def published_tables() -> list[Figures]:
    """The tables as they are printed: ``source``, ``columns`` (benchmark and figure), ``rows`` (system, then cells)."""
    tables: list[Figures] = json.loads(FIGURES.read_text(encoding="utf-8"))
    return tables


def published_figures(benchmark: str) -> list[Figures]:
    """What is known of a benchmark, by its name, nothing of most: ``model``, ``source`` and ``figures`` of each row.

    Rows stand in the order of the tables; what a later table prints alike, or in part, is one row with both sources.
    """
    rows: list[Figures] = []
    for table in published_tables():
        for model, *cells in table["rows"]:
            figures = _of_benchmark(benchmark, table["columns"], cells)
            same = [row for row in rows if row["model"] == model and figures.items() <= row["figures"].items()]
            if same and figures:
                same[0]["source"] += f"; {table['source']}"
            elif figures:
                rows.append({"model": model, "source": table["source"], "figures": figures})
    return rows


def _of_benchmark(benchmark: str, columns: list[list[str]], cells: list[Any]) -> dict[str, float]:
    """The cells of one row that belong to a benchmark, by the names of their figures."""
    named = zip(columns, cells, strict=True)
    return {figure: value for (column, figure), value in named if column == benchmark and value is not None}


def beside(published: Figures, ours: Figures) -> Figures:
    """A row of `published_figures` with ours and the difference at every figure that both have."""
    rows = {}
    for name, value in published["figures"].items():
        rows[name] = {"published": value}
        if name in ours:
            rows[name] |= {"ours": ours[name], "difference": ours[name] - value}
    return {**published, "figures": rows}
