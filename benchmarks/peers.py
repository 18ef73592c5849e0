"""How fast a million vectors are searched here and by other engines, at equal recall, on the same data in one run.

    python benchmarks/peers.py build --work FOLDER [--peers PYTHON] [--rows 1000000] [--dim 512]
    python benchmarks/peers.py ask   --work FOLDER [--peers PYTHON] [--seconds 10] [--rounds 2] [--cpus 1]

`build` draws the vectors around centres (as `search_100k.py` does, half of the queries from the same distribution and
half from none of its clusters), finds the true nearest by brute force, fills each engine, and finds the least effort
at which it gives 99 % of the true ten nearest. `ask` measures: one query after the other, then all at once where an
engine takes them so, each in a process of its own held to `--cpus` processors, the engines in turn, several rounds, of
which the best counts. It can be run again without building.

PYTHON is an interpreter with the peers; those of the project never enter its own environment:

    python -m venv peers
    peers/bin/pip install numpy pyarrow lancedb usearch qdrant-client pgserver "psycopg[binary]" pgvector

Engines that are missing are named and left out. qdrant's server is on no package index, so that only its client's
local mode is asked, which scores everything in Python; pgvector comes with PyPI's pgserver. FAISS searches the
index in our file, read into memory, with the same effort.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers_engines import ENGINES
from peers_plot import bars
from search_100k import World

HERE = ("ours", "ours, photos", "faiss")  # what runs in the interpreter of the project
QUERIES = 1000
KEPT = 40  # true nearest vectors, among which there are ten photos
CHUNK = 20_000


def note(line: str) -> None:
    """Print a line of progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def make_data(work: Path, rows: int, dim: int) -> None:
    """Vectors (fp16, as all engines get them), queries and true neighbours; made once a folder."""
    if (work / "truth.npy").is_file():
        return
    world = World(dim)
    vectors = np.lib.format.open_memmap(work / "vectors.npy", "w+", np.float16, (rows, dim))
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        vectors[start : start + n] = world.around(world.rng.choice(len(world.centres), n, p=world.weight))
    vectors.flush()
    inside = world.around(world.rng.choice(len(world.centres), QUERIES // 2, p=world.weight))
    queries = np.concatenate([inside, world.far(QUERIES - QUERIES // 2)])
    np.save(work / "queries.npy", queries)
    np.save(work / "truth.npy", true_nearest(vectors, queries))


def true_nearest(vectors: NDArray[np.float16], queries: NDArray[np.float32]) -> NDArray[np.int64]:
    """(Q, 40) positions of the nearest by inner product, by brute force."""
    best = np.full((len(queries), KEPT), -np.inf, np.float32)
    ids = np.full((len(queries), KEPT), -1)
    for start in range(0, len(vectors), CHUNK):
        scores = queries @ vectors[start : start + CHUNK].astype(np.float32).T
        some = np.argpartition(-scores, KEPT, axis=1)[:, :KEPT]
        best = np.hstack([best, np.take_along_axis(scores, some, 1)])
        ids = np.hstack([ids, some + start])
        order = np.argsort(-best, axis=1)[:, :KEPT]
        best, ids = np.take_along_axis(best, order, 1), np.take_along_axis(ids, order, 1)
    return ids


def engine(name: str, verb: str, args: argparse.Namespace, *more: str) -> dict[str, Any]:
    """What `peers_engines.py` tells of an engine."""
    if name not in HERE and args.peers is None:
        return {"skipped": "no --peers given"}
    python = sys.executable if name in HERE else str(args.peers)
    script = Path(__file__).with_name("peers_engines.py")
    # FAISS, numpy and Arrow look at these when they are loaded.
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.cpus), "LANCE_CPU_THREADS": str(args.cpus)}
    if verb == "build":
        environment = dict(os.environ)
    command = [python, str(script), name, verb, str(args.work), *more]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"skipped": (done.stderr.strip().splitlines() or ["no words"])[-1][:300]}
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Data and engines."""
    note("drawing vectors")
    make_data(args.work, args.rows, args.dim)
    results = {}
    for name in args.engines:
        note(f"building {name}")
        results[name] = engine(name, "build", args)
        note(f"{name}: {results[name]}")
    kept = args.work / "built.json"
    before = json.loads(kept.read_text()) if kept.is_file() else {}
    kept.write_text(json.dumps({**before, **results}, indent=2))
    return results


def ask(args: argparse.Namespace) -> dict[str, Any]:
    """One by one and all at once, in turn."""
    limits = ("--seconds", str(args.seconds), "--cpus", str(args.cpus))
    results: dict[str, dict[str, Any]] = {name: {} for name in args.engines}
    for verb in ("ask", "many"):
        for number in range(args.rounds if verb == "ask" else 1):
            for name in args.engines:
                told = engine(name, verb, args, *limits)
                note(f"{verb} {number + 1}, {name}: {told}")
                before = results[name].get(verb)
                if before is None or told.get("qps", 0) > before.get("qps", 0):
                    results[name][verb] = told
    return {
        "machine": f"{platform.machine()}, {args.cpus} of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}",
        "date": datetime.date.today().isoformat(),
        "rows": args.rows,
        "dim": args.dim,
        "engines": results,
    }


def table(results: dict[str, Any], built: dict[str, Any]) -> str:
    """The page's table; ratios are ours by theirs, by queries a second and by processor time."""
    own = results["engines"].get("ours", {}).get("ask", {})
    lines = [
        "| engine | recall@10 | QPS | p99 ms | processor ms a query | ours, by QPS | by processor time "
        "| all at once, QPS | build, processor s | disk MB |",
        "|---" * 10 + "|",
    ]
    for name, told in results["engines"].items():
        one, many, made = told.get("ask", {}), told.get("many", {}), built.get(name, {})
        if "skipped" in one:
            lines.append(f"| {name} | {one['skipped']} |" + " |" * 8)
            continue
        quick = round(own["qps"] / one["qps"], 2) if own.get("qps") else ""
        work = round(one["cpu_ms"] / own["cpu_ms"], 2) if own.get("cpu_ms") else ""
        shown = [name, one["recall"], one["qps"], one["p99_ms"], one["cpu_ms"], quick, work, many.get("qps", "-")]
        shown += [made.get("build_cpu_s", "-"), round(made["bytes"] / 1e6) if made.get("bytes") else "-"]
        lines.append("| " + " | ".join(map(str, shown)) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("build", "ask"))
    parser.add_argument("--work", type=Path, required=True, help="folder of data and indexes, kept: 15 GB")
    parser.add_argument("--peers", type=Path, help="an interpreter with the peers installed")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10.0, help="of asking, an engine and round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="an SVG file of queries a second by engine")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.verb == "build":
        print(json.dumps(build(args), indent=2))
        return
    results = ask(args)
    kept = args.work / "built.json"
    built = json.loads(kept.read_text()) if kept.is_file() else {}
    print(json.dumps(results) if args.json else f"{results['machine']}, {results['date']}\n\n{table(results, built)}")
    if args.plot:
        speeds = {name: told["ask"]["qps"] for name, told in results["engines"].items() if "qps" in told.get("ask", {})}
        args.plot.write_text(bars(speeds, "queries a second, one by one, recall@10 of .99", log=True))


if __name__ == "__main__":
    main()
