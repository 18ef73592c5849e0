"""A library of any size whose vectors lie as those of real photos do, for `scale.py`.

Real photos are encoded once. A made-up photo lies between a real one and one of its neighbours, moved further by the
difference of other neighbours; so do its regions, each about a region of the same real photo. `neighbourhoods`
measures how alike real and made-up sets of one size are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interleave_index.geometry import encode_rle, unit
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.interface import FindMini
from interleave_index.records import PhotoFacts, Space
from interleave_index.storage.backend import load_faiss
from interleave_index.storage.store import Store

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

NEAR = 10  # neighbours among which the second photo is drawn
NOISE = 0.8  # of the difference of two other neighbours that is added
CHUNK = 10_000
SHARES = {"tenth of a percent": 0.001, "one percent": 0.01, "ten percent": 0.1, "half": 0.5}  # by camera
FIRST_DAY = datetime(2000, 1, 1)


def note(line: str) -> None:
    """Print a line of progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Real:
    """Vectors of real photos: (N, D) of the wholes; (sum R, D) of the regions, by photo as `offsets` cut them."""

    image: Floats
    regions: Floats
    offsets: Ids


def encode(sources: list[Path], limit: int, kept: Path) -> Real:
    """The real photos of folders and packs by find-mini, at most `limit`; kept in a file for the next time."""
    if not kept.is_file():
        from interleave_index.evaluation.packs import read_pack
        from interleave_index.ingest.decode import load_picture

        def pixels() -> Iterator[Any]:
            for source in sources:
                if source.is_dir():
                    yield from (load_picture(path) for path in sorted(source.glob("*.jpg")))
                else:
                    yield from (photo.rgb() for photo in read_pack(source))

        model, batch, found = FindMini(WEIGHTS), [], []
        for rgb in pixels():
            batch.append(rgb)
            if len(batch) == 16:
                found += model.encode_photos(batch)
                batch = []
                if len(found) % 512 == 0:
                    note(f"encoded {len(found)} photos")
            if len(found) >= limit:
                break
        found += model.encode_photos(batch) if batch else []
        counts = [len(encoding.regions) for encoding in found]
        np.savez(
            kept,
            image=np.stack([encoding.image for encoding in found]),
            regions=np.concatenate([encoding.regions for encoding in found]),
            offsets=np.concatenate([[0], np.cumsum(counts)]),
        )
    with np.load(kept) as arrays:
        return Real(arrays["image"], arrays["regions"], arrays["offsets"].astype(np.int64))


class World:
    """The distribution that made-up photos are drawn from."""

    def __init__(self, real: Real, seed: int = 0) -> None:
        self.real, self.rng = real, np.random.default_rng(seed)
        filled = np.diff(real.offsets) > 0
        self.sources = np.flatnonzero(filled)
        self._near = {"image": _neighbours(real.image, NEAR), "region": _neighbours(real.regions, NEAR)}

    def photos(self, n: int, regions: int) -> tuple[Ids, Floats, Floats]:
        """Which real photo each is made from (n,), image vectors (n, D) and region vectors (n, R, D)."""
        chosen = self.rng.choice(self.sources, n)
        image = self._around(self.real.image, self._near["image"], chosen)
        counts = np.diff(self.real.offsets)[chosen]
        picked = self.real.offsets[chosen][:, None] + (self.rng.random((n, regions)) * counts[:, None]).astype(np.int64)
        found = self._around(self.real.regions, self._near["region"], picked.ravel())
        return chosen, image, found.reshape(n, regions, -1)

    def _around(self, vectors: Floats, near: Ids, chosen: Ids) -> Floats:
        rng, n = self.rng, len(chosen)
        towards = near[chosen, rng.integers(0, NEAR, n)]
        share = rng.uniform(0, 0.5, (n, 1)).astype(np.float32)
        moved = vectors[chosen] * (1 - share) + vectors[towards] * share
        for _ in range(3):  # the sum of some differences: close to normal, with the covariance of the neighbourhoods
            other = rng.integers(0, len(vectors), n)
            difference = vectors[other] - vectors[near[other, rng.integers(0, NEAR, n)]]
            moved += np.float32(NOISE / 3**0.5) * rng.standard_normal((n, 1), np.float32) * difference
        return unit(moved)


def _neighbours(vectors: Floats, k: int) -> Ids:
    flat = load_faiss().IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    return np.asarray(flat.search(vectors, k + 1)[1][:, 1:])


def neighbourhoods(vectors: Floats, asked: Floats, *, skip: int) -> dict[str, float]:
    """How the neighbours of some vectors lie: cosines of the 1st, 10th and 100th, local dimension, hubness.

    Args:
        skip: neighbours that are left out: 1 where the asked vectors are among the others.
    """
    flat = load_faiss().IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    cosines, ids = flat.search(asked, 100 + skip)
    cosines, ids = cosines[:, skip:], ids[:, skip:]
    distances = np.sqrt(np.maximum(2 - 2 * cosines, 1e-9))
    local = -1 / np.log(distances[:, :20] / distances[:, 19:20])[:, :19].mean(1)
    often = np.bincount(ids[:, :10].ravel(), minlength=len(vectors)).astype(np.float64)
    skew = ((often - often.mean()) ** 3).mean() / often.std() ** 3
    return {
        "cosine of the 1st": round(float(cosines[:, 0].mean()), 3),
        "of the 10th": round(float(cosines[:, 9].mean()), 3),
        "of the 100th": round(float(cosines[:, 99].mean()), 3),
        "local dimension": round(float(np.median(local)), 1),
        "hubness (skew of 10-occurrences)": round(float(skew), 1),
    }


def compared(real: Real, world: World) -> dict[str, dict[str, float]]:
    """`neighbourhoods` of the real vectors and of as many made-up ones, one a real photo."""
    rng = np.random.default_rng(5)
    n = len(real.image)
    _, image, regions = world.photos(n, 12)
    sets = {
        "photos, real": real.image,
        "photos, made up": image,
        "regions, real": real.regions[rng.choice(len(real.regions), min(12 * n, len(real.regions)), replace=False)],
        "regions, made up": regions.reshape(-1, regions.shape[2])[: len(real.regions)],
    }
    return {
        name: neighbourhoods(rows, rows[rng.choice(len(rows), min(2000, n))], skip=1) for name, rows in sets.items()
    }


def fill(folder: Path, world: World, photos: int, regions: int) -> float:
    """Write a library of made-up photos without FAISS files; returns the seconds that it took.

    Each photo has a camera that tells by which filter it is found (`SHARES`, at random), and a day that goes by the
    real photo it was made from, so that dates cut the library by content.
    """
    began = time.perf_counter()
    dim = world.real.image.shape[1]
    mask = encode_rle(np.tri(48, dtype=bool))
    rng = np.random.default_rng(1)
    boxes = np.tile(np.array([0, 0, 512, 384], np.float32), (CHUNK, regions, 1))
    level = np.full((CHUNK, regions), 0.5, np.float32)
    names, bounds = list(SHARES), np.cumsum(list(SHARES.values()))
    with Store.open(folder, create=True) as store:
        space = store.ensure_space(Space("synthetic", "0" * 64, "none", dim))
        for start in range(0, photos, CHUNK):
            n = min(CHUNK, photos - start)
            source, image, found = world.photos(n, regions)
            camera = [
                names[i] if i < len(names) else None for i in np.searchsorted(bounds, rng.random(n), side="right")
            ]
            facts = [
                PhotoFacts(
                    f"{start + i:064x}", 1024, 768, "JPEG", FIRST_DAY + timedelta(days=int(source[i])), camera[i]
                )
                for i in range(n)
            ]
            masks = [[mask] * regions] * n
            store.write_encodings(space, facts, image, found, boxes[:n], level[:n], level[:n], masks)
            if start % (10 * CHUNK) == 0:
                note(f"written {start + n} of {photos} photos")
        store.save_calibration(space, FindMini(WEIGHTS).calibration.to_bytes())
    return time.perf_counter() - began
