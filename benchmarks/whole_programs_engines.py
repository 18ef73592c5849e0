"""One photo search program of `whole_programs.py` at work, in the interpreter where it is installed.

    python benchmarks/whole_programs_engines.py PROGRAM fill|ask WORK [--seconds 10] [--cpus 1]

Imports numpy alone until a program is named, so that it runs where this project is not installed. The last line of its
output is JSON; a program that cannot be imported gives {"skipped": why}.

Each program stores and searches by its own functions; only its model is left out: what the model would make of photos
and queries is given. `fill` stores the vectors of WORK with their paths. `ask` opens what was stored, asks one query,
then one after the other, each from the vector to the paths of the ten best.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import sys
import time
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TOP = 10
CHUNK = 10_000
PHOTOS = "/photos"  # folder of the paths that are stored; nothing lies there
COLLECTION = "photos"
MODEL = "given"


def path_of(number: int) -> str:
    """Path of a made-up photo: 1,000 in a folder.

    >>> path_of(12345)
    '/photos/012/012345.jpg'
    """
    return f"{PHOTOS}/{number // 1000:03d}/{number:06d}.jpg"


def number_of(path: str) -> int:
    """The number of a made-up photo.

    >>> number_of("/photos/012/012345.jpg")
    12345
    """
    return int(Path(path).stem)


def chunks(vectors: Any) -> Iterator[tuple[int, Any]]:
    """Number of the first and the (n, D) float32 vectors of one chunk after the other."""
    for start in range(0, len(vectors), CHUNK):
        yield start, np.ascontiguousarray(vectors[start : start + CHUNK], np.float32)


class Program(ABC):
    """What is measured of a program; `folder` is its own."""

    def __init__(self, work: Path) -> None:
        self.folder = work / type(self).__name__.lower()

    @abstractmethod
    def fill(self, vectors: Any) -> None:
        """Store (N, D) vectors of unit length, with the path of each, and all that the program makes to search them."""

    @abstractmethod
    def open(self) -> None:
        """Make ready to be asked, as the program does when it is started."""

    @abstractmethod
    def search(self, query: Any) -> list[str]:
        """Paths of the ten photos nearest to one (D,) float32 query, nearest first."""


class Ours(Program):
    """`Index.search` for a text whose vector is given; photos have no regions."""

    def fill(self, vectors: Any) -> None:
        from interleave_index.interface.calibration import KINDS, Calibration, Curve
        from interleave_index.records import PhotoFacts, Space
        from interleave_index.storage.store import Store

        dim = vectors.shape[1]
        space = Space(MODEL, "0" * 64, "none", dim)
        none, no_boxes = np.zeros((0, dim), np.float32), np.zeros((0, 4), np.float32)
        with Store.open(self.folder, create=True) as store:
            space_id = store.ensure_space(space)
            for start, some in chunks(vectors):
                numbers = range(start, start + len(some))
                facts = [PhotoFacts(f"{number:064x}", 1024, 768, "JPEG") for number in numbers]
                paths = [path_of(number) for number in numbers]
                n = len(some)
                store.write_encodings(
                    space_id, facts, some, [none] * n, [no_boxes] * n, [none[:, 0]] * n, [none[:, 0]] * n, paths=paths
                )
            # Captions whose mean is zero: scores are then plain cosines, as those of the other programs.
            half = np.asarray(vectors[:150], np.float32)
            bank = np.concatenate([half, -half])
            curves = dict.fromkeys(KINDS, Curve(8.0, -4.0, 0.25, 12.0, -0.5, -3.0, 0.5))
            store.save_calibration(space_id, Calibration(bank, bank, bank, bank, curves).to_bytes())
            store.optimize(space_id)

    def open(self) -> None:
        from interleave_index import Index
        from interleave_index.interface.calibration import Calibration
        from interleave_index.interface.protocol import Interface
        from interleave_index.records import QueryEncoding, Space
        from interleave_index.storage.store import Store

        class Given(Interface):
            """A model whose vector of any text is given."""

            vector: Any

            def __init__(self, space: Space, calibration: Calibration) -> None:
                self._space, self._calibration = space, calibration

            @property
            def space(self) -> Space:
                return self._space

            @property
            def calibration(self) -> Calibration:
                return self._calibration

            def encode_query(self, query: Any) -> QueryEncoding:
                entities = [self.vector for part in query if part.role == "entity"]
                none = np.zeros((0, len(self.vector)), np.float32)
                return QueryEncoding(self.vector, np.array(entities, np.float32) if entities else none, none)

        with Store.open(self.folder) as store:
            active = store.active_space()
            if active is None:
                raise SystemExit(f"{self.folder} holds nothing")
            kept = store.load_calibration(active[0])
        if kept is None:
            raise SystemExit(f"{self.folder} holds no calibration")
        self.model = Given(active[1], Calibration.from_bytes(kept))
        self.index = Index.open(self.folder, interface=self.model)

    def search(self, query: Any) -> list[str]:
        self.model.vector = query
        return [str(hit.photo.path) for hit in self.index.search("anything", TOP)]


class Rclip(Program):
    """rclip: `RClip.search` over its SQLite file, which `RClip._store_image_features` fills."""

    def _made(self) -> Any:
        from rclip.db import DB
        from rclip.main import RClip
        from rclip.model import Model

        class Given(Model):
            """Its model, with the vectors of photos and of queries given."""

            vector: Any

            def compute_preprocessed_image_features(self, images: Any, *, for_indexing: bool = False) -> Any:
                return np.stack(images)

            def compute_features_for_queries(self, queries: list[str]) -> Any:
                return self.vector if queries else np.zeros(Model.VECTOR_SIZE, np.float32)

        self.folder.mkdir(exist_ok=True)
        self.model, self.database = Given(), DB(self.folder / "db.sqlite3")
        return RClip(self.model, self.database, indexing_batch_size=8, exclude_dirs=None)

    def fill(self, vectors: Any) -> None:
        program = self._made()
        for start, some in chunks(vectors):
            for first in range(0, len(some), 8):
                batch = list(some[first : first + 8])
                numbers = range(start + first, start + first + len(batch))
                metas = [{"modified_at": 1.0, "size": 1} for _ in numbers]
                hashes = [f"{number:032x}" for number in numbers]
                program._store_image_features([path_of(number) for number in numbers], metas, hashes, batch)
            if (start + len(some)) % program.DB_IMAGES_BEFORE_COMMIT == 0:
                self.database.commit()
        self.database.close()

    def open(self) -> None:
        self.program = self._made()

    def search(self, query: Any) -> list[str]:
        self.model.vector = query
        return [found.filepath for found in self.program.search("anything", PHOTOS, TOP)]


class ClipRetrieval(Program):
    """clip-retrieval: its writer and `clip_index` (autofaiss), then the search of `clip back` with its own defaults.

    Its package imports the half that runs models; the modules that store and search are loaded without that.
    """

    def _modules(self) -> tuple[Any, Any, Any]:
        bare("clip_retrieval")
        bare("clip_retrieval.clip_inference")
        return tuple(
            importlib.import_module(f"clip_retrieval.{name}")
            for name in ("clip_back", "clip_index", "clip_inference.writer")
        )

    def fill(self, vectors: Any) -> None:
        _, index, writer = self._modules()
        embeddings, indexes = self.folder / "embeddings", self.folder / "index"
        indexes.mkdir(parents=True)
        parts = -(-len(vectors) // CHUNK)
        for part, (start, some) in enumerate(chunks(vectors)):
            written = writer.NumpyWriter(part, str(embeddings), False, True, False, parts)
            names = [path_of(number) for number in range(start, start + len(some))]
            written({"image_embs": some, "image_filename": names})
            written.flush()
        (embeddings / "text_emb").mkdir()
        index.quantize(str(embeddings / "img_emb"), str(indexes), "image", "4G", "16G", None)
        shutil.copytree(embeddings / "metadata", indexes / "metadata")

    def open(self) -> None:
        back, _, _ = self._modules()
        folder = str(self.folder / "index")
        index = back.load_index(f"{folder}/image.index", False)
        columns = ["url", "image_path", "caption", "NSFW"]
        provider, _ = back.load_metadata_provider(folder, False, False, index, columns, False)
        nothing = dict.fromkeys(back.ClipResource.__dataclass_fields__)
        told = {"metadata_provider": provider, "image_index": index, "columns_to_return": columns}
        self.resource = back.ClipResource(**{**nothing, **told, "metadata_is_ordered_by_ivf": False})
        self.service = back.KnnService(clip_resources={"photos": self.resource})

    def search(self, query: Any) -> list[str]:
        # What `KnnService.query` does after its model.
        distances, ids = self.service.knn_search(
            query[None],
            "image",
            TOP,
            self.resource,
            deduplicate=False,
            use_safety_model=False,
            use_violence_detector=False,
        )
        columns, provider = self.resource.columns_to_return, self.resource.metadata_provider
        return [row["image_path"] for row in self.service.map_to_metadata(ids, distances, TOP, provider, columns)]


class LightlyStudio(Program):
    """LightlyStudio: its DuckDB file, and the answer to the request by which its page lists the photos of a search."""

    def _connected(self) -> Any:
        os.environ["LIGHTLY_STUDIO_ANALYTICS_ENABLED"] = "false"
        import lightly_studio  # noqa: F401
        from lightly_studio.database import db_manager

        self.folder.mkdir(exist_ok=True)
        db_manager.connect(db_file=str(self.folder / "lightly_studio.db"))
        return db_manager

    def fill(self, vectors: Any) -> None:
        manager = self._connected()
        from lightly_studio.embed import embedding_storage
        from lightly_studio.models.collection import CollectionCreate, SampleType
        from lightly_studio.models.embedding_model import EmbeddingModelCreate
        from lightly_studio.models.image import ImageCreate
        from lightly_studio.resolvers import (
            collection_embedding_model_resolver,
            collection_resolver,
            embedding_model_resolver,
            image_resolver,
        )

        session = manager.persistent_session()
        wanted = CollectionCreate(name=COLLECTION, sample_type=SampleType.IMAGE)
        collection = collection_resolver.create(session, wanted)
        where, dataset = collection.collection_id, collection.dataset_id
        wanted_model = EmbeddingModelCreate(name=MODEL, embedding_dimension=vectors.shape[1], dataset_id=dataset)
        model = embedding_model_resolver.create(session, wanted_model).embedding_model_id
        collection_embedding_model_resolver.get_or_add_collection_model(session, where, model)
        collection_embedding_model_resolver.set_default(session, where, model)
        for start, some in chunks(vectors):
            ids = []
            for first in range(0, len(some), 32):  # as many as `add_images` gives at once
                paths = [path_of(start + number) for number in range(first, min(first + 32, len(some)))]
                images = [
                    ImageCreate(file_name=Path(path).name, width=1024, height=768, file_path_abs=path) for path in paths
                ]
                ids += image_resolver.create_many(session, where, images)
            embedding_storage.store_embeddings(session, model, ids, some)
            print(f"{start + len(some)} stored", file=sys.stderr, flush=True)
        manager.close()

    def open(self) -> None:
        self.manager = self._connected()
        from lightly_studio.api.routes.api.image import routes
        from lightly_studio.api.routes.api.validators import Paginated
        from lightly_studio.resolvers import collection_resolver

        self.routes, self.page = routes, Paginated(offset=0, limit=TOP)
        with self.manager.session() as session:
            self.collection = collection_resolver.get_by_name(session, name=COLLECTION, parent_collection_id=None)

    def search(self, query: Any) -> list[str]:
        body = self.routes.ReadImagesRequest(text_embedding=query.tolist(), pagination=self.page)
        with self.manager.session() as session:
            answer = self.routes.read_images(session, self.collection, body)
        return [sample.file_path_abs for sample in answer.samples]


PROGRAMS: dict[str, type[Program]] = {
    "interleave-index": Ours,
    "rclip": Rclip,
    "clip-retrieval": ClipRetrieval,
    "lightly-studio": LightlyStudio,
}


def bare(name: str) -> None:
    """Let the modules of a package be imported without what its first file imports."""
    found = importlib.util.find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ImportError(f"no package {name}")
    package = types.ModuleType(name)
    package.__path__ = list(found.submodule_search_locations)
    sys.modules[name] = package


# --- measuring -------------------------------------------------------------------------------


def recall(found: list[list[int]], truth: Any) -> float:
    """Share of the true ten nearest among what was found.

    >>> recall([[1, 2], [9, 9]], np.array([[2, 1], [3, 4]]))
    0.5
    """
    wanted = sum(len(set(row.tolist())) for row in truth)
    met = sum(len(set(line) & set(row.tolist())) for line, row in zip(found, truth, strict=True))
    return met / wanted


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def memory_mb(field: str) -> int:
    """One line of this process' memory: `RssAnon`, its own now, or `VmHWM`, the most that was resident."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1e3)


def work_s() -> float:
    """Processor seconds of this process and of its children that have ended."""
    rows = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(row.ru_utime + row.ru_stime for row in rows)


def filled(program: Program, work: Path) -> dict[str, Any]:
    """Store all vectors, in a folder that was emptied."""
    shutil.rmtree(program.folder, ignore_errors=True)
    vectors = np.load(work / "vectors.npy", mmap_mode="r")
    began, before = time.perf_counter(), work_s()
    program.fill(vectors)
    return {
        "fill_s": round(time.perf_counter() - began, 1),
        "fill_cpu_s": round(work_s() - before, 1),
        "fill_peak_mb": memory_mb("VmHWM"),
        "bytes": folder_bytes(program.folder),
    }


def asked(program: Program, work: Path, seconds: float) -> dict[str, Any]:
    """The first query and further ones, at most once through all of them."""
    queries, truth = np.load(work / "queries.npy"), np.load(work / "truth.npy")[:, :TOP]
    order = np.random.default_rng(3).permutation(len(queries))
    before, cpu_before = time.perf_counter(), work_s()
    program.open()
    opened = time.perf_counter()
    lines = [program.search(queries[order[0]])]
    first, answered, first_cpu = time.perf_counter(), time.time(), work_s()
    times = []
    while len(lines) < len(order) and (len(times) < 10 or time.perf_counter() - first < seconds):
        start = time.perf_counter()
        lines.append(program.search(queries[order[len(lines)]]))
        times.append(time.perf_counter() - start)
    spent = work_s() - first_cpu
    found = [[number_of(path) for path in line] for line in lines]
    return {
        "answered": answered,  # on the clock of the machine, for who started this process
        "open_s": round(opened - before, 3),
        "first_s": round(first - opened, 3),
        "first_cpu_s": round(first_cpu - cpu_before, 3),
        "start_cpu_s": round(first_cpu, 3),
        "queries": len(times),
        "p50_ms": round(1000 * float(np.median(times)), 3),
        "p99_ms": round(1000 * float(np.percentile(times, 99)), 3),
        "cpu_ms": round(1000 * spent / len(times), 3),
        "recall": round(recall(found, truth[order[: len(found)]]), 4),
        "anonymous_mb": memory_mb("RssAnon"),
        "peak_mb": memory_mb("VmHWM"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="one program of whole_programs.py")
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("verb", choices=("fill", "ask"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cpus", type=int, default=1)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cpus])
    program = PROGRAMS[args.program](args.work)
    try:
        told = filled(program, args.work) if args.verb == "fill" else asked(program, args.work, args.seconds)
    except ImportError as error:
        told = {"skipped": f"cannot be imported: {error}"}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
