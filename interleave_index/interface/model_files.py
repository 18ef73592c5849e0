"""What lies in the files of a model, read from their headers: no tensor is read and nothing is built."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import WeightsMissing
from ..wording import number_of
from .registry import describe, find

KEPT = ("preset", "source", "sizes", "language", "model_type", "trained_on")  # of config.json
PARTS = ("sem_seg_head.pixel_decoder", "sem_seg_head.predictor")  # deeper than the first name


def contents(name: str) -> dict[str, Any]:
    """Facts of a model's files.

    Args:
        name: as `registry.load` takes it.
    Returns:
        name, folder, kind, bytes, licence, what config.json says of it, and under ``tensors`` one line a part of the
        network.
    Raises:
        WeightsMissing: it has no files, or one of them is no safetensors file.
    """
    model = find(name)
    folder, config = model.folder, model.config
    facts: dict[str, Any] = {
        "name": name,
        "folder": str(folder),
        "kind": config.get("model_type", model.kind.name),
        "bytes": model.files.bytes if model.files else 0,
        "licence": describe(name).licence,
        **{key: config[key] for key in KEPT if config.get(key) is not None},
        "tensors": {},
    }
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("language/*.safetensors")):
        place = file.relative_to(folder).as_posix()
        for part, line in _parts(file).items():
            facts["tensors"][f"{place}: {part}"] = line
    return facts


def _parts(file: Path) -> dict[str, str]:
    """Tensors, parameters and precision of each part of a safetensors file."""
    parts = defaultdict(list)
    try:
        with safe_open(file, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  it is not a dict
                deeper = [part for part in PARTS if name.startswith(f"{part}.")]
                parts[deeper[0] if deeper else name.split(".")[0]].append(opened.get_slice(name))
    except (OSError, SafetensorError) as error:
        raise WeightsMissing(f"{file} is no safetensors file: {str(error)[:300]}; get the model again") from error
    lines = {}
    for part, tensors in sorted(parts.items()):
        parameters = sum(math.prod(tensor.get_shape()) for tensor in tensors)
        noun = "parameter" if parameters == 1 else "parameters"
        precisions = " ".join(sorted({tensor.get_dtype() for tensor in tensors}))
        lines[part] = f"{number_of(len(tensors), 'tensor')}, {parameters:,} {noun}, {precisions}"
    return lines
