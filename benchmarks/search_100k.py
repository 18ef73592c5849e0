"""How fast and how true a search over 100,000 photos is, with made-up encodings that cluster as real ones do.

    python benchmarks/search_100k.py [--photos 100000] [--regions 12] [--dim 256] [--queries 120] [--threads 2]
                                     [--index FOLDER] [--json]

Writes the encodings with the bulk writer, optimizes, and measures in one run on the same cores:

* time to open the index and to answer the first query, in a process of its own;
* whole queries made of stored photos and regions, as `Index.search` runs them (ranking, relevance, masks): median and
  95th percentile by kind of query, with the processor time spent (on a machine that does other work too, the two
  differ), beside the time that an exact scan of every vector takes at best;
* the recall of every recipe against brute force: with and without filters, with photos forgotten and photos added
  since, for queries near the stored vectors, between two of them, and far from all.

Vectors are drawn around 2,000 centres of uneven size, with a spectrum that falls as that of learned embeddings does; a
photo's regions belong to a few of the centres that its subject draws from. Gaussian clusters flatter inverted lists, so
the far queries are the hard ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interleave_index.geometry import encode_rle, unit
from interleave_index.interface.calibration import KINDS as QUERY_KINDS
from interleave_index.interface.calibration import Calibration, Curve
from interleave_index.records import Filters, PhotoFacts, Space
from interleave_index.storage import calibrate, recipes, vectors
from interleave_index.storage.backend import load_faiss, set_threads
from interleave_index.storage.files import PHOTO_KINDS
from interleave_index.storage.store import Store

if TYPE_CHECKING:
    from interleave_index.query.candidates import Mode

Floats = NDArray[np.float32]
CENTRES = 2000
CHUNK = 10_000
OPEN = """
import json, sys, time
began = time.perf_counter()
from interleave_index.storage.store import Store
imported = time.perf_counter()
store = Store.open(sys.argv[1])
space, _ = store.active_space()
store.indexes(space)
opened = time.perf_counter()
print(json.dumps({"import_s": imported - began, "open_s": opened - imported}))
"""


class World:
    """The distribution that vectors are drawn from."""

    def __init__(self, dim: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.spectrum = (1 / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
        self.turn = np.linalg.qr(self.rng.normal(size=(dim, dim)))[0].astype(np.float32)
        self.centres = self._drawn(CENTRES)
        weight = np.arange(1, CENTRES + 1) ** -0.7
        self.weight = weight / weight.sum()
        self.subjects = self.rng.choice(CENTRES, (400, 30), p=self.weight)  # the centres that each subject draws from

    def _drawn(self, n: int) -> Floats:
        drawn: Floats = self.rng.standard_normal((n, len(self.spectrum)), np.float32) * self.spectrum
        return drawn

    def around(self, centres: NDArray[np.int64]) -> Floats:
        """One unit vector around each of these centres."""
        return unit((self.centres[centres] + 0.7 * self._drawn(len(centres))) @ self.turn)

    def photos(self, n: int, regions: int) -> tuple[NDArray[np.int64], Floats, Floats]:
        """Subjects (n,), image vectors (n, D) and region vectors (n, R, D)."""
        subjects = self.rng.integers(0, len(self.subjects), n)
        picked = self.subjects[subjects[:, None], self.rng.integers(0, 30, (n, regions))]
        found = self.around(picked.ravel()).reshape(n, regions, -1)
        image = unit(found.mean(1) + 0.5 * self.around(self.subjects[subjects, 0]))
        return subjects, image, found

    def far(self, n: int) -> Floats:
        """(n, D) unit vectors of no cluster."""
        return unit(self._drawn(n) @ self.turn)


def fill(store: Store, space: int, world: World, photos: int, regions: int, first: int = 0) -> NDArray[np.int64]:
    """Write photos; returns their subjects. The subject is the name of the camera, so that filters can cut by it."""
    subjects = []
    mask = encode_rle(np.tri(48, dtype=bool))
    for start in range(first, first + photos, CHUNK):
        n = min(CHUNK, first + photos - start)
        subject, image, found = world.photos(n, regions)
        facts = [
            PhotoFacts(f"{start + i:064x}", 1024, 768, "JPEG", camera=f"subject {subject[i]:03d}") for i in range(n)
        ]
        boxes = np.tile(np.array([0, 0, 512, 384], np.float32), (n, regions, 1))
        level = np.full((n, regions), 0.5, np.float32)
        store.write_encodings(space, facts, image, found, boxes, level, level, [[mask] * regions] * n)
        subjects.append(subject)
    return np.concatenate(subjects)


def opening(folder: Path) -> dict[str, float]:
    """The best of three openings in processes of their own."""
    runs = [
        json.loads(
            subprocess.run([sys.executable, "-c", OPEN, str(folder)], check=True, capture_output=True, text=True).stdout
        )
        for _ in range(3)
    ]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def encoded(store: Store, space: int) -> NDArray[np.int64]:
    """Ids of the photos that are in the space."""
    with store.reading() as connection:
        return vectors.encoded_ids(connection, space)


def note(line: str) -> None:
    """Print a line of progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


# --- whole queries ---------------------------------------------------------------------------


def parts(kind: str, ids: NDArray[np.int64], rng: np.random.Generator, regions: int) -> str:
    """A query of this kind from stored photos and regions."""
    photo, other, third = rng.choice(ids, 3, replace=False).tolist()
    part = int(rng.integers(0, max(regions, 1)))
    return {
        "photo": f"[photo:{photo}]",
        "region": f"[region:{photo}/{part}]",
        "photo + region": f"[photo:{photo}] [region:{other}/{part}]",
        "2 regions - region": f"[region:{photo}/{part}] [region:{other}/{part}] -[region:{third}/{part}]",
    }[kind]


def queries(store: Store, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Median and 95th percentile of whole queries, by kind and path."""
    from interleave_index.grammar import Query
    from interleave_index.query.engine import search

    def no_model(_source: object = None) -> Any:
        raise RuntimeError("a query of stored vectors asked for a model")

    active = store.active_space()
    rng, space = np.random.default_rng(1), active[0] if active else 0
    ids = encoded(store, space)
    results = []
    half = Filters(camera="subject 1")
    cases: list[tuple[Mode, str, Filters | None]] = [
        ("auto", "photo", None),
        ("auto", "region", None),
        ("auto", "photo + region", None),
        ("auto", "2 regions - region", None),
        ("auto", "photo + region", half),
        ("exact", "region", None),
    ]
    for mode, kind, filters in cases:
        times, work, path = [], [], ""
        for _ in range(args.queries + 3 if mode == "auto" else 8):
            asked = Query.parse(parts(kind, ids, rng, args.regions))
            began, spent = time.perf_counter(), time.process_time()
            answer = search(store, no_model, asked, top_k=10, filters=filters, load_picture=no_model, mode=mode)
            times.append(1000 * (time.perf_counter() - began))
            work.append(1000 * (time.process_time() - spent))
            path = answer.path
        del times[:3], work[:3]  # the first ones read the files and the null sample
        results.append(
            {
                "query": kind,
                "filter": "camera" if filters else "",
                "mode": mode,
                "path": path,
                "p50_ms": round(float(np.percentile(times, 50)), 2),
                "p95_ms": round(float(np.percentile(times, 95)), 2),
                "cpu_p50_ms": round(float(np.percentile(work, 50)), 2),
            }
        )
    return results


def bound(store: Store, space: int) -> dict[str, float]:
    """What one exact scan costs at best: all vectors by FAISS for one query, and reading as many bytes."""
    faiss, index = load_faiss(), store.indexes(space).region
    segment = index.tiers[0].segment if index.tiers else index.delta
    flat = recipes.new_index(recipes.Recipe(), index.dim)
    flat.add_sa_codes(np.ascontiguousarray(segment.codes), None)
    query = np.eye(index.dim, dtype=np.float32)[:1]
    scans, reads = [], []
    copy = np.array(segment.codes)
    words = copy.view(np.uint64)
    for _ in range(5):
        began = time.perf_counter()
        flat.search(query, 10)
        scans.append(time.perf_counter() - began)
        began = time.perf_counter()
        np.bitwise_or.reduce(words, axis=None)
        reads.append(time.perf_counter() - began)
    return {
        "exact_scan_ms": round(1000 * min(scans), 2),
        "read_ms": round(1000 * min(reads), 2),
        "megabytes": round(copy.nbytes / 1e6, 1),
        "threads": faiss.omp_get_max_threads(),
    }


# --- recall ----------------------------------------------------------------------------------


def truth(store: Store, space: int, kind: str, asked: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Photo of every living row, and the score of every query with it, by numpy alone from the catalog."""
    photos, scores = [], []
    with store.reading() as connection:
        for block in vectors.stream(connection, space, asked.shape[1]):
            rows = block.image if kind == "image" else block.regions
            photos.append(block.photo_ids if kind == "image" else np.repeat(block.photo_ids, block.counts))
            scores.append(asked @ rows.astype(np.float32).T)
    return np.concatenate(photos), np.concatenate(scores, 1)


def filters_of(store: Store, space: int, rng: np.random.Generator) -> Iterator[tuple[str, NDArray[np.int64] | None]]:
    """Filters that leave much or little, at random or by subject."""
    yield "none", None
    everyone = encoded(store, space)
    for share in (0.5, 0.1, 0.02):
        yield f"{share:.0%} at random", np.sort(rng.choice(everyone, int(share * len(everyone)), replace=False))
    for camera in ("subject 1", "subject 12"):
        chosen = store.eligible(space, Filters(camera=camera))
        if chosen is not None:
            yield f"by subject, {len(chosen) / len(everyone):.0%}", chosen


def recall(store: Store, space: int, world: World, per_kind: int, k: int = 10) -> list[dict[str, Any]]:
    """Share of the true k best that each index finds, by filter and kind of query."""
    results = []
    indexes = store.indexes(space)
    rng = np.random.default_rng(2)
    some = store.null_sample(space, 3 * per_kind)
    for kind in PHOTO_KINDS:
        rows = some.image if kind == "image" else some.regions[:: max(1, len(some.regions) // (3 * per_kind))]
        near = unit(rows[:per_kind] + 0.02 * rng.standard_normal((len(rows[:per_kind]), rows.shape[1])))
        mixed = unit(rows[:per_kind] + rows[-per_kind:])
        asked = np.concatenate([near, mixed, world.far(per_kind)])
        photos, scores = truth(store, space, kind, asked)
        for name, allowed in filters_of(store, space, rng):
            left = scores if allowed is None else scores[:, np.isin(photos, allowed)]
            kth_best = -np.partition(-left, k - 1, axis=1)[:, k - 1 : k] - 2e-6
            began = time.perf_counter()
            found = indexes.of(kind).search(asked, k, allowed)[0]
            spent = time.perf_counter() - began
            hits = (found >= kth_best).reshape(3, -1).mean(1)
            results.append(
                {
                    "kind": kind,
                    "recipe": indexes.of(kind).recipe,
                    "filter": name,
                    **dict(zip(("near", "mixed", "far"), (round(100 * float(hit), 2) for hit in hits), strict=True)),
                    "ms_a_query": round(1000 * spent / len(asked), 2),
                }
            )
    return results


def exact_difference(store: Store, space: int) -> float:
    """Largest difference between the exact path and brute force by numpy, over all photos."""
    asked = store.null_sample(space, 3).image
    worst = 0.0
    for kind in PHOTO_KINDS:
        photos, scores = truth(store, space, kind, asked)
        ids, best = store.indexes(space).of(kind).best(asked)
        starts = np.flatnonzero(np.diff(photos, prepend=-1))
        wanted = np.maximum.reduceat(scores, starts, axis=1).T
        if not np.array_equal(ids, photos[starts]):
            return float("inf")
        worst = max(worst, float(np.abs(best - wanted).max()))
    return worst


# --- the whole -------------------------------------------------------------------------------


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything, in order; the index is left in the folder."""
    world = World(args.dim)
    with Store.open(folder, create=True) as store:
        space = store.ensure_space(Space("synthetic", "0" * 64, "none", args.dim))
        note("writing")
        began = time.perf_counter()
        fill(store, space, world, args.photos, args.regions)
        write_s = time.perf_counter() - began
        bank = world.far(300)
        curves = dict.fromkeys(QUERY_KINDS, Curve(8.0, -4.0, 0.25, 12.0, -0.5, -3.0, 0.5))
        store.save_calibration(space, Calibration(bank, bank, bank, bank, curves).to_bytes())
        note("optimizing")
        began = time.perf_counter()
        made = store.optimize(space)
        optimize_s = time.perf_counter() - began
    note("opening")
    results: dict[str, Any] = {
        "photos": args.photos,
        "regions": args.photos * args.regions,
        "dim": args.dim,
        "threads": args.threads,
        "write_photos_per_s": round(args.photos / write_s),
        "optimize_s": round(optimize_s, 1),
        "files_mb": {row.kind: round(row.bytes / 1e6, 1) for row in made},
        "catalog_mb": round(sum(path.stat().st_size for path in folder.glob("catalog.sqlite*")) / 1e6, 1),
        "opening": opening(folder),
    }
    with Store.open(folder) as store:
        note("asking")
        results["queries"] = queries(store, args)
        results["bound"] = bound(store, space)
        results["exact_path_difference"] = exact_difference(store, space)
        note("recall")
        results["recall"] = every_recall(store, space, world, args)
        note("verify")
        results["verify"] = all(check.ok for check in store.verify())
    return results


def every_recall(store: Store, space: int, world: World, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Recall of both recipes for both kinds, whatever the size would choose, after 3 % came and 3 % went."""
    results = []
    rng = np.random.default_rng(3)
    few = max(1, args.photos * 3 // 100)
    fresh, before = args.photos, recipes.FLAT_ROWS
    for flat_rows in (1 << 60, 0):
        recipes.FLAT_ROWS = flat_rows
        if any(made.after for made in store.optimize(space)):
            store.optimize(space)  # that was a fold; this makes one file of all
        store.forget(rng.choice(encoded(store, space), few, replace=False).tolist())
        fill(store, space, world, few, args.regions, first=fresh)
        fresh += few
        results += recall(store, space, world, args.recall_queries)
    recipes.FLAT_ROWS = before
    return results


def table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys, as a Markdown table."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="speed and recall of a search over many photos")
    for name, default in (
        ("photos", 100_000),
        ("regions", 12),
        ("dim", 256),
        ("queries", 120),
        ("recall-queries", 50),
        ("threads", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--index", type=Path, help="folder to keep the index in; a temporary one by default")
    parser.add_argument(
        "--worth",
        type=float,
        default=calibrate.WORTH,
        help="largest share of an exact scan that an inverted index may cost; tests raise it",
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    set_threads(args.threads)
    calibrate.WORTH = args.worth
    folder = args.index or Path(tempfile.mkdtemp(prefix="search-100k-"))
    try:
        results = measure(args, folder)
    finally:
        if args.index is None:
            shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps(results))
        return
    print(table([{key: value for key, value in results.items() if not isinstance(value, (list, dict))}]), "\n")
    for key in ("files_mb", "opening", "bound"):
        print(f"{key}: {results[key]}")
    print("\n" + table(results["queries"]) + "\n\n" + table(results["recall"]))


if __name__ == "__main__":
    main()
