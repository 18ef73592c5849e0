"""Writes interleave_index/evaluation/train_facts.json from the packs that the bundled model was trained on.

python tools/train_facts.py train-*.tar
"""

from __future__ import annotations

import sys
from pathlib import Path

from interleave_index.evaluation.train_facts import SHIPPED, read_facts, write_facts

if __name__ == "__main__":
    facts = read_facts(sorted(map(Path, sys.argv[1:])))
    write_facts(facts, SHIPPED)
    print(f"{len(facts.names)} names, mean mask of {facts.mean_mask.mean():.0%} of the square at cut {facts.cut:.2f}")
