"""A real store in a temporary folder, filled with drawn photos as the toy interface sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import ImageUnreadable
from interleave_index.geometry import unit
from interleave_index.grammar import Query
from interleave_index.interface.protocol import Interface
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.query.engine import search
from interleave_index.records import RGB, Answer, Floats, Hit, PhotoFacts
from interleave_index.storage.store import Store

SIZE = (60, 80)  # height, width


def scene(ground: str = "white", **discs: tuple[int, int, int]) -> RGB:
    """A picture of discs, each (x, y, radius), in the colours that name them."""
    rgb = np.empty((*SIZE, 3), np.uint8)
    rgb[:] = COLOURS[ground]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    for colour, (cx, cy, radius) in discs.items():
        rgb[(x - cx) ** 2 + (y - cy) ** 2 <= radius**2] = COLOURS[colour.rstrip("_")]
    return rgb


def open_picture(source: str | Path | RGB) -> RGB:
    """The loader that searches are given here: arrays as they are, PNG files by Pillow."""
    if isinstance(source, np.ndarray):
        return source
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ImageUnreadable(f"{source}: cannot be read") from error


@dataclass
class Library:
    """A store, the interface that filled it, and what lies in it by name."""

    store: Store
    space_id: int
    folder: Path
    interface: ToyInterface = field(default_factory=ToyInterface)
    ids: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, RGB] = field(default_factory=dict)
    built: int = 0

    def file(self, name: str) -> Path:
        """Where a picture lies: under a name without words, for these are searched too."""
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.png"

    def add(self, name: str, rgb: RGB, *, save: bool = False, **facts: Any) -> int:
        """Encode one picture and write it; `save` also leaves its file on the disk."""
        sha = hashlib.sha256(name.encode()).hexdigest()
        if save:
            from PIL import Image

            Image.fromarray(rgb).save(self.file(name))
            sha = hashlib.sha256((self.file(name)).read_bytes()).hexdigest()
        self.add_all({name: rgb}, [PhotoFacts(sha, rgb.shape[1], rgb.shape[0], "PNG", **facts)])
        return self.ids[name]

    def add_all(self, pictures: dict[str, RGB], facts: list[PhotoFacts] | None = None) -> None:
        """Encode pictures and write them in one transaction."""
        found = self.interface.encode_photos(list(pictures.values()))
        facts = facts or [
            PhotoFacts(hashlib.sha256(name.encode()).hexdigest(), rgb.shape[1], rgb.shape[0], "PNG")
            for name, rgb in pictures.items()
        ]
        ids = self.store.write_encodings(
            self.space_id,
            facts,
            np.stack([one.image for one in found]),
            [one.regions for one in found],
            [one.boxes for one in found],
            [one.areas for one in found],
            [one.scores for one in found],
            [one.masks for one in found],
            [str(self.file(name)) for name in pictures],
        )
        self.ids.update(zip(pictures, ids, strict=True))
        self.pictures.update(pictures)

    def factory(self) -> Interface:
        """Gives the interface, and counts how often it was asked for."""
        self.built += 1
        return self.interface

    def ask(self, query: str | Query, **options: Any) -> Answer:
        """Search with this library's interface and loader."""
        asked = Query.parse(query) if isinstance(query, str) else query
        return search(self.store, self.factory, asked, load_picture=open_picture, **options)

    def names(self, answer: Iterable[Hit]) -> list[str]:
        """What was found, by name, best first."""
        by_id = {photo_id: name for name, photo_id in self.ids.items()}
        return [by_id[hit.photo.id] for hit in answer]


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Library]:
    """A store with an active space and no photos."""
    with Store.open(tmp_path / "index", create=True) as store:
        yield Library(store, store.ensure_space(ToyInterface.space), tmp_path)


@pytest.fixture
def library(empty: Library) -> Library:
    """Nine photos: eight scenes of coloured discs, and one that is all white."""
    scenes = {
        "red": scene(red=(40, 30, 20)),
        "green": scene(green=(30, 30, 20)),
        "blue": scene(blue=(50, 30, 20)),
        "red_and_blue": scene(red=(20, 30, 14), blue=(60, 30, 14)),
        "small_red": scene(red=(40, 30, 8)),
        "two_reds": scene(red=(18, 30, 14), red_=(60, 30, 13)),
        "yellow_on_black": scene("black", yellow=(40, 30, 18)),
        "purple": scene(purple=(40, 30, 20)),
        "white": scene(),
    }
    empty.add_all(scenes)
    return empty


@pytest.fixture(scope="session")
def make_vectors() -> Callable[..., Floats]:
    """Random unit vectors, float32, of any shape."""

    def make(rng: np.random.Generator, *shape: int) -> Floats:
        return unit(rng.standard_normal(shape))

    return make


@pytest.fixture(scope="session")
def draw() -> Callable[..., RGB]:
    """`scene`: a picture of discs, each (x, y, radius), in the colours that name them."""
    return scene


@pytest.fixture(scope="session")
def load() -> Callable[[str | Path | RGB], RGB]:
    """`open_picture`: the loader that searches are given here."""
    return open_picture
