"""A published model on disk, and how it is loaded.

config.json             kind, sizes, where it came from, its language model, class names
model.safetensors       backbone, pixel decoder and interface under the published names, as precise as they came
language/               tokenizer.json, and weights and config.json where the released file brought them
prepared.safetensors    class table and banks of calibration, which the language model makes
text/                   cache of token states; may be deleted
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import ModelError, WeightsMissing
from ...models.hub import local
from ...models.text.language import LanguageTower, LlamaTower, UniclNetwork, UniclTower, read_tokenizer
from .keys import unicl_network
from .model import PublishedModel
from .network import PublishedNetwork, PublishedSizes
from .text import PublishedPrompter, TextCache

WEIGHTS, PREPARED, LANGUAGE, TEXTS = "model.safetensors", "prepared.safetensors", "language", "text"
KIND, FORMAT = "find-published", 1


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a published model; see `local.read_config`."""
    return local.read_config(folder, kind=KIND, form=FORMAT)


def read_sizes(folder: Path) -> PublishedSizes:
    """The sizes that config.json names.

    Raises:
        WeightsMissing: there is no such model, or they are damaged.
    """
    with sizes_in(folder):
        return PublishedSizes.from_json(read_config(folder)["sizes"])


@contextmanager
def sizes_in(folder: Path) -> Iterator[None]:
    """Turn errors of taking the sizes out of a folder's config.json into a `WeightsMissing` that says so."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsMissing(f"{folder / local.CONFIG} is damaged: {error!r}; import the model again") from error


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name, or those under ``model`` in it; nothing but tensors is ever unpickled.

    Raises:
        WeightsMissing: no such file.
        ModelError: it is no state dict.
    """
    if not file.is_file():
        raise WeightsMissing(f"no file {file}, expected a released checkpoint such as find_focall_llama_x640.pt")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        mapped = zipfile.is_zipfile(file)  # older files cannot be mapped
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle raises anything
        words = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise ModelError(
            f"{file} cannot be read as tensors: {words}; expected the state dict of a checkpoint"
        ) from error
    if isinstance(content, Mapping):
        content = content.get("model", content)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{file} holds {type(content).__name__}, expected a plain state dict of names and tensors")
    return dict(content)


def load_weights(network: nn.Module, file: Path, device: str) -> None:
    """Fill a network, which may be without memory, from a safetensors file: float32, eval mode, without gradients.

    Raises:
        WeightsMissing: the file is not there, is damaged, or does not fit.
    """
    try:
        state = load_file(file)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _unusable(file, error) from error
    fill_weights(network, state, file, device)


def fill_weights(network: nn.Module, state: Mapping[str, Tensor], file: Path, device: str) -> None:
    """As `load_weights`, with the tensors of `file` at hand.

    Raises:
        WeightsMissing: they do not fit.
    """
    try:
        network.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise _unusable(file, error) from error
    network.float().to(device).eval().requires_grad_(False)


def _unusable(file: Path, error: Exception) -> WeightsMissing:
    words = str(error).splitlines()[-1].strip()[:300]
    return WeightsMissing(f"{file} cannot be used: {words}; make the model again")


def load_tower(folder: Path, device: str = "cpu", layer: int | None = None) -> LanguageTower:
    """The language model of a published model; `layer` instead of the one that the checkpoint was trained with.

    Raises:
        WeightsMissing: it has none, or its files are not there.
        BackendMissing: LLaMA without transformers.
    """
    config, sizes = read_config(folder), read_sizes(folder)
    language = config["language"]
    if language is None:
        raise WeightsMissing(
            f"model {config['name']} was imported without its language model; import it again with "
            "--language and the folder of LLaMA-7B"
        )
    place = folder / LANGUAGE if language["inside"] else local.find(language["source"])
    if sizes.language == "llama":
        return LlamaTower(place, layer=sizes.language_layer if layer is None else layer, device=device)
    return UniclTower(load_unicl(place, device), read_tokenizer(place), device=device)


def load_unicl(folder: Path, device: str) -> UniclNetwork:
    """The text tower of a model with UniCL, out of its folder `language`.

    Raises:
        WeightsMissing: it is not there, or does not fit.
    """
    file = folder / WEIGHTS
    with torch.device("meta"):
        network = unicl_network(load_file(file))
    load_weights(network, file, device)
    return network


def load_published(
    folder: Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
) -> PublishedModel:
    """A published model, ready to answer. The language model is read when the first text is not in the cache.

    Args:
        folder: as `models import` writes it.
        dtype: ``float32``, ``bfloat16`` or ``float16`` (as the authors evaluated); see `PublishedModel`.
    Raises:
        WeightsMissing: no such model, or it is damaged.
    """
    sizes = read_sizes(folder)
    with torch.device("meta"):
        network = PublishedNetwork(sizes)
    load_weights(network, folder / WEIGHTS, device)
    identity = (read_config(folder)["language"] or {}).get("checkpoint", "none")[:16]
    name = f"{sizes.language}-{identity}-{sizes.language_layer}"
    prompter = PublishedPrompter(
        TextCache(folder / TEXTS, name, lambda: load_tower(folder, device)),
        lambda states: network.predictor.project_text(states.to(device)),
        context=sizes.context,
        class_context=sizes.class_context,
        tail=int(sizes.language == "unicl"),
    )
    kind: torch.dtype = getattr(torch, dtype)
    return PublishedModel(network, prompter, device=device, dtype=kind)
