"""Getting a model from a hub: each file goes on where it was stopped and is held against the hub's checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import BackendMissing, ModelError, WeightsMissing
from ...regular import sha256_of
from . import sets
from .local import RECORD, ModelFolder, describe, folder_of, is_hub_name, licence_of, weights_of

WANTED = ("*.json", "*.txt", "*.model", "README.md", "LICENSE*")
PARTS = ".parts"  # folder of files that are not whole yet
TRIES = 5  # breaks of the connection in a row that bring nothing new

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class _File:
    """One file of a repository: its size, and its SHA-256, or git's own hash where the hub keeps no SHA-256."""

    name: str
    size: int
    sha256: str | None
    blob: str | None

    def is_whole(self, file: Path) -> bool:
        """Whether a file on the disk is this one."""
        if not file.is_file() or file.stat().st_size != self.size:
            return False
        if self.sha256 is not None:
            return sha256_of(file) == self.sha256
        content = file.read_bytes()
        return self.blob in (None, hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


def pull(
    name: str, *, revision: str | None = None, offline: bool = False, progress: Progress | None = None
) -> ModelFolder:
    """Get a model from the hub into its folder; goes on where an earlier pull was stopped, in the middle of a file too.

    Only configuration, vocabulary, card and weights are taken: safetensors where there are any, else PyTorch files,
    which are read without unpickling. No program of the hub is ever run.

    Args:
        name: ``owner/name``.
        revision: branch, tag or commit; None takes the main branch.
        offline: refuse instead of opening a connection.
        progress: given bytes done, bytes in all, and the file in work.
    Raises:
        WeightsMissing: the hub has no such model, guards it, or cannot be reached.
        BackendMissing: the extra ``hub`` is not installed.
        ModelError: offline, or a file is not what the hub says it is.
    """
    if not is_hub_name(name):
        raise WeightsMissing(
            f"model name is {name!r}, expected owner/name as on the hub, or a set: {', '.join(sets.names())}; "
            "a folder needs no pull"
        )
    if offline:
        raise ModelError(
            f"model {name} cannot be pulled offline; leave out --offline, or take it from a folder with --from FOLDER"
        )
    hub, endpoint, folder = _library(), os.environ.get("HF_ENDPOINT"), folder_of(name)
    with _in_one_line(name):
        facts = hub.HfApi(endpoint=endpoint).model_info(name, revision=revision, files_metadata=True)
        wanted = _chosen(name, facts.siblings or ())
        total, done = sum(file.size for file in wanted), 0
        for file in wanted:
            url = hub.hf_hub_url(name, file.name, revision=facts.sha, endpoint=endpoint)
            _fetch(hub, url, file, folder, partial(_tell, progress, done, total, file.name))
            done += file.size
    card = facts.card_data.to_dict() if facts.card_data is not None else {}
    record = {
        "name": name,
        "revision": facts.sha,
        "licence": card.get("license") or licence_of(folder / "README.md"),
        "files": {file.name: file.sha256 or sha256_of(folder / file.name) for file in wanted},
    }
    draft = folder / f".{RECORD}.tmp"
    draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    draft.replace(folder / RECORD)
    return describe(folder)


def _tell(progress: Progress | None, before: int, total: int, file: str, now: int) -> None:
    if progress is not None:
        progress(before + now, total, file)


def _chosen(name: str, siblings: Any) -> list[_File]:
    """Files that loading needs, small ones first; those in folders are other forms of the same."""
    top = {entry.rfilename: entry for entry in siblings if "/" not in entry.rfilename}
    weights = weights_of(top)
    if not weights:
        raise WeightsMissing(f"model {name} has no weights of a known form, expected model.safetensors")
    names = {*weights, *(file for file in top if any(fnmatch(file, form) for form in WANTED))}
    files = [
        _File(file, top[file].size or 0, top[file].lfs.sha256 if top[file].lfs is not None else None, top[file].blob_id)
        for file in names
    ]
    return sorted(files, key=lambda file: (file.size, file.name))


def _fetch(hub: Any, url: str, file: _File, folder: Path, report: Callable[[int], object]) -> None:
    """Bring one file into the folder, unless it is there already."""
    target, part = folder / file.name, folder / PARTS / f"{file.name}.{(file.sha256 or file.blob or '')[:12]}"
    if file.is_whole(target):
        report(file.size)
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    tries = 0
    while (start := part.stat().st_size) < file.size:
        try:
            _more(hub, url, part, start, report)
        except _broken():
            tries = tries + 1 if part.stat().st_size == start else 0
            if tries >= TRIES:
                raise
    if not file.is_whole(part):
        part.unlink()
        raise ModelError(
            f"{file.name} came with another checksum than the hub promises for {url}; it was thrown away, pull again"
        )
    part.replace(target)


def _more(hub: Any, url: str, part: Path, start: int, report: Callable[[int], object]) -> None:
    """Append what is still missing; from the beginning where the server does not send parts."""
    headers = {**hub.utils.build_hf_headers(), **({"Range": f"bytes={start}-"} if start else {})}
    # "identity": lengths and ranges are those of the file itself
    with hub.get_session().stream(
        "GET", url, headers={**headers, "Accept-Encoding": "identity"}, follow_redirects=True
    ) as answer:
        hub.utils.hf_raise_for_status(answer)
        again = start > 0 and answer.status_code != 206
        with part.open("wb" if again else "ab") as opened:
            done = 0 if again else start
            for chunk in answer.iter_raw():  # as it comes in: what came before a break is kept
                opened.write(chunk)
                done += len(chunk)
                report(done)


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise BackendMissing(
            'models of a hub need the package huggingface-hub; install it with: pip install "interleave-index[hub]"'
        ) from error
    return huggingface_hub


def _broken() -> tuple[type[Exception], ...]:
    """Errors of a connection that breaks, after which the rest may still be had."""
    from huggingface_hub import get_session

    kinds = type(get_session()).__mro__  # the class of the hub's client names its library
    library = import_module(next(kind.__module__.split(".")[0] for kind in kinds if kind.__name__ == "Client"))
    return library.TransportError, ConnectionError, TimeoutError


def _unreachable() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors

    return errors.HfHubHTTPError, errors.OfflineModeIsEnabled, OSError, *_broken()


@contextmanager
def _in_one_line(name: str) -> Iterator[None]:
    """Whatever goes wrong on the way to the hub, in one line of ours."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise WeightsMissing(
            f"model {name} is guarded: accept its licence at its page on the hub, then sign in with "
            "the hub's own program (hf auth login) or set HF_TOKEN, and pull again"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise WeightsMissing(
            f"the hub has no model {name} at this revision, or only for those who are signed in; check the name"
        ) from error
    except _unreachable() as error:
        words = " ".join(str(error).split())[:200]
        raise WeightsMissing(
            f"model {name} could not be pulled ({type(error).__name__}: {words}); run the same command again to go on, "
            "or take it from a folder with --from FOLDER"
        ) from error
