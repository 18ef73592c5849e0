"""READ written as its release is: weights under the released names in shards, with config and tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...whole_files import replaced
from .loading import Parts

SHARD = 4 * 2**30  # bytes of a file, about
INDEX = "model.safetensors.index.json"


def write_read(
    folder: Path, weights: Mapping[tuple[str, str], Tensor], parts: Parts, config: dict[str, Any], dtype: torch.dtype
) -> None:
    """Write a folder that `loading.load_parts` reads; files of an earlier model in it are replaced.

    Args:
        folder: made when it is not there.
        weights: by part and name, as `load_parts` fills them; the vision tower is written beside them.
        parts: tokenizer and vision tower.
        config: its config.json.
        dtype: of the weights on disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in [*folder.glob("model*.safetensors"), *folder.glob(INDEX)]:
        old.unlink()
    shards = _shards({key: weights[place] for key, place in parts.released.items()}, dtype)
    files: dict[str, str] = {}
    for number, keys in enumerate(shards, start=1):
        name = "model.safetensors" if len(shards) == 1 else f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {key: weights[parts.released[key]].to("cpu", dtype).contiguous() for key in keys}
        with replaced(folder / name) as draft:
            save_file(tensors, draft, {"format": "pt"})
        files |= dict.fromkeys(keys, name)
    if len(shards) > 1:
        (folder / INDEX).write_text(json.dumps({"weight_map": files}))
    parts.tokenizer.save_pretrained(folder)
    tower = folder / "vision_tower"
    if tower.is_dir():
        shutil.rmtree(tower)
    vision = parts.llava.model.vision_tower
    state = {name: tensor.to("cpu", dtype) for name, tensor in vision.state_dict().items()}
    vision.config.save_pretrained(tower)
    save_file(state, tower / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def _shards(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> list[list[str]]:
    """Keys of each file, in order."""
    shards: list[list[str]] = [[]]
    size = 0
    for key, tensor in tensors.items():
        bytes_of_it = tensor.numel() * dtype.itemsize
        if shards[-1] and size + bytes_of_it > SHARD:
            shards.append([])
            size = 0
        shards[-1].append(key)
        size += bytes_of_it
    return shards
