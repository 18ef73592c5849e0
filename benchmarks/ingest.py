"""What an ingest costs besides decoding and the model, and whether its memory stays flat.

    python benchmarks/ingest.py [--photos 20000] [--model find-mini] [--pictures FOLDER]

Makes variants of real photos by script (the sample pictures of scikit-image and scikit-learn, or those in a folder),
then measures, in one run on the same cores:

* decode + model alone: the same decode processes, the same batches, nothing else;
* the whole ingest: scan, hash, decode, thumbnail, perceptual hash, model, SQL; their ratio, several times in turn;
* the share of the time that goes into everything besides decode and model;
* the peak of the memory (proportional set size of the parent and its processes) at 1,000 and at all photos.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index.geometry import box_mask, encode_rle, unit
from interleave_index.ingest.decode import decode
from interleave_index.ingest.decode_pool import WorkerPool
from interleave_index.ingest.decode_task import Recipe, Task
from interleave_index.ingest.pipeline import IngestSettings, ingest, processors
from interleave_index.ingest.tally import IngestProgress
from interleave_index.interface.calibration import KINDS, Calibration, Curve
from interleave_index.records import RGB, PhotoEncoding, Space
from interleave_index.storage.store import Store

FEW = 1_000
REGIONS = 12


class StandIn:
    """Untrained: the vision tower of the bundled model with random weights, and fixed regions; needs no files.

    Args:
        network: False computes nothing at all, which is enough for questions of memory.
    """

    space = Space("stand-in", "0" * 64, "squash 128, pillow bilinear", 256)

    def __init__(self, network: bool = True) -> None:
        self._tower: Any = None
        if network:
            import torch

            from interleave_index.models.vision.tower import VisionTower

            torch.manual_seed(0)
            self._tower = VisionTower().eval()
        self._random = np.random.default_rng(0)
        bank = np.zeros((1, 256), np.float32)
        curves = dict.fromkeys(KINDS, Curve(8.0, -4.0, 0.25, 12.0, -0.5, -3.0, 0.5))
        self.calibration = Calibration(bank, bank, bank, bank, curves)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        if self._tower is not None:
            import torch
            from PIL import Image

            small = [np.asarray(Image.fromarray(p).resize((128, 128), Image.Resampling.BILINEAR)) for p in photos]
            with torch.inference_mode():
                self._tower(torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float())
        return [self._encoding(photo) for photo in photos]

    def _encoding(self, photo: RGB) -> PhotoEncoding:
        vectors = unit(self._random.standard_normal((REGIONS + 1, 256), np.float32))
        corners = self._random.uniform(0, 100, (REGIONS, 2))
        boxes = np.concatenate([corners, corners + 60], 1).astype(np.float32)
        masks = tuple(encode_rle(box_mask((b[0], b[1], b[2], b[3]), (192, 256))) for b in boxes.tolist())
        half = np.full(REGIONS, 0.5, np.float32)
        return PhotoEncoding(vectors[0], vectors[1:], boxes, half, half, masks)


def build(name: str) -> Any:
    """The model to measure with."""
    if name in ("stand-in", "none"):
        return StandIn(network=name == "stand-in")
    from interleave_index.interface.registry import load

    return load(name)


# --- photos ----------------------------------------------------------------------------------


def real_pictures(folder: Path | None) -> list[RGB]:
    """Upright pixels of the pictures that the variants are made of."""
    if folder is None:
        import skimage
        import sklearn

        places = [Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"]
        files = [p for place in places for p in sorted(place.iterdir()) if p.suffix in (".jpg", ".png", ".jpeg")]
    else:
        files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    found = [decode(file).rgb for file in files]
    chosen = [rgb for rgb in found if min(rgb.shape[:2]) >= 250]
    if not chosen:
        raise SystemExit("no picture of at least 250 pixels found; give a folder with --pictures")
    return chosen


def make_variants(folder: Path, bases: Sequence[RGB], count: int, side: int) -> None:
    """Write JPEGs that are all different: another cut, size, brightness, side and quality each time."""
    import simplejpeg
    from PIL import Image

    random = np.random.default_rng(0)
    for number in range(count):
        base = bases[number % len(bases)]
        cut = random.uniform(0.6, 1.0)
        height, width = (int(n * cut) for n in base.shape[:2])
        top, left = random.integers(0, base.shape[0] - height + 1), random.integers(0, base.shape[1] - width + 1)
        piece = Image.fromarray(base[top : top + height, left : left + width])
        scale = side * random.uniform(0.8, 1.2) / max(height, width)
        rgb = np.asarray(piece.resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR))
        rgb = np.ascontiguousarray(rgb[:, ::-1] if number % 2 else rgb)
        place = folder / f"{number // 1000:03}"
        place.mkdir(exist_ok=True)
        data = simplejpeg.encode_jpeg(
            rgb, quality=int(random.integers(82, 96)), colorspace="RGB", colorsubsampling="420"
        )
        (place / f"{number:06}.jpg").write_bytes(data)


# --- speed -----------------------------------------------------------------------------------


def decode_and_model(paths: Sequence[str], model: Any, settings: IngestSettings, scratch: Path) -> float:
    """Photos a second of the same processes and batches with nothing around them."""
    recipe = Recipe(str(scratch), settings.max_pixels, settings.long_side, settings.thumbnail_side, bare=True)
    start = time.perf_counter()
    pool = WorkerPool(recipe, settings.processes, 3 * settings.model_batch + 2 * settings.processes + 1)
    waiting, ready = list(enumerate(paths))[::-1], []
    try:
        while waiting or pool.outstanding or ready:
            while waiting and pool.free_slots:
                number, path = waiting.pop()
                pool.submit(Task(number, path))
            outcome = pool.next(0.2) if pool.outstanding else None
            if outcome is not None:
                ready.append(outcome)
            if len(ready) == settings.model_batch or (ready and not pool.outstanding):
                model.encode_photos([item.rgb for item in ready])
                for item in ready:
                    pool.release(item)
                ready = []
    finally:
        pool.close()
    return len(paths) / (time.perf_counter() - start)


def whole_ingest(folder: Path, count: int, model: Any, settings: IngestSettings, index: Path) -> tuple[float, float]:
    """Photos a second of a whole ingest into a new index, and the share of all work besides decode and model."""
    updates: list[IngestProgress] = []
    start = time.perf_counter()
    with Store.open(index, create=True) as store:
        report = ingest(store, model, [folder], settings=settings, progress=updates.append)
    speed = count / (time.perf_counter() - start)
    if report.added != count:
        raise SystemExit(f"{report.added} of {count} photos were added: {report.failed[:3]}")
    work = updates[-1].decoder_seconds
    useful = work["read"] + work["decode"] + report.seconds["model"]
    other = work["hash"] + work["small"] + report.seconds["read"] + report.seconds["write"]
    return speed, other / (useful + other)


def measure_speed(folder: Path, model: Any, settings: IngestSettings, rounds: int) -> dict[str, Any]:
    """Both, in turn, so that whatever else the machine does falls on both."""
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    model.encode_photos([decode(path, long_side=settings.long_side).rgb for path in paths[: settings.model_batch]])
    alone, whole, shares = [], [], []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as scratch:
            alone.append(decode_and_model(paths, model, settings, Path(scratch)))
            speed, share = whole_ingest(folder, len(paths), model, settings, Path(scratch) / "index")
            whole.append(speed)
            shares.append(share)
        print(
            f"round {number + 1}: decode + model {alone[-1]:.1f} photos/s, whole ingest {speed:.1f}, "
            f"ratio {speed / alone[-1]:.3f}, besides {100 * share:.1f} %",
            file=sys.stderr,
        )
    return {
        "photos": len(paths),
        "decode_and_model_photos_per_s": round(statistics.median(alone), 1),
        "ingest_photos_per_s": round(statistics.median(whole), 1),
        "ratio": round(statistics.median(w / a for w, a in zip(whole, alone, strict=True)), 3),
        "besides_decode_and_model_percent": round(100 * statistics.median(shares), 1),
    }


# --- memory ----------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found, parents = [pid], {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def proportional_mib(pids: Sequence[int]) -> float:
    """Memory of some processes, what they share counted once."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure_memory(photos: Path, count: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Peak MiB of an ingest of so many photos in a process of its own: until the last photo, and with `optimize`."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [
            sys.executable,
            __file__,
            "--run",
            str(photos),
            "--photos",
            str(count),
            "--model",
            arguments.model,
            "--index",
            f"{scratch}/index",
            "--workers",
            str(arguments.workers),
            "--long-side",
            str(arguments.long_side),
        ]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peaks, stage = {"ingest": 0.0, "optimize": 0.0}, ["ingest"]

        def follow() -> None:
            for line in program.stdout or ():
                stage[0] = line.strip() or stage[0]

        threading.Thread(target=follow, daemon=True).start()
        start = time.perf_counter()
        while program.poll() is None:
            now = stage[0] if stage[0] in peaks else "ingest"
            peaks[now] = max(peaks[now], proportional_mib(family(program.pid)))
            time.sleep(0.25)
        seconds = time.perf_counter() - start
        if program.returncode:
            raise SystemExit(f"the ingest of {count} photos ended with status {program.returncode}")
    return {
        "photos": count,
        "peak_mib": round(peaks["ingest"]),
        "peak_mib_with_optimize": round(max(peaks.values())),
        "photos_per_s": round(count / seconds, 1),
    }


def run_one(arguments: argparse.Namespace) -> None:
    """What `measure_memory` starts: one ingest that reports its stage."""
    folders = sorted(Path(arguments.run).iterdir())[: -(-arguments.photos // 1000)]
    last: list[str] = []

    def tell(progress: IngestProgress) -> None:
        stage = "optimize" if progress.stage == "optimize" else "ingest"
        if [stage] != last:
            last[:] = [stage]
            print(stage, flush=True)

    with Store.open(arguments.index, create=True) as store:
        report = ingest(
            store,
            build(arguments.model),
            folders,
            progress=tell,
            settings=IngestSettings(workers=arguments.workers, long_side=arguments.long_side),
        )
    if report.added < arguments.photos:
        raise SystemExit(f"only {report.added} of {arguments.photos} photos were added: {report.failed[:3]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000, help="variants to make; up to 1,000 of them are timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="find-mini", help="find-mini, toy, a folder, stand-in, none")
    parser.add_argument("--pictures", type=Path, help="folder of real photos to make the variants of")
    parser.add_argument("--side", type=int, default=1024, help="long side of a variant, on average")
    parser.add_argument("--long-side", type=int, default=IngestSettings().long_side, help="see IngestSettings")
    parser.add_argument("--workers", type=int, default=-1)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--index", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        run_one(arguments)
        return
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        make_variants(photos, real_pictures(arguments.pictures), arguments.photos, arguments.side)
        settings = IngestSettings(workers=arguments.workers, long_side=arguments.long_side)
        result: dict[str, Any] = {
            "model": arguments.model,
            "processors": processors(),
            "workers": settings.processes,
            "mean_side": arguments.side,
            "long_side": arguments.long_side,
        }
        result["speed"] = measure_speed(photos / "000", build(arguments.model), settings, arguments.rounds)
        sizes = sorted({min(FEW, arguments.photos), arguments.photos})
        result["memory"] = [measure_memory(photos, count, arguments) for count in sizes]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
