"""The benchmark of search runs, small, and what it measures holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "search_100k.py"


def test_the_benchmark_of_search_finds_every_recipe_true_to_its_promise(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            "--photos",
            "700",
            "--regions",
            "3",
            "--dim",
            "32",
            "--queries",
            "2",
            "--recall-queries",
            "8",
            "--threads",
            "1",
            "--worth",
            "1e9",
            "--json",
            "--index",
            str(tmp_path / "index"),
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    results = json.loads(result.stdout)
    assert results["verify"] and results["exact_path_difference"] < 1e-6
    assert {row["path"] for row in results["queries"]} <= {"exact", "ann"} and results["opening"]["open_s"] < 2
    for row in results["recall"]:
        exact = row["recipe"] == "SQfp16"
        assert min(row["near"], row["mixed"], row["far"]) >= (100 if exact else 95), row
    assert len({row["recipe"] for row in results["recall"]}) == 3
