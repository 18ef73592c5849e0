"""A small library of drawn pictures, written in any format, and an index to take it into."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.ingest.pipeline import IngestSettings, ingest
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.records import RGB, IngestReport, PhotoEncoding
from interleave_index.storage.store import Store

SIZE = (48, 64)  # height, width


class Pictures:
    """Makers of pictures that need no file."""

    @staticmethod
    def drawn(number: int, size: tuple[int, int] = SIZE) -> RGB:
        """A picture that no other number gives: a coloured box on white, at a place and in a size of its own."""
        random = np.random.default_rng(number)
        rgb = np.full((*size, 3), 255, np.uint8)
        y, x = (int(random.integers(0, side // 2)) for side in size)
        rgb[y : y + size[0] // 3, x : x + size[1] // 3] = list(COLOURS.values())[number % 6]
        rgb[0, 0] = (number % 256, number // 256 % 256, 7)
        return rgb

    @staticmethod
    def smooth(size: tuple[int, int] = SIZE) -> RGB:
        """A picture without edges, which lossy formats keep within a few grey levels, and without any symmetry."""
        y, x = np.mgrid[: size[0], : size[1]] / np.array(size, float).reshape(2, 1, 1)
        return (np.stack([x * 200 + 20, y * 160 + 40, (x + 2 * y) * 60 + 30], -1)).round().astype(np.uint8)

    @staticmethod
    def encoded(rgb: RGB, kind: str, **options: object) -> bytes:
        """The picture as bytes of a format that Pillow or pillow-heif writes."""
        file = io.BytesIO()
        image = Image.fromarray(rgb)
        if kind == "HEIF":
            import pillow_heif

            pillow_heif.from_pillow(image).save(file, format="HEIF", quality=90, **options)
        else:
            image.save(file, kind, **options)
        return file.getvalue()


class Counting(ToyInterface):
    """The toy interface, which remembers how many photos it was given, and can be told to refuse some."""

    def __init__(self, refuse: Callable[[RGB], bool] = lambda rgb: False) -> None:
        self.batches: list[int] = []
        self.refuse = refuse

    @property
    def photos(self) -> int:
        """Photos that were given in all."""
        return sum(self.batches)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """As the toy does, unless one of them is refused."""
        self.batches.append(len(photos))
        if any(self.refuse(photo) for photo in photos):
            raise RuntimeError("this photo is not to my taste")
        return super().encode_photos(photos)


class Library:
    """A folder of drawn PNG pictures and the index that takes them in."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store, self.model = folder, store, Counting()
        folder.mkdir()

    def add(self, name: str, number: int) -> Path:
        """Write one drawn picture, in place of whatever was there."""
        return self.put(name, Pictures.encoded(Pictures.drawn(number), "PNG"))

    def put(self, name: str, data: bytes) -> Path:
        """Write any bytes."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def ingest(
        self, *roots: Path, workers: int = 0, model: ToyInterface | None = None, **settings: Any
    ) -> IngestReport:
        """Take the folder (or other roots) in."""
        chosen = IngestSettings(workers=workers, **settings)
        return ingest(self.store, model or self.model, roots or (self.folder,), settings=chosen)

    def counts(self, report: IngestReport) -> dict[str, int]:
        """The counts of a report that are not zero."""
        plain = {k: v for k, v in report.to_json().items() if isinstance(v, int) and v}
        return plain | ({"failed": len(report.failed)} if report.failed else {})


def fill(library: Library, count: int = 4) -> list[Path]:
    """Write so many pictures, ``0.png`` and on."""
    return [library.add(f"{number}.png", number) for number in range(count)]


def rows(library: Library) -> dict[str, tuple[str, int | None]]:
    """Every location of the folder: name -> (state, photo id)."""
    known = library.store.known_locations([library.folder])
    return {os.path.basename(path): (row.state, row.photo_id) for path, row in known.items()}


def states(store: Store, folder: Path) -> list[tuple[str, int | None]]:
    """(state, photo id) of every location below a folder."""
    return [(row.state, row.photo_id) for row in store.known_locations([folder]).values()]


@pytest.fixture
def pictures() -> type[Pictures]:
    """Makers of pictures."""
    return Pictures


@pytest.fixture
def library(database: Any, tmp_path: Path) -> Iterator[Library]:
    """An empty folder of photos and an empty index."""
    with Store.open(database.name(tmp_path / "index"), create=True) as store:
        yield Library(tmp_path / "photos", store)
