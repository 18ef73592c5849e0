"""How other photo search programs store and search the vectors of 100,000 photos, beside this one, in one run.

    python benchmarks/whole_programs.py --work FOLDER [--rclip PYTHON] [--clip-retrieval PYTHON]
                                        [--lightly-studio PYTHON] [--verb fill|ask|both] [--photos 100000]

Every program gets the same vectors (around centres, as in `peers.py`) with the path of a photo each, and the same
queries, half of them from no cluster, and gives the paths of the ten nearest. It does so by its own functions, in a
process of its own held to `--cpus` processors, one query after the other; only its model is left out. Ours is asked by
`Index.search`, with everything that a search for a text does beside its model: photos have no regions.

Measured are the time and memory to store the vectors and whatever index the program makes, its files, the first answer
(after the program was opened, and from the start of its process), and the time, processor time and memory of further
queries. `fill` can be left out once it was done; `whole_photos.py` compares the whole job of a program that can have a
model without a download.

Each PYTHON is an interpreter with that program; those of others never enter the project's own environment:

    python -m venv rclip;   rclip/bin/pip install rclip
    python -m venv clipr;   clipr/bin/pip install clip-retrieval
    python -m venv lightly; lightly/bin/pip install lightly-studio

Programs without an interpreter, and those that cannot be imported, are named and left out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import peers
from whole_programs_engines import PROGRAMS

OURS = "interleave-index"
QUERIES = 200
COLUMNS = (  # title, key of the figures, whether ours beside theirs is told
    ("stored in, processor s", "fill_cpu_s", True),
    ("most memory then, MB", "fill_peak_mb", False),
    ("files, MB", "files_mb", True),
    ("first answer, s, from the start", "start_s", False),
    ("its processor s", "start_cpu_s", False),
    ("first answer once open, s", "first_s", False),
    ("query: median, 99 %, ms", "p50_p99", False),
    ("processor ms a query", "cpu_ms", True),
    ("own memory, at most resident, MB", "memory", False),
    ("recall@10", "recall", False),
)


def make_data(work: Path, photos: int, dim: int) -> None:
    """Vectors, queries and true neighbours in the folder, made once.

    Raises:
        SystemExit: those that are there are of another size.
    """
    peers.QUERIES = QUERIES
    peers.make_data(work, photos, dim)
    shape = np.load(work / "vectors.npy", mmap_mode="r").shape
    if shape != (photos, dim):
        raise SystemExit(f"{work} holds {shape[0]} vectors of {shape[1]}, expected {photos} of {dim}; name another")


def told_by(name: str, verb: str, python: str | None, args: argparse.Namespace) -> dict[str, Any]:
    """What `whole_programs_engines.py` tells of a program; `start_s` is from the start of its process to its answer."""
    if python is None:
        return {"skipped": f"no --{name} given"}
    found = shutil.which(python)
    if found is None:
        return {"skipped": f"{python} cannot be run"}
    script = Path(__file__).with_name("whole_programs_engines.py")
    options = [str(args.work.resolve()), "--seconds", str(args.seconds), "--cpus", str(args.cpus)]
    # numpy, FAISS and DuckDB look at these, or at the processors that they may use, when they are loaded.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(args.cpus))
    began = time.time()
    done = subprocess.run(
        [os.path.abspath(found), str(script), name, verb, *options],
        capture_output=True,
        text=True,
        env={**os.environ, **threads},
        cwd=args.work,  # some write beside where they are started
    )
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["no words"])[-1][:300]}
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if answered := told.pop("answered", None):
        told["start_s"] = round(answered - began, 2)
    return told


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """Fill and ask the programs, in turn; what a fill took is kept in the folder."""
    pythons = {OURS: sys.executable}
    pythons |= {name: getattr(args, name.replace("-", "_")) for name in PROGRAMS if name != OURS}
    kept = args.work / "filled.json"
    filled = json.loads(kept.read_text()) if kept.is_file() else {}
    asked = {}
    for name in args.programs:
        if args.verb in ("fill", "both"):
            peers.note(f"{name}: storing")
            filled[name] = told_by(name, "fill", pythons[name], args)
            peers.note(f"{name}: {filled[name]}")
            kept.write_text(json.dumps(filled, indent=2))
    for name in args.programs:
        if args.verb in ("ask", "both"):
            if "fill_s" not in filled.get(name, {}):
                asked[name] = filled.get(name, {"skipped": "nothing was stored; use --verb fill"})
                continue
            asked[name] = told_by(name, "ask", pythons[name], args)
            peers.note(f"{name}: {asked[name]}")
    return {
        "machine": f"{platform.machine()}, {args.cpus} of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(),
        "photos": args.photos,
        "dim": args.dim,
        "programs": {name: together(filled.get(name, {}), asked.get(name, {})) for name in args.programs},
    }


def together(filled: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The figures of both parts, with those that the table shows in one cell."""
    told = {**filled, **asked}
    if "bytes" in told:
        told["files_mb"] = round(told["bytes"] / 1e6)
    if "p50_ms" in told:
        told["p50_p99"] = f"{told['p50_ms']:.3g}, {told['p99_ms']:.3g}"
        told["memory"] = f"{told['anonymous_mb']}, {told['peak_mb']}"
    return told


def table(results: dict[str, Any]) -> str:
    """A row a program; in brackets how many times ours the figure is."""
    own = results["programs"].get(OURS, {})
    lines = ["| program | " + " | ".join(title for title, _, _ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, told in results["programs"].items():
        if "skipped" in told:
            lines.append(f"| {name} | {told['skipped']} |" + " |" * (len(COLUMNS) - 1))
            continue
        cells = []
        for _, key, compared in COLUMNS:
            cell = str(told.get(key, "-"))
            if compared and name != OURS and told.get(key) and own.get(key):
                cell += f" ({told[key] / own[key]:.3g})"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of data and indexes, kept: 2 GB")
    for name in PROGRAMS:
        if name != OURS:
            parser.add_argument(f"--{name}", metavar="PYTHON", help=f"an interpreter with {name} installed")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--verb", choices=("fill", "ask", "both"), default="both")
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512, help="rclip knows 512 alone")
    parser.add_argument("--seconds", type=float, default=10.0, help="of asking, a program")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    make_data(args.work, args.photos, args.dim)
    results = measured(args)
    print(json.dumps(results) if args.json else f"{results['machine']}, {results['date']}\n\n{table(results)}")


if __name__ == "__main__":
    main()
