"""A real store in a temporary folder, filled with made-up vectors whose right answers brute force knows."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

os.environ.setdefault("OMP_NUM_THREADS", "1")

from interleave_index.geometry import unit
from interleave_index.records import PhotoEncoding, PhotoFacts, Rle, Space
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.store import Store

DIM = 16
SPACE = Space("toy", "0" * 64, "none", DIM)


def sha(name: str) -> str:
    """A sha256 for a made-up content."""
    return hashlib.sha256(name.encode()).hexdigest()


class Library:
    """A store and the vectors that were put into it, by photo id.

    Vectors are rounded to fp16 here already, so that what the store gives back must be exactly these.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.store = Store.open(name, create=True)
        self.folder = self.store.folder
        self.space = self.store.ensure_space(SPACE)
        self.image: dict[int, NDArray[np.float32]] = {}
        self.regions: dict[int, NDArray[np.float32]] = {}
        self.rng = np.random.default_rng(7)

    def vectors(self, n: int) -> NDArray[np.float32]:
        """(n, 16) unit vectors that fp16 holds exactly."""
        return unit(self.rng.normal(size=(n, DIM))).astype(np.float16).astype(np.float32)

    def encoding(self, regions: int) -> PhotoEncoding:
        """A made-up encoding with so many regions."""
        masks = tuple(Rle((2, 2), "22") for _ in range(regions))
        boxes = np.arange(4 * regions, dtype=np.float32).reshape(regions, 4)
        level = np.linspace(1, 0.5, regions).astype(np.float32)
        return PhotoEncoding(self.vectors(1)[0], self.vectors(regions), boxes, level, level, masks, b"record")

    def facts(self, name: str, **more: Any) -> PhotoFacts:
        """Facts of a picture whose content is this name."""
        return PhotoFacts(sha(name), 40, 30, "JPEG", **more)

    def add(
        self, *names: str, regions: int | Sequence[int] = 2, replace: bool = False, path: bool = True, **facts: Any
    ) -> list[int]:
        """Write photos with one location each, and return their ids."""
        counts = [regions] * len(names) if isinstance(regions, int) else list(regions)
        writes = [
            PhotoWrite(self.facts(name, **facts), self.encoding(count), replace)
            for name, count in zip(names, counts, strict=True)
        ]
        places = [LocationWrite(f"/photos/{name}.jpg", sha(name), 1, 1) for name in names] if path else []
        self.store.write(WriteBatch(self.space, writes, places))
        ids = [self.id(name) for name in names]
        for photo_id, write in zip(ids, writes, strict=True):
            if write.encoding is not None and (replace or photo_id not in self.image):
                self.image[photo_id], self.regions[photo_id] = write.encoding.image, write.encoding.regions
        return ids

    def id(self, name: str) -> int:
        """Id of the photo with this content."""
        photo = self.store.photo_by_sha(sha(name))
        if photo is None:
            raise KeyError(name)
        return photo.id

    def forget(self, ids: Sequence[int]) -> None:
        """Forget photos in the store and here."""
        self.store.forget(ids)
        for photo_id in ids:
            del self.image[photo_id], self.regions[photo_id]

    def rows(self, kind: str, allowed: Sequence[int] | None = None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Every row that may be found: ids ascending, and vectors."""
        ids, found = [], [np.empty((0, DIM), np.float32)]
        for photo_id in sorted(self.image):
            if allowed is None or photo_id in allowed:
                here = self.image[photo_id][None] if kind == "image" else self.regions[photo_id]
                ids += [photo_id] if kind == "image" else [photo_id * 256 + i for i in range(len(here))]
                found.append(here)
        return np.array(ids, np.int64), np.concatenate(found)

    def check(self, queries: NDArray[np.float32], k: int, allowed: Sequence[int] | None = None) -> None:
        """Compare both indexes with brute force: every id allowed, every score right, nothing better left out."""
        chosen = None if allowed is None else np.array(sorted(allowed), np.int64)
        for kind in ("image", "region"):
            ids, rows = self.rows(kind, allowed)
            scores, names = self.store.indexes(self.space).of(kind).search(queries, k, chosen)
            assert scores.shape == names.shape == (len(queries), k)
            truth = queries @ rows.T
            best = -np.sort(-truth, axis=1)[:, :k]
            found = min(k, len(ids))
            np.testing.assert_allclose(scores[:, :found], best[:, :found], atol=2e-6)
            assert (names[:, found:] == -1).all() and np.isneginf(scores[:, found:]).all()
            for line, said, right in zip(names[:, :found], scores, truth, strict=True):
                places = np.searchsorted(ids, line)
                assert (ids[places] == line).all() and len(set(line)) == found
                np.testing.assert_allclose(right[places], said[:found], atol=2e-6)

    def names_of_checks_that_fail(self) -> list[str]:
        """Checks of `verify` that do not hold."""
        return [f"{check.name}: {check.detail}" for check in self.store.verify() if not check.ok]

    def reopen(self) -> None:
        """Close the store and open it again, as another process would find it."""
        self.store.close()
        self.store = Store.open(self.name)


@pytest.fixture
def library(database: Any, tmp_path: Path) -> Iterator[Library]:
    """An empty library in its own folder."""
    made = Library(database.name(tmp_path / "index"))
    yield made
    made.store.close()


@pytest.fixture
def another_library(database: Any, tmp_path: Path) -> Iterator[Callable[[], Library]]:
    """Makes more libraries, each in its own folder."""
    made: list[Library] = []

    def make() -> Library:
        made.append(Library(database.name(tmp_path / f"index-{len(made)}")))
        return made[-1]

    yield make
    for one in made:
        one.store.close()


@pytest.fixture
def day() -> datetime:
    """Noon of one day."""
    return datetime(2026, 5, 4, 12, 0)
