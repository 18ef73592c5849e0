"""A released X-Decoder or SEEM on disk, and how it is loaded; files as of `published.folder`, the text tower inside."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from ...errors import WeightsMissing
from ...models.hub import local
from ...models.text.language import read_tokenizer
from ..published.folder import LANGUAGE, WEIGHTS, load_weights
from ..published.keys import unicl_network
from .model import FamilyModel, SeemModel, XDecoderModel
from .network import FamilyNetwork, FamilySizes
from .text import TextSide

XDECODER, SEEM, FORMAT = "xdecoder", "seem", 1  # kinds of config.json


def read_sizes(folder: Path) -> FamilySizes:
    """The sizes that config.json names.

    Raises:
        WeightsMissing: there is no such model, or it is damaged.
    """
    config = local.read_config(folder, form=FORMAT)
    try:
        sizes = FamilySizes.from_json(config["sizes"])
        if config["kind"] != sizes.interface.family:
            raise KeyError(config["kind"])
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsMissing(f"{folder / local.CONFIG} is damaged: {error!r}; import the model again") from error
    return sizes


def load_family(folder: Path, *, device: str = "cpu", dtype: str = "float32") -> FamilyModel:
    """A released X-Decoder or SEEM, ready to answer.

    Args:
        folder: as `models import` writes it.
        dtype: ``float32``, ``bfloat16`` or ``float16``, see `SeeingModel`.
    Raises:
        WeightsMissing: no such model, or it is damaged.
        BackendMissing: its backbone needs transformers, which is not installed.
    """
    sizes = read_sizes(folder)
    with torch.device("meta"):
        network = FamilyNetwork(sizes)
        tower = unicl_network(load_file(folder / LANGUAGE / WEIGHTS))
    load_weights(network, folder / WEIGHTS, device)
    load_weights(tower, folder / LANGUAGE / WEIGHTS, device)
    tokenizer = read_tokenizer(folder / LANGUAGE)
    texts = TextSide(tower, tokenizer, network.predictor.project_text, sizes.interface.context)
    build = XDecoderModel if sizes.interface.family == "xdecoder" else SeemModel
    return build(network, texts, device=device, dtype=getattr(torch, dtype))
