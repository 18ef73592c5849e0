"""A released X-Decoder or SEEM on disk, and how it is loaded; files as of `published.folder`, the text tower inside."""

from __future__ import annotations

from pathlib import Path

import torch

from ...models.hub import local
from ...models.text.language import read_tokenizer
from ..published.folder import LANGUAGE, WEIGHTS, load_unicl, load_weights, sizes_in
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
    with sizes_in(folder):
        sizes = FamilySizes.from_json(config["sizes"])
        if config["kind"] != sizes.interface.family:
            raise KeyError(config["kind"])
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
    load_weights(network, folder / WEIGHTS, device)
    tower, tokenizer = load_unicl(folder / LANGUAGE, device), read_tokenizer(folder / LANGUAGE)
    texts = TextSide(tower, tokenizer, network.predictor.project_text, sizes.interface.context)
    build = XDecoderModel if sizes.interface.family == "xdecoder" else SeemModel
    return build(network, texts, device=device, dtype=getattr(torch, dtype))
