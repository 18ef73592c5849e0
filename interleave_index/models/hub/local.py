"""Models on this machine that came from a hub: where they lie, what is known of each, and how fast each was.

A pulled model is a plain folder that may be copied to a machine without a network. Beside its files lies
``pulled.json``: where they came from, at which commit, under which licence, and the SHA-256 of each. Nothing here
opens a connection; `pull` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ...errors import InterleaveError, WeightsMissing
from ...regular import sha256_of
from ...whole_files import replaced

HOME_VARIABLE = "INTERLEAVE_MODELS"
RECORD, CONFIG = "pulled.json", "config.json"
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
FASTER, ALIKE = 1.3, 0.999  # from which on another precision is worth it, see `measured_dtype`
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")  # read without unpickling anything but tensors
MOST_LAYERS = 1000  # of any part of a network
_LAYERS = re.compile(r"(layers?|depths?|blocks)$")  # keys of config.json that count them
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What is known of a model folder.

    Attributes:
        name: ``owner/name`` on the hub, or the folder as it was named.
        folder: where its files are.
        revision: commit of the hub, or None for a folder that was never pulled.
        licence: as its card says, or None.
        files: SHA-256 by file name, of a pulled model.
        bytes: of all its files.
        config: its ``config.json``.
    """

    name: str
    folder: Path
    revision: str | None = None
    licence: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    config: dict[str, Any] = field(default_factory=dict)


def home() -> Path:
    """Folder of the pulled models: the variable INTERLEAVE_MODELS, else a folder of the user's cache."""
    if named := os.environ.get(HOME_VARIABLE):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        parent = Path(cache) if cache else Path.home() / ".cache"
    except RuntimeError:  # a user without a home folder, as in a container
        parent = Path(tempfile.gettempdir())
    return parent / "interleave-index" / "models"


def is_hub_name(name: str) -> bool:
    """Whether a name has the form of one on the hub: ``owner/name``.

    >>> [is_hub_name(name) for name in ("openai/clip-vit-base-patch32", "./models/mine", "find-mini", "/a/b")]
    [True, False, False, False]
    """
    return _NAME.fullmatch(name) is not None


def folder_of(name: str) -> Path:
    """Where a pulled model lies, whether it is there or not."""
    return home() / name.replace("/", "--")


def find(name: str) -> Path:
    """Folder of a model that is named by folder, hub name, or the name it was imported under. Opens no connection.

    Raises:
        WeightsMissing: it is neither a folder nor pulled or imported, nor in the cache that other programs fill.
    """
    if Path(name).is_dir():
        return Path(name)
    if is_imported(name):
        return home() / name
    if is_hub_name(name):
        folder = folder_of(name)
        if (folder / RECORD).is_file():
            return folder
        if (cached := _in_shared_cache(name)) is not None:
            return cached
        begun = "was pulled only in part" if folder.is_dir() else "is not on this machine"
        raise WeightsMissing(f"model {name} {begun}; get it with: interleave-index models pull {name}")
    raise WeightsMissing(f"no model {name!r}, expected a folder, or a name of the hub such as owner/name")


def is_imported(name: str) -> bool:
    """Whether `models import` made a model of this name."""
    return "/" not in name and (home() / name / RECORD).is_file()


def pulled() -> list[str]:
    """Names of the models that were pulled in full or imported, sorted by their folders; damaged ones included."""
    records = sorted(home().glob(f"*/{RECORD}")) if home().is_dir() else []
    return [_json(record).get("name", str(record.parent)) for record in records]


def read_config(folder: Path, *, kind: str | None = None, form: int | None = None) -> dict[str, Any]:
    """The config.json of a model folder.

    Args:
        kind, form: what it must name as its ``kind`` and ``format``; None takes any.
    Raises:
        WeightsMissing: it is not there, is no JSON object, or is of another kind or format.
    """
    file = folder / CONFIG
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("it is no JSON object")
        if (deep := _layers_beyond(config)) is not None:
            raise ValueError(f"it names {deep}, expected at most {MOST_LAYERS}")
    except (OSError, ValueError, RecursionError) as error:
        state = "is damaged" if file.is_file() else "holds no model"
        raise WeightsMissing(f"{folder} {state}: {CONFIG} cannot be read ({error}); get the model again") from error
    for key, wanted in (("kind", kind), ("format", form)):
        if wanted is not None and config.get(key) != wanted:
            raise WeightsMissing(f"{file} is of {key} {config.get(key)!r}, expected {wanted!r}; make the model again")
    return config


def _layers_beyond(value: object, key: str = "") -> str | None:
    """Key and number of the first count of layers that no network has: it would be built for hours, and fill memory."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else ((key, each) for each in value)
        return next((found for name, each in inner if (found := _layers_beyond(each, str(name)))), None)
    if isinstance(value, int | float) and value > MOST_LAYERS and _LAYERS.search(key):
        return f"{key} {str(value)[:20]}"
    return None


@contextmanager
def damage_in_words(name: str) -> Iterator[None]:
    """What the files of a model raise while it is built, as an error of this package.

    They come from anywhere, and are read by libraries that raise anything on a damaged one.

    Raises:
        WeightsMissing: for whatever is no error of this package; too little memory stays what it is.
    """
    try:
        yield
    except (InterleaveError, MemoryError):
        raise
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise WeightsMissing(
            f"model {name} cannot be loaded: {type(error).__name__}: {words}; its files are damaged or do not fit "
            "each other: get the model again"
        ) from error


def describe(folder: Path) -> ModelFolder:
    """What is known of a model folder, without loading it.

    Raises:
        WeightsMissing: its config.json is damaged.
    """
    record = _json(folder / RECORD)
    config = read_config(folder) if (folder / CONFIG).is_file() else {}
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and ".cache" not in file.parts)
    return ModelFolder(
        name=record.get("name", str(folder)),
        folder=folder,
        revision=record.get("revision"),
        licence=record.get("licence") or licence_of(folder / "README.md"),
        files=record.get("files", {}),
        bytes=size,
        config=config,
    )


def damaged(model: ModelFolder) -> list[str]:
    """Files of a pulled model that are gone or are not what was pulled; reads all of them."""
    return [
        name
        for name, wanted in model.files.items()
        if not (model.folder / name).is_file() or sha256_of(model.folder / name) != wanted
    ]


def weights_of(names: Collection[str]) -> list[str]:
    """Those of some file names that hold weights, in order: safetensors, or PyTorch files where there are none."""
    for forms in (WEIGHTS, PICKLED):
        weights = sorted(name for name in names if any(fnmatch(name, form) for form in forms))
        if weights:
            return weights
    return []


def checkpoint_of(folder: Path) -> str:
    """SHA-256 that names the weights of a folder: of their file, or of the list of names and sums of several.

    Sums that a pull kept are trusted while the files have not been touched since.

    Raises:
        WeightsMissing: there are none.
    """
    weights = weights_of([file.name for file in folder.iterdir() if file.is_file()])
    if not weights:
        raise WeightsMissing(f"{folder} holds no weights, expected model.safetensors; get the model again")
    record = folder / RECORD
    kept = _json(record).get("files", {})
    sums = {}
    for name in weights:
        file = folder / name
        trusted = name in kept and file.stat().st_mtime <= record.stat().st_mtime
        sums[name] = kept[name] if trusted else sha256_of(file)
    if len(sums) == 1:
        return str(sums[weights[0]])
    return hashlib.sha256("\n".join(f"{name} {checksum}" for name, checksum in sums.items()).encode()).hexdigest()


def _in_shared_cache(name: str) -> Path | None:
    """A model that another program has put into the hub's own cache, complete enough to load."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    complete = (folder / CONFIG).is_file() and any(folder.glob("*.safetensors"))
    return folder if complete else None


def licence_of(card: Path) -> str | None:
    """The licence named in the head of a model card."""
    if not card.is_file():
        return None
    head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.S)
    licence = re.search(r"^license:\s*[\"']?([\w.+-]+)", head[1], re.M) if head else None
    return licence[1] if licence else None


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


# --- measured speeds -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speed:
    """Photos a second of one model on one device of this machine.

    `cosine` is the worst of its vectors with those of float32, None where they were not compared.
    """

    checkpoint: str
    device: str
    dtype: str
    photos_per_s: float
    measured_at: str
    cosine: float | None = None


def keep_speed(speed: Speed) -> None:
    """Remember a measurement; a newer one of the same model, device and dtype takes its place."""
    kept = [
        row
        for row in speeds()
        if (row.checkpoint, row.device, row.dtype) != (speed.checkpoint, speed.device, speed.dtype)
    ]
    home().mkdir(parents=True, exist_ok=True)
    with replaced(home() / "speeds.json") as draft:
        draft.write_text(json.dumps([asdict(row) for row in [*kept, speed]], indent=1), encoding="utf-8")


def speeds() -> list[Speed]:
    """Every measurement that is kept."""
    try:
        rows = json.loads((home() / "speeds.json").read_text(encoding="utf-8"))
        return [Speed(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return []


def measured_dtype(checkpoint: str) -> str:
    """The precision in which a model runs on this machine's processor: float32, unless bfloat16 was measured to win.

    It wins where photos are taken in at least `FASTER` times as fast and no vector, of a photo, a region or a text, has
    a cosine under `ALIKE` with that of float32.
    """
    of = {row.dtype: row for row in speeds() if (row.checkpoint, row.device) == (checkpoint, "cpu")}
    plain, half = of.get("float32"), of.get("bfloat16")
    if plain is None or half is None or half.cosine is None or half.cosine < ALIKE:
        return "float32"
    return "bfloat16" if half.photos_per_s >= FASTER * plain.photos_per_s else "float32"
