"""Photos drawn by code, so that their masks are known, and a real index over them with a weightless interface."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from interleave_index.cli import main
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.records import RGB, BoolMask

if TYPE_CHECKING:
    from interleave_index.service import Index

SIZE = (96, 128)  # height, width


@dataclass(frozen=True)
class DrawnPhoto:
    """One drawn picture: where it lies, its pixels, and the mask of every shape by colour."""

    path: str
    rgb: RGB
    masks: dict[str, BoolMask]

    @property
    def mask(self) -> BoolMask:
        """The first shape's mask, (96, 128) bool."""
        return next(iter(self.masks.values()))


@dataclass(frozen=True)
class DrawnPhotos:
    """Six pictures in one folder; every name says what is on it."""

    folder: Path
    red_disc: DrawnPhoto
    green_square: DrawnPhoto
    blue_triangle: DrawnPhoto
    yellow_disc_on_black: DrawnPhoto
    red_disc_and_blue_square: DrawnPhoto
    purple_stripe: DrawnPhoto

    def __iter__(self) -> Iterator[DrawnPhoto]:
        return (value for value in vars(self).values() if isinstance(value, DrawnPhoto))


def disc(x: float, y: float, radius: float) -> BoolMask:
    """(96, 128) mask of the pixels whose centres lie within `radius` of (x, y)."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    mask: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def rectangle(x0: int, y0: int, x1: int, y1: int) -> BoolMask:
    """(96, 128) mask of a half-open rectangle."""
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def triangle() -> BoolMask:
    """(96, 128) mask of a right-angled triangle below a diagonal."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask: BoolMask = (rows < 80) & (columns >= 20) & (rows - 20 >= columns - 20)
    return mask


def paint(shapes: dict[str, BoolMask], ground: str = "white") -> RGB:
    """(96, 128, 3) uint8 picture of the shapes in the colours that name them."""
    rgb = np.empty((*SIZE, 3), np.uint8)
    rgb[:] = COLOURS[ground]
    for colour, mask in shapes.items():
        rgb[mask] = COLOURS[colour]
    return rgb


def save(rgb: RGB, path: Path) -> str:
    """Write a PNG, losslessly, and give back its path."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)
    return str(path)


class Draw:
    """The pencils of this file, for tests that draw their own photos."""

    disc, rectangle, paint, save = staticmethod(disc), staticmethod(rectangle), staticmethod(paint), staticmethod(save)


@pytest.fixture(scope="session")
def draw() -> type[Draw]:
    """`draw.disc`, `draw.rectangle`, `draw.paint`, `draw.save`."""
    return Draw


@pytest.fixture(scope="session")
def drawn_photos(tmp_path_factory: pytest.TempPathFactory) -> DrawnPhotos:
    """Six PNG files in one folder; read only."""
    folder = tmp_path_factory.mktemp("drawn") / "photos"
    scenes: dict[str, tuple[str, dict[str, BoolMask]]] = {
        "red_disc": ("white", {"red": disc(60, 50, 30)}),
        "green_square": ("white", {"green": rectangle(30, 20, 80, 70)}),
        "blue_triangle": ("white", {"blue": triangle()}),
        "yellow_disc_on_black": ("black", {"yellow": disc(40, 40, 25)}),
        "red_disc_and_blue_square": ("white", {"red": disc(30, 48, 20), "blue": rectangle(70, 30, 110, 70)}),
        "purple_stripe": ("white", {"purple": rectangle(0, 40, 128, 60)}),
    }
    drawn = {}
    for name, (ground, shapes) in scenes.items():
        rgb = paint(shapes, ground)
        drawn[name] = DrawnPhoto(save(rgb, folder / f"{name}.png"), rgb, shapes)
    return DrawnPhotos(folder, **drawn)


@pytest.fixture(scope="session")
def _ingested(drawn_photos: DrawnPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index over the drawn photos, made once; tests get copies of it."""
    from interleave_index.config import Config
    from interleave_index.service import Index

    folder = tmp_path_factory.mktemp("ingested") / "photos.index"
    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(folder, config=config, interface=ToyInterface(), create=True) as index:
        report = index.ingest(drawn_photos.folder)
    assert (report.added, report.failed) == (6, ())
    return folder


@pytest.fixture
def toy_index(_ingested: Path, tmp_path: Path) -> Iterator[Index]:
    """A real index (SQLite and FAISS in `tmp_path`) over the drawn photos, asked through the toy interface."""
    from interleave_index.service import Index

    shutil.copytree(_ingested, tmp_path / "photos.index")
    with Index.open(tmp_path / "photos.index", interface=ToyInterface()) as index:
        yield index


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git tracks, so that nothing left over from earlier builds slips in."""
    root, folder = Path(__file__).parents[1], tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_symlink() or (root / name).exists():
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / "clone" / name, follow_symlinks=False)
    words = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(folder / "clone")]
    built = subprocess.run(words, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def prompts_from_published():
    """The function of `benchmarks/published_inputs.py`: inputs under their published names into prompts."""
    import importlib.util

    file = Path(__file__).parents[1] / "benchmarks" / "published_inputs.py"
    spec = importlib.util.spec_from_file_location("published_inputs", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.prompts_from_published


@pytest.fixture(scope="session")
def toys():
    """The module `interface/published/published_toys.py`: checkpoints of the published form with random weights."""
    import importlib.util

    file = Path(__file__).parent / "interface" / "published" / "published_toys.py"
    spec = importlib.util.spec_from_file_location("published_toys", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(capsys):
    """Run one command; gives its status, what it printed, and what it wrote to stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in words])
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return run
