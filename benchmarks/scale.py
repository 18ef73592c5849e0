"""How speed, memory and recall of searches grow with a library: 10^5 and 10^6 photos with 12 regions each.

    python benchmarks/scale.py --work FOLDER --real FOLDER_OR_PACK... [--sizes 100000 1000000] [--queries 100]
                               [--threads 2] [--json]

A library is made once a size and kept in FOLDER (`scale_library.py`: made of the vectors of real photos; about 16 GB
for 10^6). Measured, each in a process of its own:

* `optimize`: seconds, processor seconds, and the peak of anonymous memory;
* whole queries by stored vectors, as `Index.search` runs them with masks, with and without filters: median and 99th
  percentile of wall and of processor time, anonymous memory, and the recall of the ten best photos by the full score
  against the exact path, which scores every photo;
* bounds in the same run: reading the codes once, FAISS' own exact scan, the exact path, many queries at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scale_library import SHARES, World, compared, encode, fill, note

from interleave_index.grammar import Query
from interleave_index.query.engine import search
from interleave_index.records import Filters
from interleave_index.storage.backend import load_faiss, set_threads
from interleave_index.storage.store import Store
from interleave_index.threads import spin_briefly

Ids = NDArray[np.int64]
KINDS = ("photo", "region", "photo + region", "2 regions - region")
TOP = 10


def anonymous_mb() -> float:
    """Anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1e3
    return 0.0


def clocked(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call gives, its wall and its processor milliseconds."""
    wall, work = time.perf_counter(), time.process_time()
    given = call()
    return given, 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - work)


def no_model(_source: object = None) -> Any:
    """Stands where a model would: queries of stored vectors need none."""
    raise RuntimeError("a query of stored vectors asked for a model")


def query_of(kind: str, ids: Ids, rng: np.random.Generator, regions: int) -> Query:
    """A query of this kind from stored photos and regions."""
    photo, other, third = rng.choice(ids, 3, replace=False).tolist()
    part = int(rng.integers(0, regions))
    return Query.parse(
        {
            "photo": f"[photo:{photo}]",
            "region": f"[region:{photo}/{part}]",
            "photo + region": f"[photo:{photo}] [region:{other}/{part}]",
            "2 regions - region": f"[region:{photo}/{part}] [region:{other}/{part}] -[region:{third}/{part}]",
        }[kind]
    )


def active_id(store: Store) -> int:
    """Id of the space that searches use."""
    active = store.active_space()
    if active is None:
        raise RuntimeError(f"{store.folder} is empty")
    return active[0]


def optimized(folder: Path, threads: int) -> dict[str, Any]:
    """`Store.optimize` of a library."""
    set_threads(threads)
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with Store.open(folder) as store:
        space = active_id(store)
        made, wall, work = clocked(lambda: store.optimize(space))
    done.set()
    watcher.join()
    return {
        "seconds": round(wall / 1000, 1),
        "processor_s": round(work / 1000, 1),
        "anonymous_peak_mb": round(peak[0]),
        "files": {row.kind: [row.recipe.factory, round(row.bytes / 1e6)] for row in made},
        "recall_of_lists": {row.kind: row.recipe.recall for row in made},
    }


def served(folder: Path, queries: int, checked: int, threads: int, regions: int) -> dict[str, Any]:
    """Whole queries, their recall, and the bounds."""
    set_threads(threads)
    rng = np.random.default_rng(1)
    with Store.open(folder) as store:
        space = active_id(store)
        _, opening, _ = clocked(lambda: store.indexes(space))
        ids = store.encoded(space)

        def ask(query: Query, mode: Any, filters: Filters | None) -> list[int]:
            answer = search(store, no_model, query, top_k=TOP, filters=filters, load_picture=no_model, mode=mode)
            return [hit.photo.id for hit in answer]

        rows = []
        cases: list[tuple[str, str, Filters | None]] = [(kind, "none", None) for kind in KINDS]
        cases += [(kind, name, Filters(camera=name)) for name in SHARES for kind in KINDS[1::2]]
        cases += [("photo + region", "one season", Filters(after="2000-01-01", before="2000-02-01"))]
        for kind, name, filters in cases:
            asked = [query_of(kind, ids, rng, regions) for _ in range(queries if filters is None else queries // 2)]
            ask(asked[0], "auto", filters)  # a filter is run in SQL once, and kept until the catalog changes
            told = [clocked(lambda query=query, filters=filters: ask(query, "auto", filters)) for query in asked]  # type: ignore[misc]
            rows.append(_row(kind, name, told))
            if checked:
                few = [(query, found) for query, (found, _, _) in zip(asked, told, strict=True)][:checked]
                kept = [len(set(found) & set(ask(query, "exact", filters))) for query, found in few]
                truth = sum(min(TOP, len(found)) for _, found in few)
                rows[-1]["recall@10"] = round(sum(kept) / max(truth, 1), 4)
            note(str(rows[-1]))
        anonymous = anonymous_mb()
        bounds = _bounds(store, space, [query_of("2 regions - region", ids, rng, regions) for _ in range(8)])
    return {"open_ms": round(opening), "anonymous_mb": round(anonymous), "queries": rows, **bounds}


def _row(kind: str, name: str, told: list[tuple[Any, float, float]]) -> dict[str, Any]:
    wall, work = (np.array([one[column] for one in told]) for column in (1, 2))
    return {
        "query": kind,
        "filter": name,
        "p50_ms": round(float(np.percentile(wall, 50)), 1),
        "p99_ms": round(float(np.percentile(wall, 99)), 1),
        "cpu_p50_ms": round(float(np.percentile(work, 50)), 1),
    }


def _bounds(store: Store, space: int, asked: list[Query]) -> dict[str, Any]:
    """What reading all codes takes, FAISS' own exact scan of the regions, and the exact path, in this process."""
    indexes = store.indexes(space)
    codes = [tier.segment.codes for index in (indexes.image, indexes.region) for tier in index.tiers]
    segment = indexes.region.tiers[0].segment if indexes.region.tiers else indexes.region.delta
    exact = load_faiss().downcast_index(segment.index.refine_index) if segment.recipe.coarse else segment.index

    def read() -> None:
        for some in codes:
            for start in range(0, len(some), 1 << 16):
                np.bitwise_or.reduce(some[start : start + (1 << 16)].view(np.uint64), axis=None)

    def whole(query: Query) -> Any:
        return search(store, no_model, query, top_k=TOP, load_picture=no_model, mode="exact")

    one = np.eye(indexes.region.dim, dtype=np.float32)[:1]
    reading = [clocked(read) for _ in range(5)]
    scans = [clocked(lambda: exact.search(one, TOP)) for _ in range(3)]
    exacts = [clocked(lambda query=query: whole(query)) for query in asked]  # type: ignore[misc]
    best = {
        name: [min(line[column] for line in lines) for column in (1, 2)]
        for name, lines in (("read", reading), ("faiss", scans), ("exact", exacts))
    }
    return {
        "read_codes_ms": [round(value) for value in best["read"]],
        "faiss_scan_ms": [round(value) for value in best["faiss"]],
        "exact_path_ms": [round(value) for value in best["exact"]],
        "exact_path_by_reading": round(best["exact"][1] / best["read"][1], 2),
        "code_mb": round(sum(some.nbytes for some in codes) / 1e6),
    }


def apart(call: Callable[..., Any], *given: Any) -> Any:
    """What a call gives in a process of its own, so that memory is its alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, given)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything, size by size."""
    args.work.mkdir(parents=True, exist_ok=True)
    real = encode(args.real, args.photos, args.work / "real.npz")
    results: dict[str, Any] = {"neighbourhoods": compared(real, World(real)), "threads": args.threads}
    for size in args.sizes:
        folder = args.work / str(size)
        if not (folder / "catalog.sqlite").is_file():
            note(f"writing {size} photos")
            fill(folder, World(real, seed=size), size, args.regions)
        result: dict[str, Any] = {"load": os.getloadavg()[0]}
        if not args.only_queries:
            note(f"optimizing {size} photos")
            result["optimize"] = apart(optimized, folder, args.threads)
        note(f"asking {size} photos")
        result.update(apart(served, folder, args.queries, args.checked, args.threads, args.regions))
        results[str(size)] = result
    return results


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys, as a Markdown table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="how searches grow with a library")
    parser.add_argument("--work", type=Path, required=True, help="folder for libraries, which are kept")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of photos, and packs")
    parser.add_argument("--photos", type=int, default=1024, help="real photos that are encoded")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--regions", type=int, default=12)
    parser.add_argument("--queries", type=int, default=100, help="of each kind")
    parser.add_argument("--checked", type=int, default=25, help="of them compared with the exact path")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-queries", action="store_true", help="take libraries and FAISS files as they are")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    spin_briefly()  # in the processes that measure, as the command line does
    results = measure(args)
    if args.json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        rows = value.pop("queries", None) if isinstance(value, dict) else None
        print(f"\n{name}: {json.dumps(value)}")
        if rows:
            print("\n" + table(rows))


if __name__ == "__main__":
    main()
