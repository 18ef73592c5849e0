"""How near an ingest comes to what decoding and the model alone take, and how many large photos a core reads.

    python -m benchmarks.ingest_speed [--photos 300] [--large 60] [--rounds 3] [--model find-mini] [--pictures FOLDER]

In one run on the same cores, in turn, by the wall and by processor time (of this process and of those it starts, so
that other work on the machine does not count):

* JPEG files of about 1,000 pixels, then of 12 megapixels: the same decode processes and the same batches through the
  model with nothing around them, and the whole ingest (scan, hashes, thumbnail, model, SQL);
* 12 megapixels by four decode processes and a model that costs nothing: photos a minute a core.

The files are variants of real photos, all different, as `ingest.py` makes them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ingest import StandIn, build, decode_and_model, make_variants, real_pictures
from interleave_index.ingest.decode import decode
from interleave_index.ingest.pipeline import IngestSettings, ingest, processors
from interleave_index.storage.store import Store

os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}  # as the commands do, before torch is loaded
LARGE_SIDE = 4000  # of 4:3 about 12 megapixels
DECODERS = 4


def processor_seconds() -> float:
    """Of this process and of all that it started and that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def clocked(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds, and what the call gives."""
    work, began = processor_seconds(), time.perf_counter()
    given = call()
    return time.perf_counter() - began, processor_seconds() - work, given


def taken_in(folder: Path, count: int, model: Any, settings: IngestSettings, index: Path) -> dict[str, float]:
    """A whole ingest into a new index; its seconds by stage."""
    with Store.open(index, create=True) as store:
        report = ingest(store, model, [folder], settings=settings)
    if report.added != count:
        raise SystemExit(f"{report.added} of {count} photos were added: {report.failed[:3]}")
    return dict(report.seconds)


def beside_the_bound(folder: Path, model: Any, settings: IngestSettings, rounds: int) -> dict[str, Any]:
    """Decode and model alone, and the whole ingest, in turn."""
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    model.encode_photos([decode(path, long_side=settings.long_side).rgb for path in paths[: settings.model_batch]])
    alone: list[tuple[float, float]] = []
    whole: list[tuple[float, float]] = []
    stages: dict[str, float] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch)
            alone.append(clocked(lambda place=place: decode_and_model(paths, model, settings, place))[:2])  # type: ignore[misc]
            wall, work, stages = clocked(
                lambda place=place: taken_in(folder, len(paths), model, settings, place / "index")  # type: ignore[misc]
            )
            whole.append((wall, work))
        print(f"round {number + 1}: alone {alone[-1]}, whole {whole[-1]}", file=sys.stderr, flush=True)
    return {
        "photos": len(paths),
        "photos_per_s": {"decode and model alone": _speed(paths, alone), "whole ingest": _speed(paths, whole)},
        "processor_ms_a_photo": {"decode and model alone": _work(paths, alone), "whole ingest": _work(paths, whole)},
        "share_of_the_bound": round(statistics.median(a[0] / w[0] for a, w in zip(alone, whole, strict=True)), 3),
        "by_processor_time": round(statistics.median(a[1] / w[1] for a, w in zip(alone, whole, strict=True)), 3),
        "seconds_by_stage": {name: round(spent, 2) for name, spent in stages.items()},
    }


def _speed(paths: list[str], runs: list[tuple[float, float]]) -> float:
    return round(len(paths) / statistics.median(wall for wall, _ in runs), 1)


def _work(paths: list[str], runs: list[tuple[float, float]]) -> float:
    return round(1000 * statistics.median(work for _, work in runs) / len(paths), 2)


def free_model(folder: Path, rounds: int) -> dict[str, Any]:
    """Photos a minute a core, with a model that costs nothing."""
    count = len(list(folder.rglob("*.jpg")))
    settings, runs = IngestSettings(workers=DECODERS), []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            index, model = Path(scratch) / "index", StandIn(network=False)
            runs.append(clocked(lambda i=index, m=model: taken_in(folder, count, m, settings, i))[:2])  # type: ignore[misc]
    cores = min(DECODERS, processors())
    return {
        "photos": count,
        "decode_processes": DECODERS,
        "cores": cores,
        "photos_a_minute_a_core": round(60 * count / (cores * min(wall for wall, _ in runs))),
        "by_processor_time": round(60 * count / min(work for _, work in runs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=300, help="of about 1,000 pixels")
    parser.add_argument("--large", type=int, default=60, help="of 12 megapixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="find-mini", help="find-mini, toy, a folder, stand-in, none")
    parser.add_argument("--pictures", type=Path, help="folder of real photos to make the variants of")
    parser.add_argument("--workers", type=int, default=-1)
    arguments = parser.parse_args()
    settings, model = IngestSettings(workers=arguments.workers), build(arguments.model)
    result: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "processors": processors(),
        "load": round(os.getloadavg()[0], 1),
        "model": arguments.model,
        "decode_processes": settings.processes,
    }
    with tempfile.TemporaryDirectory() as scratch:
        bases = real_pictures(arguments.pictures)
        for name, count, side in (("small", arguments.photos, 1024), ("large", arguments.large, LARGE_SIDE)):
            folder = Path(scratch) / name
            folder.mkdir()
            make_variants(folder, bases, count, side)
            result[name] = beside_the_bound(folder, model, settings, arguments.rounds)
        result["free_model"] = free_model(Path(scratch) / "large", arguments.rounds)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
