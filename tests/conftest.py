"""Photos drawn by code, so that their masks are known, and a real index over them with a weightless interface."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sqlalchemy import make_url

from interleave_index.cli import main
from interleave_index.config import index_folder
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.records import RGB, BoolMask

from . import s3 as s3_server
from .postgres import Server, programs

if TYPE_CHECKING:
    from interleave_index.service import Index

SIZE = (96, 128)  # height, width
# Modules whose tests run on both databases by default: those where SQL differs. Of other modules those do that are
# marked `both_databases`; `--every-database` runs all that can.
ON_BOTH = (
    "storage/test_filters.py",
    "storage/test_texts.py",
    "storage/test_upkeep.py",
    "storage/test_words.py",
    "storage/test_writes.py",
    "ingest/test_missing.py",
    "ingest/test_pipeline.py",
    "test_tending.py",
)
NO_SERVER = "no server of PostgreSQL is installed (Debian: apt install postgresql), or no psycopg"


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


# --- databases ---------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-database", action="store_true", help="Run all tests of an index on PostgreSQL as well.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with an index run on SQLite, those of some modules on PostgreSQL too, unless they are marked."""
    if "database" not in metafunc.fixturenames:
        return
    file = metafunc.definition.path.relative_to(Path(__file__).parent).as_posix()
    marked = metafunc.definition.get_closest_marker("both_databases") is not None
    both = marked or file in ON_BOTH or metafunc.config.getoption("--every-database")
    only_sqlite = metafunc.definition.get_closest_marker("sqlite") is not None
    kinds = ["sqlite", "postgresql"] if both and not only_sqlite else ["sqlite"]
    metafunc.parametrize("database", kinds, indirect=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly how many tests of the second database were left out."""
    skipped = sum(NO_SERVER in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_line(f"{skipped} tests on PostgreSQL were SKIPPED: {NO_SERVER}", yellow=True, bold=True)
    skipped = sum(s3_server.MISSING in str(report.longrepr) for report in terminalreporter.stats.get("skipped", []))
    if skipped:
        terminalreporter.write_line(f"{skipped} tests of S3 were SKIPPED: {s3_server.MISSING}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def _s3() -> Iterator[s3_server.S3Server]:
    if not s3_server.can_run():
        pytest.skip(s3_server.MISSING)
    server = s3_server.S3Server()
    yield server
    server.stop()


@pytest.fixture
def bucket(_s3: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[s3_server.Bucket]:
    """An empty bucket of a server of this machine, to which everything that speaks S3 here is pointed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")  # that a server is away is known soon
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "no such file"))
    _s3.asked.clear()
    yield s3_server.Bucket(_s3)
    _s3.failing = 0
    if not _s3.answers:
        _s3.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of PostgreSQL that is thrown away; without one the test is skipped."""
    if programs() is None or find_spec("psycopg") is None:
        pytest.skip(NO_SERVER)
    server = Server()
    yield server
    server.remove()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Where the test's indexes have their rows: SQLite, or PostgreSQL in modules that run on both."""
    made = Database(request.getfixturevalue("postgres") if request.param == "postgresql" else None)
    yield made
    made.close()


class Database:
    """Names indexes: folders, or URLs of databases with these folders.

    Attributes:
        server: of PostgreSQL; None for SQLite.
    """

    def __init__(self, server: Server | None) -> None:
        self.server = server
        self._names: dict[Path, str] = {}
        self._copies: list[str] = []

    def name(self, folder: Path) -> str:
        """What opens the index of a folder: of the same folder the same one."""
        if self.server is None:
            return str(folder)
        if folder not in self._names:
            self._names[folder] = self.server.url(self.server.blank(), folder)
        return self._names[folder]

    def copy(self, name: str, folder: Path) -> str:
        """What opens a copy of an index that nobody has open, in a new folder."""
        if self.server is None:
            shutil.copytree(name, folder)
            return str(folder)
        shutil.copytree(index_folder(name), folder)
        self._copies.append(self.server.new_database(str(make_url(name).database)))
        return self.server.url(self._copies[-1], folder)

    def close(self) -> None:
        """Let other tests have the databases."""
        if self.server is not None:
            for name in self._names.values():
                self.server.give_back(str(make_url(name).database))
            for copy in self._copies:
                self.server.drop(copy)

    def run(self, name: str, statement: str) -> None:
        """Run a statement behind the back of the index, which has no say in it: foreign keys do nothing."""
        if self.server is None:
            with sqlite3.connect(Path(name) / "catalog.sqlite") as connection:
                connection.execute(statement)
        else:
            self.server.sql(f"SET session_replication_role = replica; {statement}", str(make_url(name).database))


@pytest.fixture(scope="session")
def _ingested(drawn_photos: DrawnPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index over the drawn photos, made once; tests get copies of it."""
    return Path(_ingest(str(tmp_path_factory.mktemp("ingested") / "photos.index"), drawn_photos))


def _ingest(name: str, drawn_photos: DrawnPhotos) -> str:
    from interleave_index.config import Config
    from interleave_index.service import Index

    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(name, config=config, interface=ToyInterface(), create=True) as index:
        report = index.ingest(drawn_photos.folder)
    assert (report.added, report.failed) == (6, ())
    return name


@pytest.fixture(scope="session")
def _ingested_in_postgres(postgres: Server, drawn_photos: DrawnPhotos, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as `_ingested` with the catalog in PostgreSQL."""
    folder = tmp_path_factory.mktemp("ingested") / "photos.index"
    return _ingest(postgres.url(postgres.new_database(), folder), drawn_photos)


@pytest.fixture
def toy_index(database: Database, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    """A real index (catalog and FAISS in `tmp_path`) over the drawn photos, asked through the toy interface."""
    from interleave_index.service import Index

    made = request.getfixturevalue("_ingested" if database.server is None else "_ingested_in_postgres")
    with Index.open(database.copy(made, tmp_path / "photos.index"), interface=ToyInterface()) as index:
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
