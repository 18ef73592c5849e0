"""What lies in the files of a model, told from their heads: no tensor is read and nothing is built."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from ..errors import WeightsMissing
from ..models.hub import local

KEPT = ("preset", "source", "sizes", "language", "model_type", "trained_on")  # of config.json
PARTS = ("sem_seg_head.pixel_decoder", "sem_seg_head.predictor")  # deeper than the first name


def inside(name: str, bundled: dict[str, Path] | None = None) -> dict[str, Any]:
    """Facts of a model's files.

    Args:
        name: as `interface.load` takes it.
        bundled: folders by name; None takes those of the package.
    Returns:
        name, folder, kind, bytes, what config.json says of it, and under ``tensors`` one line a part of the network.
    Raises:
        WeightsMissing: it has no files.
    """
    from .registry import BUNDLED

    known = BUNDLED if bundled is None else bundled
    if name == "toy":
        raise WeightsMissing("model toy has no weights, expected a model with files, such as find-mini")
    facts = local.describe(known[name] if name in known else local.find(name))
    config = facts.config
    weights = sorted(facts.folder.glob("*.safetensors")) + sorted(facts.folder.glob("language/*.safetensors"))
    found: dict[str, Any] = {
        "name": name,
        "folder": str(facts.folder),
        "kind": config.get("kind") or config.get("model_type") or "find-mini",
        "bytes": facts.bytes,
        "licence": facts.licence,
        **{key: config[key] for key in KEPT if config.get(key) is not None},
        "tensors": {},
    }
    for file in weights:
        place = file.relative_to(facts.folder).as_posix()
        for part, line in _parts(file).items():
            found["tensors"][f"{place}: {part}"] = line
    return found


def _parts(file: Path) -> dict[str, str]:
    """Tensors, parameters and precision of each part of a safetensors file."""
    counts: dict[str, tuple[int, int, set[str]]] = {}
    for name, entry in _head(file).items():
        part = next((deep for deep in PARTS if name.startswith(f"{deep}.")), name.split(".")[0])
        tensors, parameters, kinds = counts.get(part, (0, 0, set()))
        counts[part] = tensors + 1, parameters + math.prod(entry["shape"]), kinds | {entry["dtype"]}
    return {
        part: f"{tensors} tensors, {parameters:,} parameters, {' '.join(sorted(kinds))}"
        for part, (tensors, parameters, kinds) in sorted(counts.items())
    }


def _head(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            head: dict[str, Any] = json.loads(opened.read(min(length, file.stat().st_size)))
    except (OSError, ValueError, struct.error) as trouble:
        raise WeightsMissing(f"{file} is no safetensors file: {trouble}; get the model again") from trouble
    head.pop("__metadata__", None)
    return head
