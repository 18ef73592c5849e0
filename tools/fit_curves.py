"""Fit the curves of a bundle's judgement anew, from training packs; weights and vectors stay what they are.

python tools/fit_curves.py --model interleave_index/interface/find_mini/weights PACK.tar ...
"""

from __future__ import annotations

import argparse
from pathlib import Path

from interleave_index.training.find_mini.finish import fit_curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("packs", type=Path, nargs="+", help="training packs")
    given = parser.parse_args()
    fit_curves(given.model, given.packs, progress=_tell)


def _tell(what: str, done: int, total: int) -> None:
    if done == total or done % 500 == 0:
        print(f"{what}: {done} of {total}", flush=True)


if __name__ == "__main__":
    main()
