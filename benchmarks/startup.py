"""How long a search takes from the shell, beside importing torch and faiss alone.

    python benchmarks/startup.py --index DIR [--query dog] [--model NAME] [--runs 7]

Runs both in turn, prints the medians and their ratio; status 1 when a search takes more than twice the imports.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str]) -> float:
    """Wall time of one command, which must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> int:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", required=True)
    parser.add_argument("--query", default="dog")
    parser.add_argument("--model")
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    imports = [sys.executable, "-c", "import torch, faiss"]
    search = [str(Path(sys.executable).with_name("interleave-index")), "search", args.query, "--index", args.index]
    search += ["--model", args.model] if args.model else []
    pairs = [(seconds(imports), seconds(search)) for _ in range(args.runs + 1)]
    # the first pair warms the disk cache
    base, asked = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
    print(f"import torch, faiss   {base:.2f} s (median of {args.runs})")
    print(f"search {args.query!r:14} {asked:.2f} s")
    print(f"ratio                 {asked / base:.2f}, at most 2")
    return int(asked > 2 * base)


if __name__ == "__main__":
    sys.exit(main())
