"""A cluster of three machines, here three nodes of Ray on this one, against one process; nodes are killed meanwhile.

    python -m benchmarks.cluster FOLDER [--photos 240] [--model find-mini] [--batch 8] [--namespaces] [--json FILE]

FOLDER holds some photos, of which many are made. They are taken in by one process and by the cluster into catalogs of
their own in a PostgreSQL that is started for it, and a node is killed (SIGKILL) in the middle. The catalogs must hold
the same photos with the same vectors, masks and facts. Then the cluster serves the library in three parts, each on two
nodes: answers must be those of one process to the last bit, also while a node is killed; at last two of three nodes are
killed at once, and answers that lack a part must say so. Needs the extras ray and postgres, and PostgreSQL's programs.
Exits with 1 where anything is lost or wrong.

Which photos go through the model together depends on what is there first, and a processor that multiplies many rows
may add in another order than for few: of a model in bfloat16 a near tie between two regions may then fall otherwise.
With `--batch 1` it cannot.

With `--namespaces` (Linux, root) the nodes are machines of a small network (`benchmarks.cluster_nodes`), and one is
also cut off from it without dying, while photos are taken in and while questions are asked: for a time that the cluster
sits out, and until the cluster gives it up.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from interleave_index.cluster.ingesting import cluster_decoders
from interleave_index.cluster.serving import ServedParts, served_parts
from interleave_index.config import Config
from interleave_index.records import Answer
from interleave_index.service import Index
from tests.postgres import Server

from .cluster_nodes import APART, HEAD, Cut, NetworkNodes, Nodes, ProcessNodes, run_apart

PATIENCE = 120.0  # seconds for the cluster to put replicas in the place of lost ones
CUTS = (8.0, 75.0)  # seconds without the network: Ray gives a node up after some 30
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


class Ingests:
    """The same photos taken in by one process, and by the cluster while something happens to it.

    Args:
        server: gets a catalog for each.
        work: folder for theirs.
        batch: pictures that the model is given at a time, on both sides.
    """

    def __init__(self, server: Server, work: Path, photos: Path, model: str, nodes: Nodes, batch: int) -> None:
        self._server, self._work, self._photos, self._nodes = server, work, photos, nodes
        self._config = Config().with_flags(models_interface=model, ingest_workers=0, ingest_batch=batch)
        self._batch = batch
        begun = time.perf_counter()
        with self._new_index("one") as index:
            self._added = index.ingest(photos).added
            self.seconds = round(time.perf_counter() - begun, 1)
            self._expected = contents(index)

    def by_cluster(self, name: str, happening: Callable[[], object]) -> tuple[Index, dict[str, Any]]:
        """Take them in by the cluster; after a third of them something happens."""
        index = self._new_index(name)
        happened: list[int] = []

        def watch(step: Any) -> None:
            if not happened and step.encoded >= self._added // 3:
                happened.append(step.encoded)
                happening()

        begun = time.perf_counter()
        with cluster_decoders(self._nodes.address, self._config, self._batch) as open_decoders:
            report = index.ingest(self._photos, open_decoders=open_decoders, progress=watch)
        result: dict[str, Any] = {
            "seconds_one_process": self.seconds,
            "seconds_cluster": round(time.perf_counter() - begun, 1),
            "happened_after_photos": happened[0] if happened else None,
            "added": report.added,
            "failed": len(report.failed),
            "difference": difference(self._expected, contents(index)),
            "verify": [check.name for check in index.verify() if not check.ok],
        }
        same = not (result["difference"]["alone"] or result["difference"]["unequal"])
        complete = report.added == self._added and not report.failed and not result["verify"]
        return index, result | {"ok": complete and same and bool(happened)}

    def with_a_cut(self, nodes: NetworkNodes, seconds: float) -> dict[str, Any]:
        """Take them in while a machine is cut off for some seconds, and wait until it is back."""
        cuts: list[Cut] = []
        index, result = self.by_cluster(f"cut-{seconds:.0f}", lambda: cuts.append(nodes.cut_for(seconds)))
        index.close()
        return result | (cuts[0].until_back() if cuts else {})

    def _new_index(self, name: str) -> Index:
        url = self._server.url(self._server.new_database(), self._work / name)
        return Index.open(url, config=self._config, create=True)


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


def until_whole(index: Index, query: str) -> float:
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
        result["one_node_killed"] = asker.end() | {"seconds_until_whole": until_whole(index, asked[0][0])}
        nodes.add()
        time.sleep(10)
        if isinstance(nodes, NetworkNodes):
            for seconds in CUTS:
                asker = Asker(index, expected)
                time.sleep(3)
                back = nodes.cut_for(seconds).until_back()
                time.sleep(10)
                whole = {"seconds_until_whole": until_whole(index, asked[0][0])}
                result[f"one_node_cut_off_for_{seconds:.0f}_seconds"] = asker.end() | whole | back
        asker = Asker(index, expected)
        time.sleep(3)
        nodes.kill()
        nodes.kill()
        time.sleep(20)
        result["two_nodes_killed"] = asker.end() | {"seconds_until_whole": until_whole(index, asked[0][0])}
        parts.patience = 1.0  # else the part is back before it counts as lost
        asker = Asker(index, expected)
        time.sleep(2)
        kill_part(parts, 1)
        time.sleep(10)
        result["part_killed"] = asker.end() | {"seconds_until_whole": until_whole(index, asked[0][0])}
        index.search_through(None)
    phases = [phase for phase in result.values() if isinstance(phase, dict)]
    sound = not result["different"] and not any(phase["wrong"] or phase["failed"] for phase in phases)
    whole_again = all(phase["asked"] and np.isfinite(phase["seconds_until_whole"]) for phase in phases)
    return result | {"ok": sound and whole_again and result["part_killed"]["partial"] > 0}


def kill_part(parts: ServedParts, number: int) -> None:
    """Kill all replicas of a part at once, as far as they are met."""
    processes = set()
    for _ in range(20):
        with suppress(Exception):  # a replica that died before is not met
            processes.add(parts.process(number))
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


@contextmanager
def open_nodes(work: Path, *, namespaces: bool) -> Iterator[tuple[Server, Nodes]]:
    """A database and three nodes, to which this process is connected for all phases."""
    import ray

    with ExitStack() as opened:
        nodes: ProcessNodes | NetworkNodes
        if namespaces:
            nodes = NetworkNodes(work)
            opened.callback(nodes.close)
            server = Server(HEAD)
            opened.callback(server.remove)
            nodes.start()
        else:
            server = Server()
            opened.callback(server.remove)
            nodes = ProcessNodes()
            opened.callback(nodes.close)
        ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
        if isinstance(nodes, NetworkNodes):
            nodes.until_all_are_there()
        yield server, nodes


def run(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Both phases; what was found is printed as it comes."""
    os.environ["INTERLEAVE_PARTS"] = str(work / "parts")
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": date.today().isoformat(),
        "model": given.model,
        "batch": given.batch,
        "nodes": "network namespaces" if given.namespaces else "processes",
    }

    def keep(name: str, found: dict[str, Any]) -> None:
        result[name] = found
        print(json.dumps({name: found}, indent=1), flush=True)

    make_photos(given.folder, work / "photos", given.photos)
    with open_nodes(work, namespaces=given.namespaces) as (server, nodes):
        ingests = Ingests(server, work, work / "photos", given.model, nodes, given.batch)
        index, found = ingests.by_cluster("many", nodes.kill)
        keep("ingest", found)
        nodes.add()
        if isinstance(nodes, NetworkNodes):
            for seconds in CUTS:
                keep(f"ingest_cut_off_for_{seconds:.0f}_seconds", ingests.with_a_cut(nodes, seconds))
        with index:
            keep("serve", serve_phase(index, nodes))
    return result


def main() -> int:
    """Run everything and tell whether anything was lost or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="some photos")
    parser.add_argument("--photos", type=int, default=240, help="how many are made of them")
    parser.add_argument("--model", default="find-mini", help="interface")
    parser.add_argument("--batch", type=int, default=8, help="pictures that the model is given at a time")
    parser.add_argument("--namespaces", action="store_true", help="nodes are machines of a network (Linux, root)")
    parser.add_argument("--json", type=Path, help="where the result is written")
    given = parser.parse_args()
    apart = os.environ.get(APART)
    if given.namespaces and not apart:
        return run_apart("benchmarks.cluster", sys.argv[1:])
    warnings.simplefilter("ignore")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.update({"RAY_worker_niceness": "0"})  # else workers wait for whatever else runs on this machine
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory(prefix="interleave-cluster-") if not apart else nullcontext(apart) as work:
        result = run(given, Path(work))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if all(found["ok"] for found in result.values() if isinstance(found, dict)) else 1


if __name__ == "__main__":
    sys.exit(main())
