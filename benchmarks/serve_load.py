"""How the server answers under a steady load: an open loop over many indexed photos, in real processes and over HTTP.

    python benchmarks/serve_load.py [--photos 10000] [--rate 20] [--seconds 60] [--text-rate 0] [--ingest] [--json]

Makes an index of made-up encodings that cluster as real ones do (see search_100k.py), serves it by `interleave-index
serve` in a process of its own, and sends requests at fixed times whether or not the ones before have been answered, as
independent people would; the time of an answer counts from when its request was due. Kinds, in turn:
a photo, a region, both, two regions and a negative: queries of stored vectors, which need no model. Then the same rate
of text queries, which the text tower bounds.

`--ingest` takes photos in beside the load, drawn for the purpose. Every answer is checked: status, a photo or region
asked for finds itself first. Prints percentiles, refusals, errors, and what the server's process took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from search_100k import World, fill

from interleave_index.interface.calibration import KINDS, Calibration, Curve
from interleave_index.interface.registry import load
from interleave_index.records import Space
from interleave_index.storage.store import Store

WORDS = (
    "a dog on a beach",
    "[a red car] in the snow",
    "two people at a table",
    "[a lighthouse] by the sea",
    "a street at night",
    "[a cat] on a sofa",
    "mountains behind a lake",
    "[a bicycle] against a wall",
    "a plate of food",
    "[a child] in a garden",
)


@dataclass
class LoadResults:
    """What came back for one kind of request."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    wrong: list[str] = field(default_factory=list)

    def to_json(self, wanted_s: float) -> dict[str, Any]:
        """Percentiles in milliseconds, and counts."""
        times = 1000 * np.array(self.seconds or [np.nan])
        return {
            "answered": len(self.seconds),
            "refused": self.refused,
            "wrong": len(self.wrong),
            "p50_ms": round(float(np.percentile(times, 50)), 1),
            "p95_ms": round(float(np.percentile(times, 95)), 1),
            "p99_ms": round(float(np.percentile(times, 99)), 1),
            "max_ms": round(float(times.max()), 1),
            "rate_per_s": round(len(self.seconds) / wanted_s, 1),
            "first_wrong": self.wrong[:3],
        }


def make_index(folder: Path, photos: int, regions: int, model: str) -> None:
    """An index in the space of a model, so that its text queries can be asked of made-up vectors too."""
    interface = load(model)
    world = World(interface.space.dim)
    with Store.open(folder, create=True) as store:
        space = store.ensure_space(Space(*(getattr(interface.space, name) for name in Space.__slots__)))
        fill(store, space, world, photos, regions)
        bank = world.far(300)
        curves = dict.fromkeys(KINDS, Curve(8.0, -4.0, 0.25, 12.0, -0.5, -3.0, 0.5))
        store.save_calibration(space, Calibration(bank, bank, bank, bank, curves).to_bytes())
        store.optimize(space)


def draw_photos(folder: Path, count: int) -> None:
    """Pictures for an ingest beside the load."""
    from PIL import Image

    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).resize((640, 480)).save(folder / f"{number:05d}.jpg", quality=85)


def started(index: Path, model: str, root: Path | None) -> tuple[subprocess.Popen[str], str]:
    """The server's process and its address, once it listens and its model is warm."""
    words = [sys.executable, "-m", "interleave_index", "serve", "--index", str(index), "--model", model, "--port", "0"]
    process = subprocess.Popen(
        [*words, *(["--root", str(root)] if root else [])],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
    )
    for line in process.stderr or ():
        found = re.search(r"http://\S+", line)
        if found:
            httpx.post(found[0] + "api/search", json={"query": "warm", "limit": 1}, timeout=300).raise_for_status()
            return process, found[0]
    raise SystemExit(f"the server ended with status {process.wait()} before it listened")


def stored_query(number: int, photos: int, regions: int, rng: np.random.Generator) -> tuple[list[dict[str, Any]], int]:
    """Parts of one query of stored vectors, and the photo that must come first (0: no matter)."""
    one, other, third = rng.choice(np.arange(1, photos + 1), 3, replace=False).tolist()
    part = int(rng.integers(0, regions))
    return [
        ([{"photo": one}], one),
        ([{"region": f"{one}/{part}"}], 0),
        ([{"photo": one}, {"region": f"{other}/{part}"}], 0),
        ([{"region": f"{one}/{part}"}, {"region": f"{other}/{part}"}, {"region": f"{third}/{part}", "not": True}], 0),
    ][number % 4]


async def one(client: httpx.AsyncClient, due: float, body: dict[str, Any], first: int, results: LoadResults) -> None:
    """Send one request when it is due, and judge its answer."""
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    try:
        answer = await client.post("/api/search", json=body)
    except httpx.HTTPError as error:
        results.wrong.append(f"lost: {error!r}")
        return
    if answer.status_code == 429:
        results.refused += 1
        return
    hits = answer.json().get("hits", []) if answer.status_code == 200 else []
    if answer.status_code != 200 or len(hits) != body["limit"]:
        results.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
    elif first and hits[0]["photo"]["id"] != first:
        results.wrong.append(f"photo {first} does not find itself first but {hits[0]['photo']['id']}")
    results.seconds.append(time.perf_counter() - due)


async def load_of(address: str, bodies: list[tuple[dict[str, Any], int]], rate: float) -> LoadResults:
    """All requests at their times, evenly spaced."""
    results = LoadResults()
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        begin = time.perf_counter() + 0.2
        await asyncio.gather(
            *(one(client, begin + n / rate, body, first, results) for n, (body, first) in enumerate(bodies))
        )
    return results


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Processor time of the server so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make, serve, load; the server ends with this."""
    index, library = folder / "index", folder / "library"
    if not index.is_dir():
        make_index(index, args.photos, args.regions, args.model)
    if args.ingest and not library.is_dir():
        draw_photos(library, args.ingest_photos)
    process, address = started(index, args.model, library if args.ingest else None)
    rng, count = np.random.default_rng(7), int(args.rate * args.seconds)
    results: dict[str, Any] = {
        "photos": args.photos,
        "regions": args.photos * args.regions,
        "rate": args.rate,
        "seconds": args.seconds,
        "limit": args.limit,
        "ingest": args.ingest,
        "cpus": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
    }
    try:
        warm = [
            ({"parts": stored_query(n, args.photos, args.regions, rng)[0], "limit": args.limit}, 0) for n in range(20)
        ]
        asyncio.run(load_of(address, warm, args.rate))
        if args.ingest:
            httpx.post(address + "api/ingest", json={}, timeout=60).raise_for_status()
        bodies = []
        for n in range(count):
            parts, first = stored_query(n, args.photos, args.regions, rng)
            bodies.append(({"parts": parts, "limit": args.limit}, first))
        before = cpu_seconds(process)
        results["stored"] = asyncio.run(load_of(address, bodies, args.rate)).to_json(args.seconds)
        results["stored"]["cpu_ms_a_request"] = round(1000 * (cpu_seconds(process) - before) / count, 1)
        if args.text_seconds:
            words = [
                ({"query": f"{WORDS[n % len(WORDS)]} {n}", "limit": args.limit}, 0)
                for n in range(int(args.rate * args.text_seconds))
            ]
            before = cpu_seconds(process)
            results["text"] = asyncio.run(load_of(address, words, args.rate)).to_json(args.text_seconds)
            results["text"]["cpu_ms_a_request"] = round(1000 * (cpu_seconds(process) - before) / len(words), 1)
        if args.ingest:
            name = httpx.get(address + "api/status", timeout=60).json()["job"]
            results["ingested"] = {
                key: value
                for key, value in httpx.get(f"{address}api/ingest/{name}", timeout=60).json().items()
                if key in ("state", "done", "total", "photos_per_s")
            }
        metrics = httpx.get(address + "metrics", timeout=60).text
        results["model_batches"] = {
            name: float(value)
            for name, value in re.findall(r"^interleave_model_batch_(count|sum) (\S+)$", metrics, re.M)
        }
        results["resident_mb"] = round(int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 1e6)
    finally:
        process.terminate()
        process.wait(60)
    return results


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="open-loop load on a server over many indexed photos")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=12)
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--text-seconds", type=float, default=20.0, help="of text queries at the same rate; 0 for none")
    parser.add_argument("--limit", type=int, default=20, help="hits of one answer")
    parser.add_argument("--model", default="find-mini")
    parser.add_argument("--ingest", action="store_true", help="take drawn photos in meanwhile")
    parser.add_argument("--ingest-photos", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="where the index is kept for the next run; temporary by default")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="serve-load-"))
    try:
        results = measure(args, folder)
    finally:
        if args.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps(results))
    else:
        for key, value in results.items():
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
