"""Says how much of `ingest/`, `query/` and `storage/` the tests reach, and fails where it is less than the promise.

    python tools/coverage_of_packages.py coverage.json

The file is what `coverage json` writes. A branch counts where both ways out of a condition were taken.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("ingest", "query", "storage")
PROMISE = 95.0  # percent, of branches and of statements


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    files = json.loads(parser.parse_args().report.read_text())["files"]
    shares = {package: shares_of(files, package) for package in PACKAGES}
    for package, (branches, statements) in shares.items():
        print(f"{package:8} {branches:6.2f} % of branches, {statements:6.2f} % of statements")
    if any(min(pair) < PROMISE for pair in shares.values()):
        sys.exit(f"less than {PROMISE:g} % of a package is reached; `coverage report` names the lines")


def shares_of(files: dict[str, Any], package: str) -> tuple[float, float]:
    """Percent of the branches and of the statements of a package that were taken."""
    own = [file["summary"] for name, file in files.items() if f"interleave_index/{package}/" in name]
    if not own:
        sys.exit(f"the report has no file of {package}/")

    def share(covered: str, every: str) -> float:
        there: int = sum(file[every] for file in own)
        reached: int = sum(file[covered] for file in own)
        return 100 * reached / max(1, there)

    return share("covered_branches", "num_branches"), share("covered_lines", "num_statements")


if __name__ == "__main__":
    main()
