"""Recall of a library in parts that have inverted lists, beside that of one machine with lists over all of it.

    python -m benchmarks.cluster_lists [--photos 20000] [--parts 3] [--queries 40] [--json]

Vectors are drawn around some themes. Lists are built from `--flat-rows` rows on, in place of the size from which they
pay, so that parts of a small library have them. The parts are asked in this process, without Ray: what they answer is
the same. Every form of query is asked on the exact path of one machine, on its ann path, and on that of the parts;
recall is the share of the ten best photos that were found. Exits with 1 where the parts find less than is promised.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index.cluster.partition import Partition
from interleave_index.cluster.scatter import Scattered
from interleave_index.cluster.sharing import Asked, Moment, Reply
from interleave_index.geometry import unit
from interleave_index.grammar import Query
from interleave_index.query import engine
from interleave_index.query.calibration import of_library
from interleave_index.records import Not, PhotoFacts, PhotoRef, RegionRef, Space
from interleave_index.storage import calibrate, recipes
from interleave_index.storage.calibrate import PROMISE
from interleave_index.storage.store import Store

DIM, REGIONS, THEMES, TOP = 64, 6, 300, 10
AT_A_TIME = 2000  # photos that are written together


class Parts:
    """Parts of a catalog in this process; see `cluster.scatter.Parts`."""

    def __init__(self, catalog: str, count: int, folder: Path) -> None:
        self.count = count
        self.all = [Partition(catalog, number, count, folder / f"part-{number}") for number in range(count)]
        for part in self.all:
            part.follow()

    def ask(self, questions: Mapping[int, tuple[Moment, Asked]]) -> dict[int, Reply]:
        """See `cluster.scatter.Parts`."""
        return {number: self.all[number].ask(*question) for number, question in questions.items()}

    def recipes(self) -> list[dict[str, str]]:
        """What the files of each part are, by kind."""
        return [{row["kind"]: row["recipe"] for row in part._store.status()["generations"]} for part in self.all]

    def close(self) -> None:
        """Give them back."""
        for part in self.all:
            part.close()

    def library(self, store: Store, space_id: int) -> Scattered:
        """The library of a space in these parts."""
        return Scattered(store, space_id, self)


def fill(store: Store, space_id: int, photos: int) -> None:
    """Photos with regions around the themes."""
    rng = np.random.default_rng(0)
    themes = unit(rng.normal(size=(THEMES, DIM)).astype(np.float32))

    def around(*shape: int) -> Any:
        middle = themes[rng.integers(0, THEMES, shape)]
        return unit((middle + 0.9 * rng.normal(size=(*shape, DIM)) / DIM**0.5).astype(np.float32))

    for start in range(0, photos, AT_A_TIME):
        numbers = range(start, min(photos, start + AT_A_TIME))
        count = len(numbers)
        facts = [PhotoFacts(f"{number:064x}", 100, 80, "PNG") for number in numbers]
        flat, boxes = np.zeros((count, REGIONS), np.float32), np.zeros((count, REGIONS, 4), np.float32)
        store.write_encodings(space_id, facts, around(count), around(count, REGIONS), boxes, flat, flat)
    kept = of_library(store.null_sample(space_id, 512))
    store.save_calibration(space_id, replace(kept, stand_in=False).to_bytes())  # as an ingest does


def forms(photo: int, other: int, third: int) -> dict[str, Query]:
    """One query of every form whose candidates are found in a way of its own."""
    region, second = RegionRef(photo, 0), RegionRef(other, 1)
    return {
        "photo": Query(PhotoRef(photo)),
        "region": Query(region),
        "photo and region": Query(PhotoRef(photo), second),
        "two regions and a negative": Query(region, second, Not(RegionRef(third, 2))),
    }


def measure(store: Store, parts: Parts, queries: int) -> list[dict[str, Any]]:
    """Recall of both, and how many scores differ, by form of query."""
    rng = np.random.default_rng(1)
    ids, rows = store.encoded(1), []

    def ask(query: Query, **options: Any) -> dict[int, float]:
        found = engine.search(store, _no_model, query, load_picture=_no_model, top_k=TOP, **options)
        return {hit.photo.id: hit.score for hit in found}

    for name in forms(1, 2, 3):
        found, differ = {"one machine": 0, "parts": 0}, 0
        for _ in range(queries):
            query = forms(*(int(one) for one in rng.choice(ids, 3, replace=False)))[name]
            best = ask(query, mode="exact")
            together = ask(query, mode="ann", library=parts.library)
            found["one machine"] += len(best.keys() & ask(query, mode="ann").keys())
            found["parts"] += len(best.keys() & together.keys())
            differ += sum(together[photo] != best[photo] for photo in best.keys() & together.keys())
        recall = {who: round(count / (TOP * queries), 4) for who, count in found.items()}
        rows.append({"query": name, **recall, "other scores": differ})
    return rows


def _no_model(*_: object) -> Any:
    raise AssertionError("no model is asked for stored photos")


def main() -> int:
    """Fill both, ask both, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--queries", type=int, default=40, help="of each form")
    parser.add_argument("--flat-rows", type=int, default=2_000, help="rows up to which there are no lists")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    recipes.FLAT_ROWS, calibrate.WORTH = given.flat_rows, float("inf")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="interleave-lists-")))
        store = opened.enter_context(Store.open(folder / "whole", create=True))
        fill(store, store.ensure_space(Space("drawn", "0" * 64, "none", DIM)), given.photos)
        store.optimize(1)
        parts = Parts(store.name, given.parts, folder)
        opened.callback(parts.close)
        rows = measure(store, parts, given.queries)
        recipes_of_parts = parts.recipes()
    result = {"photos": given.photos, "parts": recipes_of_parts, "recall": rows}
    print(json.dumps(result) if given.json else "\n".join(map(str, [*recipes_of_parts, *rows])))
    return 0 if all(row["parts"] >= PROMISE and not row["other scores"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
