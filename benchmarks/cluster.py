"""A cluster of three machines, here three nodes of Ray on this one, against one process; nodes are killed meanwhile.

    python -m benchmarks.cluster FOLDER [--photos 240] [--model find-mini] [--json FILE]

FOLDER holds some photos, of which many are made. They are taken in by one process and by the cluster into catalogs of
their own in a PostgreSQL that is started for it, and a node is killed (SIGKILL) in the middle. The catalogs must hold
the same photos with the same vectors, masks and facts. Then the cluster serves the library in three parts, each on two
nodes: answers must be those of one process to the last bit, also while a node is killed; at last two of three nodes are
killed at once, and answers that lack a part must say so. Needs the extras ray and postgres, and PostgreSQL's programs.
Exits with 1 where anything is lost or wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageEnhance, ImageOps

from interleave_index.cluster.ingesting import cluster_decoders
from interleave_index.cluster.serving import ServedParts, served_parts
from interleave_index.config import Config
from interleave_index.records import Answer
from interleave_index.service import Index
from tests.postgres import Server

OBJECT_BYTES = 200 << 20
PATIENCE = 120.0  # seconds for the cluster to put replicas in the place of lost ones
MODES = ("auto", "exact", "ann")
WORDS = ("a dog", "[a person] on a beach", "[a boat] -[a person]", "sunset over the water", "[a car] and [a tree]")


def make_photos(source: Path, target: Path, count: int) -> None:
    """So many different photos, made of those of a folder: mirrored, cut, lighter and darker."""
    rng = np.random.default_rng(0)
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    target.mkdir(parents=True)
    for number in range(count):
        with Image.open(found[number % len(found)]) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        image.thumbnail((640, 640))
        if number >= len(found):
            wide, high = image.size
            x, y = rng.uniform(0, 0.3, 2) * (wide, high)
            image = image.crop((int(x), int(y), int(x + 0.7 * wide), int(y + 0.7 * high)))
            image = ImageEnhance.Brightness(image).enhance(float(rng.uniform(0.7, 1.3)))
        image.save(target / f"{number:05d}.jpg", quality=92)


class Nodes:
    """A cluster of three nodes on this machine, which can be killed one by one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        args = {"num_cpus": 2, "object_store_memory": OBJECT_BYTES}
        self._args = args
        self.cluster = Cluster(initialize_head=True, head_node_args={**args, "include_dashboard": False})
        self.others = [self.cluster.add_node(**args) for _ in range(2)]

    @property
    def address(self) -> str:
        """Host and port of the head node."""
        return str(self.cluster.address)

    def kill(self) -> None:
        """Kill a node that is not the head: its raylet and all its workers at once, by SIGKILL."""
        node = self.others.pop()
        raylet = node.all_processes["raylet"][0].process.pid
        for process in [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                os.kill(process.pid, signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)

    def add(self) -> None:
        """Start another node."""
        self.others.append(self.cluster.add_node(**self._args))

    def close(self) -> None:
        """End all of them."""
        import ray

        ray.shutdown()
        self.cluster.shutdown()


@contextmanager
def quiet_ray(nodes: Nodes) -> Iterator[None]:
    """Ray connected once for all phases."""
    import ray

    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        nodes.close()


def contents(index: Index) -> dict[str, Any]:
    """What a catalog holds of each photo, by content: ids and folders of the index differ, nothing else may."""
    store = index._store
    active = store.active_space()
    if active is None:
        return {}
    found: dict[str, Any] = {}
    ids = store.encoded(active[0])
    block = store.vectors(active[0], ids)
    masks = store.many_masks(active[0], ids.tolist())
    for row, (photo_id, photo) in enumerate(store.photos(ids.tolist()).items()):
        rows = slice(block.offsets[row], block.offsets[row + 1])
        small = store.thumbnail_path(photo.sha256)
        found[photo.sha256] = (
            [(place.path, place.present) for place in store.locations(photo_id)],
            (photo.width, photo.height, photo.taken_at, photo.camera),
            block.image[row],
            block.regions[rows],
            block.boxes[rows],
            block.scores[rows],
            masks[photo_id]() if photo_id in masks else (),
            small.read_bytes() if small.exists() else b"",
        )
    return found


def difference(one: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """How two catalogs differ: photos of one alone, photos of which anything differs, and the largest distance."""
    both = set(one) & set(other)
    unequal, largest = 0, 0.0
    for sha in both:
        same = True
        for left, right in zip(one[sha], other[sha], strict=True):
            if isinstance(left, np.ndarray):
                same &= left.shape == right.shape and bool(np.array_equal(left, right))
                if left.shape == right.shape and left.size:
                    largest = max(largest, float(np.abs(left - right).max()))
            else:
                same &= left == right
        unequal += not same
    return {"photos": len(one), "alone": len(set(one) ^ set(other)), "unequal": unequal, "largest": largest}


def ingest_phase(server: Server, work: Path, photos: Path, model: str, nodes: Nodes) -> tuple[Index, dict[str, Any]]:
    """The same photos by one process and by the cluster, of which a node is killed."""
    config = Config().with_flags(models_interface=model, ingest_workers=0, ingest_batch=16)
    one = Index.open(server.url(server.new_database(), work / "one"), config=config, create=True)
    begun = time.perf_counter()
    alone = one.ingest(photos)
    seconds_alone = time.perf_counter() - begun
    many = Index.open(server.url(server.new_database(), work / "many"), config=config, create=True)
    killed: list[int] = []

    def watch(step: Any) -> None:
        if not killed and step.encoded >= alone.added // 3:
            killed.append(step.encoded)
            nodes.kill()

    begun = time.perf_counter()
    with cluster_decoders(nodes.address, config, 8) as open_decoders:
        report = many.ingest(photos, open_decoders=open_decoders, progress=watch)
    seconds = time.perf_counter() - begun
    found = difference(contents(one), contents(many))
    nodes.add()
    result = {
        "seconds_one_process": round(seconds_alone, 1),
        "seconds_cluster_with_a_kill": round(seconds, 1),
        "killed_after_photos": killed[0] if killed else None,
        "added": report.added,
        "failed": len(report.failed),
        "difference": found,
        "verify": [check.name for check in many.verify() if not check.ok],
        "ok": report.added == alone.added and bool(killed) and not (found["alone"] or found["unequal"]),
    }
    one.close()
    return many, result


class Asker:
    """Asks the same questions over and over and keeps what came: wrong answers, partial ones, seconds."""

    def __init__(self, index: Index, expected: dict[tuple[str, str], Answer]) -> None:
        self.index, self.expected = index, expected
        self.asked, self.wrong, self.partial, self.failed = 0, 0, 0, 0
        self.seconds: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        keys = list(self.expected)
        while not self._end.is_set():
            query, mode = keys[self.asked % len(keys)]
            begun = time.perf_counter()
            try:
                answer = self.index.search(query, mode=mode)  # type: ignore[arg-type]
            except Exception as error:
                self.failed += 1
                print("an answer failed:", error, file=sys.stderr)
                continue
            finally:
                self.asked += 1
            self.seconds.append(time.perf_counter() - begun)
            if answer.partial is not None:
                self.partial += 1
                lost = answer.partial.lost
                self.wrong += any(hit.photo.id % answer.partial.partitions in lost for hit in answer)
            else:
                self.wrong += answer.to_json() != self.expected[query, mode].to_json()

    def end(self) -> dict[str, Any]:
        """Stop, and tell."""
        self._end.set()
        self._thread.join()
        counts = {"asked": self.asked, "wrong": self.wrong, "partial": self.partial, "failed": self.failed}
        ms = np.array(self.seconds) * 1000
        return counts | {"p50_ms": round(float(np.median(ms)), 1), "slowest_ms": round(float(ms.max()), 1)}


def questions(index: Index) -> list[str]:
    """Words, photos and regions, by themselves and together."""
    ids = index.ids()
    photos = [int(one) for one in ids[:: max(1, len(ids) // 5)][:5]]
    made = [f"[photo:{one}]" for one in photos] + [f"[region:{one}/0]" for one in photos]
    made += [f"[photo:{one}] [region:{other}/0]" for one, other in pairwise(photos)]
    return made + list(WORDS)


def until_whole(parts: ServedParts, index: Index, query: str) -> float:
    """Seconds until answers are whole again."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < PATIENCE:
        if index.search(query).partial is None:
            return round(time.perf_counter() - begun, 1)
        time.sleep(0.5)
    return float("nan")


def serve_phase(index: Index, nodes: Nodes) -> dict[str, Any]:
    """Answers of three parts beside those of one process, before, while and after nodes are killed."""
    asked = [(query, mode) for query in questions(index) for mode in MODES]
    expected = {(query, mode): index.search(query, mode=mode) for query, mode in asked}  # type: ignore[arg-type]
    begun = time.perf_counter()
    with served_parts(nodes.address, index.name, parts=3, patience=20.0) as parts:
        result: dict[str, Any] = {"seconds_to_start": round(time.perf_counter() - begun, 1)}
        index.search_through(parts.library)
        found = {key: index.search(key[0], mode=key[1]) for key in asked}  # type: ignore[arg-type]
        result["different"] = sum(found[key].to_json() != expected[key].to_json() for key in asked)
        result["compared"] = len(asked)
        asker = Asker(index, expected)
        time.sleep(5)
        nodes.kill()
        time.sleep(15)
        result["one_node_killed"] = asker.end() | {"seconds_until_whole": until_whole(parts, index, asked[0][0])}
        nodes.add()
        time.sleep(10)
        asker = Asker(index, expected)
        time.sleep(3)
        nodes.kill()
        nodes.kill()
        time.sleep(20)
        result["two_nodes_killed"] = asker.end() | {"seconds_until_whole": until_whole(parts, index, asked[0][0])}
        parts.patience = 1.0  # else the part is back before it counts as lost
        asker = Asker(index, expected)
        time.sleep(2)
        kill_part(parts, 1)
        time.sleep(10)
        result["part_killed"] = asker.end() | {"seconds_until_whole": until_whole(parts, index, asked[0][0])}
        index.search_through(None)
    phases = [result[name] for name in ("one_node_killed", "two_nodes_killed", "part_killed")]
    sound = not result["different"] and not any(phase["wrong"] or phase["failed"] for phase in phases)
    return result | {"ok": sound and all(phase["asked"] for phase in phases) and result["part_killed"]["partial"] > 0}


def kill_part(parts: ServedParts, number: int) -> None:
    """Kill all replicas of a part at once, as far as they are met."""
    processes = set()
    for _ in range(20):
        with suppress(Exception):  # a replica that died before is not met
            processes.add(parts.process(number))
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def main() -> int:
    """Run both phases and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="some photos")
    parser.add_argument("--photos", type=int, default=240, help="how many are made of them")
    parser.add_argument("--model", default="find-mini", help="interface")
    parser.add_argument("--json", type=Path, help="where the result is written")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.update({"RAY_worker_niceness": "0"})  # else workers wait for whatever else runs on this machine
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    server, work = Server(), Path(tempfile.mkdtemp(prefix="interleave-cluster-"))
    os.environ["INTERLEAVE_PARTS"] = str(work / "parts")
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": date.today().isoformat(),
        "model": given.model,
    }
    try:
        make_photos(given.folder, work / "photos", given.photos)
        nodes = Nodes()
        with quiet_ray(nodes):
            index, result["ingest"] = ingest_phase(server, work, work / "photos", given.model, nodes)
            print(json.dumps(result["ingest"], indent=1), flush=True)
            with index:
                result["serve"] = serve_phase(index, nodes)
                print(json.dumps(result["serve"], indent=1), flush=True)
    finally:
        server.stop()
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["ingest"]["ok"] and result["serve"]["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
