"""Published figures, to be printed beside what was measured. Percent, names as the reports here have them.

They stand in `figures.json`, by the name of the benchmark. Sources: the README of the FIND repository (its released
checkpoints), and the tables of the READ paper and repositories. Figures of the FIND paper's other tables are not
repeated there, as they were not at hand in a form that could be checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).with_name("figures.json")


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


def published_figures(benchmark: str) -> tuple[Published, ...]:
    """What is known of a benchmark, by its name; nothing of most."""
    rows = json.loads(FIGURES.read_text(encoding="utf-8")).get(benchmark, [])
    return tuple(Published(**row) for row in rows)
