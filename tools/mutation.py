"""Changes the code of `storage/` and `query/score.py` in many small ways and says which changes no test notices.

    python tools/mutation.py --sample 300

`mutmut` makes the changes (mutants) and runs the tests of each; its settings, with what is left out and why, stand in
pyproject.toml. Of the score every mutant is tried, of the storage a sample with a fixed seed: all of them would take
hours. Leaves everything in the folder `mutants`; `mutmut show NAME` prints one of the survivors.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
SCORE, STORAGE = "interleave_index.query.score.", "interleave_index.storage."
# The exit status of a mutant's tests, as mutmut keeps it; every other one is a mutant that was found out.
UNNOTICED = {0: "survived", 5: "no test", 33: "no test"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="How many mutants of the storage to try.")
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    run([f"{SCORE}*"])
    names = sorted(name for name in outcomes() if name.startswith(STORAGE))
    sample = random.Random(arguments.seed).sample(names, min(arguments.sample, len(names)))
    run(sample)
    found = outcomes()
    scores = [name for name in found if name.startswith(SCORE)]
    print(summary("query/score", scores, len(scores), found))
    print(summary("storage", sample, len(names), found))


def run(names: list[str]) -> None:
    """Try some mutants, one after the other."""
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "run", "--max-children", "1", *names], check=True)


def outcomes() -> dict[str, int | None]:
    """The exit status of the tests of every mutant, None of those that were not tried."""
    found: dict[str, int | None] = {}
    for file in FOLDER.rglob("*.py.meta"):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def summary(package: str, tried: list[str], made: int, found: dict[str, int | None]) -> str:
    """How many of the mutants were noticed, and the names of the others."""
    unnoticed = {name: UNNOTICED[status] for name in tried if (status := found[name]) in UNNOTICED}
    counts = Counter(unnoticed.values())
    head = f"{package}: {len(tried)} of {made} mutants tried, {len(tried) - len(unnoticed)} noticed by a test, "
    lines = [f"  {word}: {name}" for name, word in sorted(unnoticed.items(), key=lambda item: item[::-1])]
    return "\n".join([head + f"{counts['survived']} survived, {counts['no test']} without a test", *lines])


if __name__ == "__main__":
    main()
