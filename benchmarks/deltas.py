"""What a delta, removals and further FAISS files cost: the same queries of one library in several states, in one run.

    python benchmarks/deltas.py --library FOLDER --real real.npz [--share 0.05] [--queries 40] [--rounds 5] [--json]

FOLDER is a library of `scale_library.py` with its FAISS files, such as `scale.py` leaves in FOLDER/100000; a copy of it
is worked on. The states, each a copy:

* as it is: one file a kind;
* delta: 5 % of its photos came since;
* folded: the same, after `optimize`: two files a kind;
* removed: 5 % of its photos were taken out, at random;
* both: the folded one with 5 % taken out and another 1 % that came since.

Every state answers the same queries by stored vectors of photos that are in all of them, in turns, so that a machine
with other work disturbs all alike. Reported are the medians of the processor time of a query, by its state's and the
first state's; what the fold took, beside a rebuild of everything; and, per state, the recall of the ten best photos
against the path that scores every photo.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scale import KINDS, TOP, active_id, clocked, no_model, query_of, table
from scale_library import World, encode, note

from interleave_index.geometry import encode_rle
from interleave_index.grammar import Query
from interleave_index.query.engine import search
from interleave_index.records import PhotoFacts
from interleave_index.storage.backend import set_threads
from interleave_index.storage.store import Store

Ids = NDArray[np.int64]
REGIONS = 12


def add(store: Store, world: World, count: int, first: int) -> None:
    """Write so many made-up photos."""
    space = active_id(store)
    _, image, regions = world.photos(count, REGIONS)
    mask = encode_rle(np.tri(48, dtype=bool))
    boxes = np.tile(np.array([0, 0, 512, 384], np.float32), (count, REGIONS, 1))
    level = np.full((count, REGIONS), 0.5, np.float32)
    facts = [PhotoFacts(f"{first + i:x}".rjust(64, "d"), 1024, 768, "JPEG") for i in range(count)]
    store.write_encodings(space, facts, image, regions, boxes, level, level, [[mask] * REGIONS] * count)


def states(library: Path, work: Path, world: World, share: float) -> tuple[dict[str, Path], dict[str, Any]]:
    """A folder a state, and what folding took."""
    with Store.open(library) as store:
        space = active_id(store)
        ids = store.encoded(space)
    count = round(share * len(ids))
    gone = np.sort(np.random.default_rng(3).choice(ids[1::2], count, replace=False)).tolist()
    folders = {"as it is": work / "plain"}
    shutil.copytree(library, folders["as it is"])

    def changed(name: str, source: str, change: Any) -> None:
        folders[name] = work / name
        shutil.copytree(folders[source], folders[name])
        with Store.open(folders[name]) as store:
            change(store)
        note(f"made: {name}")

    took: dict[str, Any] = {}

    def fold(store: Store) -> None:
        made, wall, processor = clocked(lambda: store.optimize(space))
        rows = {row.kind: row.rows for row in made}
        took["fold"] = {"rows": rows, "seconds": round(wall / 1000, 1), "processor_s": round(processor / 1000, 1)}

    changed("delta", "as it is", lambda store: add(store, world, count, 0))
    changed("folded", "delta", fold)
    changed("removed", "as it is", lambda store: store.forget(gone))

    def both(store: Store) -> None:
        store.forget(gone)
        add(store, world, count // 5, count)

    changed("both", "folded", both)
    return folders, took


def asked(ids: Ids, queries: int) -> dict[str, list[Query]]:
    """Queries of photos that no state takes out: those at even places."""
    rng = np.random.default_rng(1)
    return {kind: [query_of(kind, ids[::2], rng, REGIONS) for _ in range(queries)] for kind in KINDS}


def measured(folders: dict[str, Path], queries: int, rounds: int, checked: int) -> list[dict[str, Any]]:
    """A row a kind of query and state."""
    rows = []
    with ExitStack() as stack:
        stores = {name: stack.enter_context(Store.open(folder)) for name, folder in folders.items()}
        first = stores["as it is"]
        for kind, some in asked(first.encoded(active_id(first)), queries).items():
            work: dict[str, list[list[float]]] = {name: [[] for _ in some] for name in stores}
            for turn in range(rounds + 1):
                for place, query in enumerate(some):
                    for name, store in stores.items():
                        _, _, took = clocked(lambda store=store, query=query: _best(store, query, "auto"))
                        if turn:  # the first one opens files and compiles
                            work[name][place].append(took)
            typical = {name: float(np.median([min(times) for times in of])) for name, of in work.items()}
            for name, store in stores.items():
                kept = [len(set(_best(store, one, "auto")) & set(_best(store, one, "exact"))) for one in some[:checked]]
                rows.append(
                    {
                        "query": kind,
                        "state": name,
                        "cpu_ms": round(typical[name], 1),
                        "by the first": round(typical[name] / typical["as it is"], 3),
                        "recall@10": round(sum(kept) / (TOP * max(1, len(kept))), 4),
                    }
                )
                note(str(rows[-1]))
    return rows


def _best(store: Store, query: Query, mode: Any) -> list[int]:
    found = search(store, no_model, query, top_k=TOP, load_picture=no_model, mode=mode)
    return [hit.photo.id for hit in found]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="what deltas, removals and further files cost a query")
    parser.add_argument("--library", type=Path, required=True, help="a library of scale_library.py with FAISS files")
    parser.add_argument("--real", type=Path, required=True, help="the vectors that it was made of")
    parser.add_argument("--share", type=float, default=0.05, help="of the photos that come, and that go")
    parser.add_argument("--queries", type=int, default=40, help="of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checked", type=int, default=20, help="queries of a kind whose recall is measured")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    set_threads(args.threads)
    world = World(encode([], 0, args.real), seed=4)
    with tempfile.TemporaryDirectory(dir=args.library.parent) as work:
        began = time.perf_counter()
        folders, took = states(args.library, Path(work), world, args.share)
        rows = measured(folders, args.queries, args.rounds, args.checked)
        took["seconds in all"] = round(time.perf_counter() - began)
    if args.json:
        print(json.dumps({**took, "queries": rows}))
    else:
        print(json.dumps(took) + "\n\n" + table(rows))


if __name__ == "__main__":
    main()
