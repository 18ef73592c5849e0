"""Taking a model from a folder instead of the hub: from a stick, a share, or another machine's folder of models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

from ...errors import ModelError, WeightsMissing
from ...regular import sha256_of
from ...whole_files import replaced
from .local import CONFIG, RECORD, ModelFolder, damaged, describe, folder_of, is_hub_name, weights_of
from .pull import WANTED

Progress = Callable[[int, int, str], None]


def take(name: str, source: Path, *, progress: Progress | None = None) -> ModelFolder:
    """Copy a model into the folder of models, as a pull would leave it there.

    The same files are taken as by a pull. Where the source keeps checksums of a pull, they are checked and kept.

    Args:
        name: ``owner/name``, which it is called by from then on.
        source: the folder of the model, or one in which that lies as ``owner--name``, ``owner/name`` or ``name``.
        progress: given bytes done, bytes in all, and the file in work.
    Raises:
        WeightsMissing: there is no such model in the folder.
        ModelError: a file is not what was pulled once.
    """
    if not is_hub_name(name):
        raise WeightsMissing(f"model name is {name!r}, expected owner/name as on the hub")
    found = _found(name, source)
    known = describe(found)
    if broken := damaged(known):
        raise ModelError(f"{found / broken[0]} is not what was pulled from the hub; copy the model again")
    files = _wanted(found)
    if not weights_of([file.name for file in files]):
        raise WeightsMissing(f"{found} holds no weights, expected model.safetensors")
    target, total, done = folder_of(name), sum(file.stat().st_size for file in files), 0
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        if progress is not None:
            progress(done, total, file.name)
        if not (target / file.name).is_file() or sha256_of(target / file.name) != sha256_of(file):
            with replaced(target / file.name) as draft:
                shutil.copyfile(file, draft)
        done += file.stat().st_size
    record = {
        "name": name,
        "revision": known.revision or "of a folder",
        "licence": known.licence,
        "files": {file.name: sha256_of(target / file.name) for file in files},
    }
    with replaced(target / RECORD) as draft:
        draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    if progress is not None:
        progress(total, total, "")
    return describe(target)


def _found(name: str, source: Path) -> Path:
    owner, _, short = name.partition("/")
    places = [source / f"{owner}--{short}", source / owner / short, source / short, source]
    for place in places:
        # a folder that is a model itself is taken only where nothing says that it is another one
        if (place / CONFIG).is_file() and describe(place).name in (name, str(place)):
            return place
    raise WeightsMissing(f"model {name} is not in {source}, expected it as {owner}--{short}, {name} or {short} there")


def _wanted(folder: Path) -> list[Path]:
    """Files that loading needs, small ones first."""
    names = {file.name for file in folder.iterdir() if file.is_file()} - {RECORD}
    wanted = {*weights_of(names), *(name for name in names if any(fnmatch(name, form) for form in WANTED))}
    return sorted((folder / name for name in wanted), key=lambda file: (file.stat().st_size, file.name))
