"""One engine of `peers.py` at work, in the interpreter where it is installed: filled once, then asked.

    python benchmarks/peers_engines.py ENGINE build|ask|many WORK [--seconds 10] [--cpus 1]

Imports numpy alone until an engine is named, so that it runs where this project is not installed. The last line of its
output is JSON; an engine that is not installed gives {"skipped": why}.

`build` fills the engine with the vectors of WORK and tries its efforts in turn until the share of the true ten
nearest reaches the wanted recall; what that took is kept in WORK. `ask` asks one query after the other at that effort.
`many` gives all queries at once, where the engine takes them so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TOP = 10
WANTED = 0.99
CHUNK = 50_000
A_PHOTO = 12
GRAPHS = 4  # of lancedb
Effort = list[float]


class Engine(ABC):
    """What is measured of an engine; `folder` is its own."""

    needs: tuple[str, ...] = ()
    efforts: tuple[Effort, ...] = ([],)
    tried = 300  # queries that an effort is tried with

    def __init__(self, work: Path) -> None:
        self.work = work
        self.folder = work / type(self).__name__.lower()
        self.folder.mkdir(exist_ok=True)

    def build(self, vectors: Any) -> None:  # noqa: B027
        """Take (N, D) fp16 vectors in, with their positions as ids; an engine that keeps no files does so in `open`."""

    @abstractmethod
    def open(self) -> None:
        """Make ready to be asked."""

    @abstractmethod
    def search(self, query: Any, effort: Effort) -> Any:
        """Ids of the ten nearest to one (D,) float32 query by inner product, nearest first."""

    def search_many(self, queries: Any, effort: Effort) -> Any:
        """Ids (Q, 10) of many queries given at once; None where the engine takes one at a time."""
        return None

    def truth(self, rows: Any) -> Any:
        """(Q, 10) ids that are to be found, of the (Q, n) nearest vectors."""
        return rows[:, :TOP]

    def processes(self) -> list[int]:
        """Other processes whose work is this engine's."""
        return []

    def close(self) -> None:  # noqa: B027
        """End what was started."""


class Ours(Engine):
    """The index of regions of a store, by `VectorIndex.search`: effort and promise are its own.

    A photo has `A_PHOTO` of the vectors as its regions.
    """

    needs = ("interleave_index",)

    def build(self, vectors: Any) -> None:
        from interleave_index.records import PhotoFacts, Space
        from interleave_index.storage.store import Store

        with Store.open(self.folder, create=True) as store:
            space = store.ensure_space(Space("peers", "0" * 64, "none", vectors.shape[1]))
            step = A_PHOTO * (CHUNK // A_PHOTO)
            for start in range(A_PHOTO * len(store.encoded(space)), len(vectors), step):
                some = vectors[start : start + step].astype(np.float32)
                regions = np.split(some, range(A_PHOTO, len(some), A_PHOTO))
                facts = [PhotoFacts(f"{start + i:064x}", 1024, 768, "JPEG") for i in range(len(regions))]
                boxes = [np.tile(np.array([0, 0, 9, 9], np.float32), (len(rows), 1)) for rows in regions]
                level = [np.full(len(rows), 0.5, np.float32) for rows in regions]
                store.write_encodings(space, facts, some[::A_PHOTO], regions, boxes, level, level)
            store.optimize(space, kinds=("image", "region"))

    def open(self) -> None:
        from interleave_index.storage.store import Store

        self.store = Store.open(self.folder)
        active = self.store.active_space()
        if active is None:
            raise SystemExit(f"{self.folder} holds nothing")
        self.index = self.store.indexes(active[0]).region
        self.first = int(self.store.encoded(active[0])[0])
        self._tell_faiss()

    def _tell_faiss(self) -> None:
        """What bare FAISS is to be given."""
        from interleave_index.storage import generations

        with self.store.reading() as connection:
            row = next(row for row in generations.live(connection) if row.kind == "region")
        recipe, effort = row.recipe, [0, 0]
        if recipe.coarse:
            effort = [recipe.effort(TOP).nprobe, recipe.effort(TOP).candidates]
        file = next(self.folder.rglob(row.file))
        told = {"factory": recipe.factory, "effort": effort, "file": str(file), "promised": recipe.recall}
        (self.work / "recipe.json").write_text(json.dumps(told))

    def _positions(self, ids: Any) -> Any:
        return (ids // 256 - self.first) * A_PHOTO + ids % 256

    def search(self, query: Any, effort: Effort) -> Any:
        return self._positions(self.index.search(query[None], TOP)[1][0])

    def search_many(self, queries: Any, effort: Effort) -> Any:
        return self._positions(self.index.search(queries, TOP)[1])

    def close(self) -> None:
        self.store.close()


class Photos(Ours):
    """The same store as queries ask it: photos by their best regions, then exact scores of those."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.filled = work / "ours"

    def build(self, vectors: Any) -> None:
        """It is that of `Ours`."""

    def open(self) -> None:
        self.folder, own = self.filled, self.folder
        super().open()
        self.folder = own

    def truth(self, rows: Any) -> Any:
        found = []
        for line in rows // A_PHOTO:
            found.append(line[np.sort(np.unique(line, return_index=True)[1])][:TOP])
        return np.stack(found)

    def search(self, query: Any, effort: Effort) -> Any:
        asked = query[None]
        near = self.index.nearest_photos(asked, TOP)[0]
        ids, scores = self.index.best(asked, np.sort(near.photo_ids))
        return ids[np.argsort(-scores[:, 0], kind="stable")[:TOP]] - self.first

    def search_many(self, queries: Any, effort: Effort) -> Any:
        return None


class Faiss(Engine):
    """Bare FAISS over the index in our file, read into memory, with the effort that the file was measured to need."""

    needs = ("faiss",)

    def open(self) -> None:
        import faiss

        self.faiss = faiss
        told = json.loads((self.work / "recipe.json").read_text())
        self.index, self.effort = faiss.read_index(told["file"]), told["effort"]

    def _parameters(self) -> Any:
        if not self.effort[0]:
            return None
        inner = self.faiss.SearchParametersIVF(nprobe=self.effort[0])
        return self.faiss.IndexRefineSearchParameters(k_factor=self.effort[1] / TOP, base_index_params=inner)

    def search(self, query: Any, effort: Effort) -> Any:
        return self.index.search(query[None], TOP, params=self._parameters())[1][0]

    def search_many(self, queries: Any, effort: Effort) -> Any:
        return self.index.search(queries, TOP, params=self._parameters())[1]


class Lancedb(Engine):
    """lancedb with inverted lists of product codes and exact vectors behind them."""

    needs = ("lancedb", "pyarrow")
    kind = "IVF_PQ"
    efforts = tuple([float(probes), float(refine)] for probes in (8, 16, 32, 64, 128, 256) for refine in (10, 20))

    def build(self, vectors: Any) -> None:
        import lancedb
        import pyarrow as pa

        dim = vectors.shape[1]

        def batches() -> Any:
            for start in range(0, len(vectors), CHUNK):
                some = vectors[start : start + CHUNK].astype(np.float32)
                column = pa.FixedSizeListArray.from_arrays(pa.array(some.ravel()), dim)
                ids = pa.array(np.arange(start, start + len(some)))
                yield pa.RecordBatch.from_arrays([ids, column], ["id", "vector"])

        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
        table = lancedb.connect(str(self.folder)).create_table("rows", batches(), schema=schema, mode="overwrite")
        sizes = self.sizes(*vectors.shape)
        table.create_index(metric="dot", vector_column_name="vector", index_type=self.kind, **sizes)

    @staticmethod
    def sizes(rows: int, dim: int) -> dict[str, int]:
        """As many lists as our file has, and a byte of product code for four dimensions."""
        return {"num_partitions": 2 ** round(np.log2(rows**0.5)), "num_sub_vectors": dim // 4}

    def open(self) -> None:
        import lancedb

        self.table = lancedb.connect(str(self.folder)).open_table("rows")

    def search(self, query: Any, effort: Effort) -> Any:
        probes, refine = map(int, effort)
        asked = self.table.search(query).distance_type("dot").nprobes(probes).refine_factor(refine)
        return asked.select(["id"]).limit(TOP).to_arrow()["id"].to_numpy()


class LancedbGraph(Lancedb):
    """lancedb with a graph over scalar codes in each of a few inverted lists."""

    kind = "IVF_HNSW_SQ"
    efforts = tuple([float(ef), 4.0] for ef in (40, 80, 160, 320, 640))

    @staticmethod
    def sizes(rows: int, dim: int) -> dict[str, int]:
        """Few lists, all of which are searched."""
        return {"num_partitions": GRAPHS}

    def search(self, query: Any, effort: Effort) -> Any:
        asked = (
            self.table.search(query).distance_type("dot").nprobes(4).ef(int(effort[0])).refine_factor(int(effort[1]))
        )
        return asked.select(["id"]).limit(TOP).to_arrow()["id"].to_numpy()


class Usearch(Engine):
    """usearch: one graph over fp16 vectors."""

    needs = ("usearch",)
    efforts = tuple([float(width)] for width in (32, 64, 128, 256, 512, 1024))

    def build(self, vectors: Any) -> None:
        from usearch.index import Index

        index = Index(ndim=vectors.shape[1], metric="ip", dtype="f16")
        for start in range(0, len(vectors), CHUNK):
            some = np.ascontiguousarray(vectors[start : start + CHUNK])
            index.add(np.arange(start, start + len(some)), some)
        index.save(str(self.folder / "index.usearch"))

    def open(self) -> None:
        from usearch.index import Index

        self.index = Index.restore(str(self.folder / "index.usearch"))

    def search(self, query: Any, effort: Effort) -> Any:
        self.index.expansion_search = int(effort[0])
        return self.index.search(query, TOP, threads=1).keys

    def search_many(self, queries: Any, effort: Effort) -> Any:
        self.index.expansion_search = int(effort[0])
        return self.index.search(queries, TOP, threads=len(os.sched_getaffinity(0))).keys


class Qdrant(Engine):
    """qdrant-client without a server, which scores every vector by numpy."""

    needs = ("qdrant_client",)
    tried = 5

    def open(self) -> None:
        from qdrant_client import QdrantClient, models

        vectors = np.load(self.work / "vectors.npy", mmap_mode="r")
        self.client = QdrantClient(":memory:")
        size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
        self.client.create_collection("rows", vectors_config=size)
        for start in range(0, len(vectors), 10_000):
            some = vectors[start : start + 10_000].astype(np.float32)
            ids = list(range(start, start + len(some)))
            self.client.upsert("rows", models.Batch(ids=ids, vectors=some.tolist()))

    def search(self, query: Any, effort: Effort) -> Any:
        found = self.client.query_points("rows", query=query.tolist(), limit=TOP).points
        return np.array([point.id for point in found])


class Pgvector(Engine):
    """pgvector with inverted lists, in the PostgreSQL that PyPI's pgserver brings along."""

    needs = ("pgserver", "psycopg", "pgvector")
    efforts = tuple([float(probes)] for probes in (4, 8, 16, 32, 64, 128, 256))
    index = "CREATE INDEX ON rows USING ivfflat (vector vector_ip_ops) WITH (lists = 1000)"

    backend = 0

    def _connect(self) -> Any:
        import pgserver
        import psycopg
        from pgvector.psycopg import register_vector

        self.server = pgserver.get_server(str(self.folder.resolve()))
        connection = psycopg.connect(self.server.get_uri(), autocommit=True)
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        return connection

    def build(self, vectors: Any) -> None:
        connection = self._connect()
        connection.execute("DROP TABLE IF EXISTS rows")
        connection.execute(f"CREATE TABLE rows (id int, vector vector({vectors.shape[1]}))")
        with connection.cursor().copy("COPY rows FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "vector"])
            for start in range(0, len(vectors), CHUNK):
                for i, row in enumerate(vectors[start : start + CHUNK].astype(np.float32)):
                    copy.write_row([start + i, row])
        connection.execute("SET maintenance_work_mem = '2GB'")
        connection.execute(self.index)
        connection.execute("ANALYZE rows")
        connection.close()

    def open(self) -> None:
        self.connection = self._connect()
        self.connection.execute("SET max_parallel_workers_per_gather = 0")
        self.backend = self.connection.info.backend_pid
        self.setting: float | None = None

    def search(self, query: Any, effort: Effort) -> Any:
        if self.setting != effort[0]:
            self.connection.execute(f"SET ivfflat.probes = {int(effort[0])}")
            self.setting = effort[0]
        found = self.connection.execute("SELECT id FROM rows ORDER BY vector <#> %s LIMIT 10", (query,)).fetchall()
        return np.array([row[0] for row in found])

    def processes(self) -> list[int]:
        return [self.backend] if self.backend else [self.server.get_pid()]

    def close(self) -> None:
        self.connection.close()
        self.server.cleanup()


ENGINES: dict[str, type[Engine]] = {
    "ours": Ours,
    "ours, photos": Photos,
    "faiss": Faiss,
    "lancedb": Lancedb,
    "lancedb, graph": LancedbGraph,
    "usearch": Usearch,
    "qdrant-client": Qdrant,
    "pgvector": Pgvector,
}


# --- measuring -------------------------------------------------------------------------------


def spent(others: list[int]) -> float:
    """Processor seconds of this process and of some others so far."""
    total = time.process_time()
    for pid in others:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its own and of children that have ended
    return total


def recall(found: Any, truth: Any) -> float:
    """Share of the true ten nearest among what was found."""
    kept = [len(set(line) & set(wanted)) for line, wanted in zip(found.tolist(), truth.tolist(), strict=True)]
    return sum(kept) / (TOP * len(kept))


def answers(engine: Engine, queries: Any, effort: Effort) -> Any:
    """Ids (Q, 10), one query after the other."""
    lines = [np.asarray(engine.search(query, effort), np.int64)[:TOP] for query in queries]
    return np.stack([np.pad(line, (0, TOP - len(line)), constant_values=-1) for line in lines])


def built(engine: Engine, work: Path) -> dict[str, Any]:
    """Fill the engine and find its effort."""
    kept = engine.folder / "built.json"
    if not kept.is_file():
        before, began = time.process_time(), time.perf_counter()
        engine.build(np.load(work / "vectors.npy", mmap_mode="r"))
        work_s = spent(engine.processes()) - before
        took = {"build_s": round(time.perf_counter() - began, 1), "build_cpu_s": round(work_s, 1)}
        kept.write_text(json.dumps(took))
    engine.open()
    queries, truth = np.load(work / "queries.npy"), engine.truth(np.load(work / "truth.npy"))
    some = np.linspace(0, len(queries) - 1, min(engine.tried, len(queries))).astype(int)
    tried: list[list[Any]] = []
    for effort in engine.efforts:
        began = spent(engine.processes())
        share = recall(answers(engine, queries[some], effort), truth[some])
        tried.append([share < WANTED, spent(engine.processes()) - began, round(share, 4), effort])
        print(f"effort {effort}: recall {share:.4f}", flush=True)
        if share >= WANTED and len(effort) < 2:
            break
        if share >= WANTED and sum(not one[0] for one in tried) >= 3:
            break
    # The cheapest of those that keep the recall; where none does, the one with the highest.
    good = [one for one in tried if not one[0]]
    best = min(good, key=lambda one: one[1]) if good else max(tried, key=lambda one: one[2])
    (engine.folder / "effort.json").write_text(json.dumps(best[3]))
    engine.close()
    return {**json.loads(kept.read_text()), "effort": best[3], "recall": best[2], "bytes": folder_bytes(engine.folder)}


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def asked(engine: Engine, work: Path, seconds: float, many: bool) -> dict[str, Any]:
    """Queries a second, processor time a query, and recall."""
    began = time.perf_counter()
    engine.open()
    opened = time.perf_counter() - began
    queries, truth = np.load(work / "queries.npy"), engine.truth(np.load(work / "truth.npy"))
    effort = json.loads((engine.folder / "effort.json").read_text())
    if many and engine.search_many(queries[:2], effort) is None:
        engine.close()
        return {"skipped": "takes one query at a time"}
    run = _batches if many else _one_by_one
    result = run(engine, queries, truth, effort, seconds)
    memory = anonymous_mb([os.getpid(), *engine.processes()])
    engine.close()
    return {"open_s": round(opened, 2), "effort": effort, **result, "anonymous_mb": memory}


def _one_by_one(engine: Engine, queries: Any, truth: Any, effort: Effort, seconds: float) -> dict[str, Any]:
    order = np.random.default_rng(3).permutation(len(queries))
    warm = 3 if engine.tried < 10 else 100
    answers(engine, queries[order[:warm]], effort)
    times, found, places = [], [], []
    before, began = spent(engine.processes()), time.perf_counter()
    while time.perf_counter() - began < seconds:
        place = order[(warm + len(times)) % len(order)]
        start = time.perf_counter()
        line = np.asarray(engine.search(queries[place], effort), np.int64)[:TOP]
        times.append(time.perf_counter() - start)
        found.append(np.pad(line, (0, TOP - len(line)), constant_values=-1))
        places.append(place)
    work = spent(engine.processes()) - before
    return {
        "queries": len(times),
        "qps": round(len(times) / sum(times), 1),
        "p50_ms": round(1000 * float(np.median(times)), 3),
        "p99_ms": round(1000 * float(np.percentile(times, 99)), 3),
        "cpu_ms": round(1000 * work / len(times), 3),
        "recall": round(recall(np.stack(found), truth[places]), 4),
    }


def _batches(engine: Engine, queries: Any, truth: Any, effort: Effort, seconds: float) -> dict[str, Any]:
    found = np.asarray(engine.search_many(queries, effort))
    best, count = np.inf, 0
    before, began = spent(engine.processes()), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        engine.search_many(queries, effort)
        best, count = min(best, time.perf_counter() - start), count + 1
    work = spent(engine.processes()) - before
    return {
        "queries": count * len(queries),
        "qps": round(len(queries) / best, 1),
        "cpu_ms": round(1000 * work / (count * len(queries)), 3),
        "recall": round(recall(found, truth), 4),
    }


def anonymous_mb(pids: list[int]) -> int:
    """Anonymous memory of some processes."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                total += int(line.split()[1])
    return round(total / 1e3)


def missing(needs: tuple[str, ...]) -> str | None:
    """Why an engine cannot be had here, or None."""
    for name in needs:
        try:
            importlib.import_module(name)
        except ImportError as error:
            return f"not installed in {Path(os.sys.prefix).name}: {error}"  # type: ignore[attr-defined]
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="one engine of peers.py")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("verb", choices=("build", "ask", "many"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cpus", type=int, default=1)
    args = parser.parse_args()
    kind = ENGINES[args.engine]
    if args.verb != "build":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cpus])
        os.environ["OMP_NUM_THREADS"] = str(args.cpus)
    if why := missing(kind.needs):
        print(json.dumps({"skipped": why}))
        return
    engine = kind(args.work)
    run: Callable[[], dict[str, Any]] = (
        (lambda: built(engine, args.work))
        if args.verb == "build"
        else (lambda: asked(engine, args.work, args.seconds, args.verb == "many"))
    )
    print(json.dumps(run()))


if __name__ == "__main__":
    main()
