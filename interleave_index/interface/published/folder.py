"""A published model on disk, and how it is loaded.

config.json             kind, sizes, where it came from, its language model, class names
model.safetensors       backbone, pixel decoder and interface under the published names, as precise as they came
language/               tokenizer.json, and weights and config.json where the released file brought them
prepared.safetensors    class table and banks of calibration, which the language model makes
text/                   cache of token states; may be deleted
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ...errors import WeightsMissing
from ...models.hub import local
from ...models.text.language import LanguageTower, LlamaTower, UniclTower, read_tokenizer
from .keys import unicl_network
from .model import PublishedModel
from .network import PublishedNetwork, PublishedSizes
from .text import PublishedPrompter, TextCache

CONFIG, WEIGHTS, PREPARED, LANGUAGE, TEXTS = (
    "config.json",
    "model.safetensors",
    "prepared.safetensors",
    "language",
    "text",
)
KIND, FORMAT = "find-published", 1


def is_published(folder: Path) -> bool:
    """Whether a folder holds a published model, by its config.json."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("kind") == KIND


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a published model.

    Raises:
        WeightsMissing: it is not there, damaged, or of another kind or format.
    """
    if not is_published(folder):
        raise WeightsMissing(
            f"{folder} holds no published model, expected what `interleave-index models import` writes"
        )
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise WeightsMissing(
            f"{folder / CONFIG} is of format {config.get('format')}, expected {FORMAT}; import it again"
        )
    return config


def load_network(folder: Path) -> PublishedNetwork:
    """Backbone, pixel decoder and interface in eval mode, float32.

    Raises:
        WeightsMissing: no such model, or it is damaged.
    """
    sizes = PublishedSizes.from_json(read_config(folder)["sizes"])
    with torch.device("meta"):
        network = PublishedNetwork(sizes)
    try:
        content = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
        network.load_state_dict(content, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        words = str(error).splitlines()[-1].strip()
        raise WeightsMissing(f"{folder / WEIGHTS} cannot be used: {words}; import it again") from error
    return network.eval().requires_grad_(False)


def load_tower(folder: Path, device: str = "cpu", layer: int | None = None) -> LanguageTower:
    """The language model of a published model; `layer` instead of the one that the checkpoint was trained with.

    Raises:
        WeightsMissing: it has none, or its files are not there.
        BackendMissing: LLaMA without transformers.
    """
    config = read_config(folder)
    sizes, language = PublishedSizes.from_json(config["sizes"]), config["language"]
    if language is None:
        raise WeightsMissing(
            f"model {config['name']} was imported without its language model; import it again with "
            "--language and the folder of LLaMA-7B"
        )
    place = folder / LANGUAGE if language["inside"] else local.find(language["source"])
    if sizes.language == "llama":
        return LlamaTower(place, layer=sizes.language_layer if layer is None else layer, device=device)
    content = load_file(place / WEIGHTS)
    with torch.device("meta"):
        network = unicl_network(content, sizes)
    network.load_state_dict({name: value.float() for name, value in content.items()}, assign=True)
    return UniclTower(network.eval().requires_grad_(False), read_tokenizer(place), device=device)


def load_published(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    published_protocol: bool = False,
    language_layer: int | None = None,
) -> PublishedModel:
    """A published model, ready to answer. The language model is read when the first text is not in the cache.

    Args:
        folder: as `models import` writes it.
        dtype: ``float32``, ``bfloat16`` or ``float16`` (as the authors evaluated); see `PublishedModel`.
        published_protocol: see `PublishedModel`.
        language_layer: read another hidden state of LLaMA than the checkpoint was trained with (an ablation).
    Raises:
        WeightsMissing: no such model, or it is damaged.
    """
    config = read_config(folder)
    sizes = PublishedSizes.from_json(config["sizes"])
    layer = sizes.language_layer if language_layer is None else language_layer
    network = load_network(folder).to(device)
    identity = (config["language"] or {}).get("checkpoint", "none")[:16]
    model = f"{sizes.language}-{identity}-{layer}"
    cache = TextCache(folder / TEXTS, model, lambda: load_tower(folder, device, layer))
    prompter = PublishedPrompter(
        cache,
        lambda states: network.predictor.project_text(states.to(device)),
        context=sizes.context,
        class_context=sizes.class_context,
        published=published_protocol,
        tail=int(sizes.language == "unicl"),
    )
    kind: torch.dtype = getattr(torch, dtype)
    return PublishedModel(network, prompter, device=device, dtype=kind, published_protocol=published_protocol)
