"""Models from a hub: pulling them into a folder of their own, finding them again, and what is known of each.

A pulled model is a plain folder that may be copied to a machine without a network. Beside its files lies
``pulled.json``: where they came from, at which commit, under which licence, and the SHA-256 of each. Loading a model
never opens a connection; only `pull` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import BackendMissing, ModelError, WeightsMissing

HOME_VARIABLE = "INTERLEAVE_MODELS"
RECORD = "pulled.json"
WANTED = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*")
WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")  # read without unpickling anything but tensors
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Pulled:
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
    return (Path(cache) if cache else Path.home() / ".cache") / "interleave-index" / "models"


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


def pulled() -> list[Pulled]:
    """Every model that was pulled in full or imported, by name."""
    records = sorted(home().glob(f"*/{RECORD}")) if home().is_dir() else []
    return [describe(record.parent) for record in records]


def describe(folder: Path) -> Pulled:
    """What is known of a model folder, without loading it."""
    record, config = _json(folder / RECORD), _json(folder / "config.json")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and ".cache" not in file.parts)
    return Pulled(name=record.get("name", str(folder)), folder=folder, revision=record.get("revision"),
                  licence=record.get("licence") or _licence_of(folder / "README.md"), files=record.get("files", {}),
                  bytes=size, config=config)


def damaged(model: Pulled) -> list[str]:
    """Files of a pulled model that are gone or are not what was pulled; reads all of them."""
    return [name for name, wanted in model.files.items()
            if not (model.folder / name).is_file() or sha256_of(model.folder / name) != wanted]


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def pull(name: str, *, revision: str | None = None, offline: bool = False,
         progress: Callable[[str], None] | None = None) -> Pulled:
    """Get a model from the hub into its folder; goes on where an earlier pull was stopped.

    Only configuration, vocabulary, card and weights are taken: safetensors where there are any, else PyTorch files,
    which are read without unpickling. No program of the hub is ever run. Files are checked against the sizes and
    checksums that the hub gives, and their SHA-256 is kept.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit; None takes the main branch.
        offline: refuse instead of opening a connection.
        progress: told one line a stage.
    Raises:
        WeightsMissing: the hub has no such model, guards it, or cannot be reached.
        BackendMissing: the extra ``hub`` is not installed.
        ModelError: offline, or a file is not what the hub says it is.
    """
    if not is_hub_name(name):
        raise WeightsMissing(f"model name is {name!r}, expected owner/name as on the hub; a folder needs no pull")
    if offline:
        raise ModelError(f"model {name} cannot be pulled offline; leave out --offline, or copy its folder to "
                         f"{folder_of(name)}")
    api, snapshot = _hub()
    folder, tell = folder_of(name), progress or (lambda line: None)
    with _said(name):
        facts = api().model_info(name, revision=revision, files_metadata=True)
        wanted = _chosen([entry.rfilename for entry in facts.siblings or ()])
        if not any(file.endswith((".safetensors", ".bin")) for file in wanted):
            raise WeightsMissing(f"model {name} has no weights of a known form, expected model.safetensors")
        size = sum(entry.size or 0 for entry in facts.siblings or () if entry.rfilename in wanted)
        tell(f"{name}: {len(wanted)} files, {size / 2**20:.0f} MiB, to {folder}")
        snapshot(name, revision=facts.sha, local_dir=folder, allow_patterns=[_literal(file) for file in wanted])
    tell("checking")
    sums = {file: sha256_of(folder / file) for file in wanted}
    for entry in facts.siblings or ():
        told = entry.lfs.sha256 if entry.lfs is not None else None
        if told is not None and entry.rfilename in sums and sums[entry.rfilename] != told:
            (folder / entry.rfilename).unlink()
            raise ModelError(f"{entry.rfilename} of {name} has SHA-256 {sums[entry.rfilename][:12]}, the hub says "
                             f"{told[:12]}; it was removed, pull again")
    card = facts.card_data.to_dict() if facts.card_data is not None else {}
    record = {"name": name, "revision": facts.sha, "licence": card.get("license") or _licence_of(folder / "README.md"),
              "files": sums}
    draft = folder / f".{RECORD}.tmp"
    draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    draft.replace(folder / RECORD)
    return describe(folder)


def _chosen(files: list[str]) -> list[str]:
    """Files that loading needs, of all that a repository holds; those in folders are other forms of the same."""
    from fnmatch import fnmatch

    top = [file for file in files if "/" not in file]
    weights = [file for file in top if any(fnmatch(file, form) for form in WEIGHTS)]
    if not weights:
        weights = [file for file in top if any(fnmatch(file, form) for form in PICKLED)]
    return sorted({*weights, *(file for file in top if any(fnmatch(file, form) for form in WANTED))})


def _literal(file: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", file)


def _hub() -> tuple[Any, Any]:
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as trouble:
        raise BackendMissing("models of a hub need the package huggingface-hub; "
                             'install it with: pip install "interleave-index[hub]"') from trouble
    return HfApi, snapshot_download


@contextmanager
def _said(name: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the hub, in one line of ours."""
    import httpx2
    from huggingface_hub import errors

    again = "; run the same command again to go on"
    try:
        yield
    except errors.GatedRepoError as trouble:
        raise WeightsMissing(f"model {name} is guarded: accept its licence at its page on the hub, then sign in with "
                             "the hub's own program (hf auth login) or set HF_TOKEN, and pull again") from trouble
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as trouble:
        raise WeightsMissing(f"the hub has no model {name} at this revision, or only for those who are signed in; "
                             "check the name") from trouble
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, httpx2.HTTPError,
            OSError) as trouble:
        words = " ".join(str(trouble).split())[:200]
        raise WeightsMissing(f"model {name} could not be pulled: {type(trouble).__name__}: {words}{again}") from trouble


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
    there = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
    return folder if there else None


def _licence_of(card: Path) -> str | None:
    """The licence named in the head of a model card."""
    if not card.is_file():
        return None
    head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.S)
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", head[1], re.M) if head else None
    return found[1] if found else None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


# --- measured speeds -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Speed:
    """Photos a second of one model on one device of this machine."""

    checkpoint: str
    device: str
    dtype: str
    photos_per_s: float
    measured_at: str


def keep_speed(speed: Speed) -> None:
    """Remember a measurement; a newer one of the same model, device and dtype takes its place."""
    kept = [row for row in speeds() if (row.checkpoint, row.device, row.dtype)
            != (speed.checkpoint, speed.device, speed.dtype)]
    home().mkdir(parents=True, exist_ok=True)
    draft = home() / f".speeds.{os.getpid()}.tmp"
    draft.write_text(json.dumps([asdict(row) for row in [*kept, speed]], indent=1), encoding="utf-8")
    draft.replace(home() / "speeds.json")


def speeds() -> list[Speed]:
    """Every measurement that is kept."""
    try:
        rows = json.loads((home() / "speeds.json").read_text(encoding="utf-8"))
        return [Speed(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return []
