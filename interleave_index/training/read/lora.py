"""Which parts of READ learn, and how: the language model by low-rank adapters, four small parts as a whole.

As published: adapters on the queries and values of the language model; its input and output embeddings, the projection
to SAM's token and SAM's mask decoder are trained whole; vision tower, projector and the rest of SAM stand still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import BackendMissing
from ...interface.read.keys import HEAD, LLAVA, SAM
from ...interface.read.loading import Parts

ADAPTER = "default"


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters.

    Attributes:
        rank: of the adapters; 8 going on from SESAME or READ, 64 from scratch.
        alpha: an adapter counts alpha / rank.
        dropout: of what goes into them.
        targets: names of the linear layers.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    targets: Sequence[str] = field(default=("q_proj", "v_proj"))


def attach(parts: Parts, lora: Lora) -> dict[str, nn.Parameter]:
    """Put adapters into the language model, let what learns learn, in float32, and stop everything else.

    Returns:
        what learns, by name.
    Raises:
        BackendMissing: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise BackendMissing(
            'training READ needs the package peft; install it with: pip install "interleave-index[hub,train]"'
        ) from error
    language = parts.llava.model.language_model
    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets), bias="none"
    )
    inject_adapter_in_model(config, language, ADAPTER)
    learning: dict[str, nn.Parameter] = {}
    for name, parameter in _parameters(parts):
        whole = name.startswith((f"{HEAD}.", f"{SAM}.mask_decoder.")) or "embed_tokens." in name or "lm_head." in name
        learns = whole or ".lora_" in name
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()
            learning[name] = parameter
    return learning


def recompute_states(parts: Parts) -> None:
    """Let the language model compute its states a second time in the backward pass, instead of keeping them."""
    language = parts.llava.model.language_model
    enable = getattr(language, "activation_checkpointing_enable", None)  # its name since transformers 5.23
    (enable or language.gradient_checkpointing_enable)({"use_reentrant": False})


def merged(parts: Parts) -> dict[tuple[str, str], Tensor]:
    """All weights by part and name as `load_parts` fills them, the adapters added to their layers."""
    weights: dict[tuple[str, str], Tensor] = {}
    for name, parameter in _parameters(parts):
        if ".lora_" not in name:
            part, _, inner = name.partition(".")
            weights[part, inner.replace(".base_layer.", ".")] = parameter.detach()
    for name, module in parts.llava.named_modules():
        if hasattr(module, "get_delta_weight"):
            with torch.no_grad():
                key = (LLAVA, f"{name}.weight")
                weights[key] = weights[key] + module.get_delta_weight(ADAPTER).to(weights[key].dtype)
    return weights


def _parameters(parts: Parts) -> list[tuple[str, Any]]:
    modules = {LLAVA: parts.llava, SAM: parts.sam, HEAD: parts.head}
    return [(f"{part}.{name}", one) for part, module in modules.items() for name, one in module.named_parameters()]
