"""Vision towers of dual encoders, opened up: vectors of masked regions and of single patches beside the image vector.

The image vector is always what the model itself gives; nothing here changes it. These kinds of tower are known.

*CLIP and its kin* (``class token``): a class token gathers the picture layer by layer. A region gets a class token of
its own that sees, in every layer, itself and the patches under its mask, while the patches see nothing of it; with a
mask of everything it is the class token (mask class tokens of Ding et al., Open-Vocabulary Universal Image Segmentation
with MaskCLIP, 2022). The vector of a patch is its value in the last layer, projected, without that layer's attention,
residual and feed-forward part (Zhou et al., Extract Free Dense Labels from CLIP, 2022; Lan et al., ClearCLIP, 2024).

*SigLIP, SigLIP 2* (``pooling head``) and *AIMv2* (``query head``): a probe attends over the patches once, at the end. A
region is that pooling with its attention kept to the mask, and a patch is the pooling of that patch alone.

*TIPSv2* (``tokens``): its patch tokens are trained to lie in the space of texts (the line of Maninis et al., TIPS,
2024), so that they are the patches, and a region is their mean.

All others (``whole``) give the photo's vector only.

Masks are soft: a patch under half a mask has log(1/2) added to its attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from .families import TowerKind
from .heads import Heads

LEAST = 1e-4  # coverage under which a patch is not seen at all


@dataclass(frozen=True, slots=True)
class TowerOutput:
    """What a tower made of a batch.

    Attributes:
        image: (N, D), not yet of unit length.
        keys, values: by layer, (N, T, width) each; what regions and patches are made of; empty for ``whole``.
        real: (N, P) bool, which of the P patch tokens show the photo and are no padding.
    """

    image: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    real: Tensor


class Tower(Protocol):
    """A frozen vision tower that also gives vectors of parts of a picture."""

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """One forward pass."""

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """(N, R, D) vectors of regions, not of unit length; coverage is (N, R, P), 0 to 1, over the patch tokens."""

    def patches(self, output: TowerOutput) -> Tensor:
        """(N, P, D) vectors of the patch tokens, not of unit length."""


class ClassTokenTower:
    """CLIP, MetaCLIP 2, AltCLIP, Chinese-CLIP, the towers of CLIPSeg and OWL-ViT."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self._model, self._vision = model, model.vision_model
        self._layers = list(self._vision.encoder.layers)
        # CLIP's class misspells the name, OWL-ViT's does not
        self._first_norm = getattr(self._vision, "pre_layrnorm", None) or self._vision.pre_layernorm

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """See `Tower.forward`; keys and values of every layer are recorded on the way."""
        with _record_keys_and_values(self._layers) as (keys, values):
            image = self._model.get_image_features(**inputs).pooler_output
        real = torch.ones(values[-1].shape[0], values[-1].shape[1] - 1, dtype=torch.bool, device=image.device)
        return TowerOutput(image, keys, values, real)

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """See `Tower.pool`."""
        embeddings = self._vision.embeddings
        first = embeddings.class_embedding + embeddings.position_embedding.weight[0]
        token: Tensor = self._first_norm(first).expand(*coverage.shape[:2], -1)
        bias = _bias(coverage)
        for layer, keys, values in zip(self._layers, output.keys, output.values, strict=True):
            token = token + _attend(layer.self_attn, layer.layer_norm1(token), keys[:, 1:], values[:, 1:], bias)
            token = token + layer.mlp(layer.layer_norm2(token))
        projected: Tensor = self._model.visual_projection(self._vision.post_layernorm(token))
        return projected

    def patches(self, output: TowerOutput) -> Tensor:
        """See `Tower.patches`."""
        values = self._layers[-1].self_attn.out_proj(output.values[-1][:, 1:])
        projected: Tensor = self._model.visual_projection(self._vision.post_layernorm(values))
        return projected


class PoolingTower:
    """SigLIP and SigLIP 2."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self._model, self._head = model, model.vision_model.head

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """See `Tower.forward`."""
        features = self._model.get_image_features(**inputs)
        tokens = features.last_hidden_state
        attention, width = self._head.attention, tokens.shape[2]
        keys, values = F.linear(tokens, attention.in_proj_weight[width:], attention.in_proj_bias[width:]).chunk(2, -1)
        real = inputs.get("pixel_attention_mask")
        real = torch.ones(tokens.shape[:2], device=tokens.device) if real is None else real
        return TowerOutput(features.pooler_output, [keys], [values], real.bool())

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """See `Tower.pool`."""
        attention, width = self._head.attention, output.keys[0].shape[2]
        probe = F.linear(self._head.probe[0], attention.in_proj_weight[:width], attention.in_proj_bias[:width])
        pooled = _attend_once(probe, attention.num_heads, output, coverage)
        return self._finish(attention.out_proj(pooled))

    def patches(self, output: TowerOutput) -> Tensor:
        """See `Tower.patches`."""
        return self._finish(self._head.attention.out_proj(output.values[0]))

    def _finish(self, pooled: Tensor) -> Tensor:
        finished: Tensor = pooled + self._head.mlp(self._head.layernorm(pooled))
        return finished


class QueryHeadTower:
    """AIMv2: a learned query attends over the patches, once and without a feed-forward part."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self._model, self._head = model, model.vision_model.head

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """See `Tower.forward`."""
        features = self._model.get_image_features(**inputs)
        tokens = features.last_hidden_state
        real = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return TowerOutput(features.pooler_output, [self._head.k_proj(tokens)], [self._head.v_proj(tokens)], real)

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """See `Tower.pool`."""
        return self._finish(_attend_once(self._head.cls_token[0], self._head.num_heads, output, coverage))

    def patches(self, output: TowerOutput) -> Tensor:
        """See `Tower.patches`."""
        return self._finish(output.values[0])

    def _finish(self, pooled: Tensor) -> Tensor:
        projected: Tensor = self._model.visual_projection(self._head.output_proj(pooled))
        return projected


class TokensTower:
    """TIPSv2."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self._model, self._heads = model, heads
        self._before = 1 + int(model.config.vision_config.num_register_tokens)  # class tokens, which come first

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """See `Tower.forward`."""
        image, tokens = self._heads.image(self._model, inputs)
        if tokens is None:
            raise TypeError("a tower of tokens gives no tokens, expected its last hidden states")
        patches = tokens[:, self._before :]
        return TowerOutput(
            image, [patches], [patches], torch.ones(patches.shape[:2], dtype=torch.bool, device=image.device)
        )

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """See `Tower.pool`; a mask that no patch shows is the photo."""
        pooled = coverage.to(output.values[0].dtype) @ F.normalize(output.values[0], dim=-1)
        return torch.where(coverage.sum(-1, keepdim=True) < LEAST, output.image[:, None], pooled)

    def patches(self, output: TowerOutput) -> Tensor:
        """See `Tower.patches`."""
        return output.values[0]


class WholeTower:
    """Any other: the vector of the photo, no regions and no patches."""

    def __init__(self, model: Any, heads: Heads) -> None:
        self._model, self._heads = model, heads

    def forward(self, inputs: dict[str, Tensor]) -> TowerOutput:
        """See `Tower.forward`."""
        image, _ = self._heads.image(self._model, inputs)
        return TowerOutput(image, [], [], torch.ones((len(image), 0), dtype=torch.bool, device=image.device))

    def pool(self, output: TowerOutput, coverage: Tensor) -> Tensor:
        """Not to be called: regions of such a family are crops."""
        raise TypeError("this tower gives no vectors of regions, expected crops")

    def patches(self, output: TowerOutput) -> Tensor:
        """Not to be called."""
        raise TypeError("this tower gives no patches")


TOWERS: dict[TowerKind, Callable[[Any, Heads], Tower]] = {
    "class token": ClassTokenTower,
    "pooling head": PoolingTower,
    "query head": QueryHeadTower,
    "tokens": TokensTower,
    "whole": WholeTower,
}


def _attend_once(probe: Tensor, heads: int, output: TowerOutput, coverage: Tensor) -> Tensor:
    """(N, R, width): a probe (1, width) attends over the patches under each mask."""
    bias = _bias(coverage).masked_fill(~output.real[:, None], float("-inf"))
    nothing = torch.isinf(bias).all(-1, keepdim=True)  # a mask that no patch shows: look at everything
    bias = torch.where(nothing, torch.zeros_like(bias).masked_fill(~output.real[:, None], float("-inf")), bias)
    query = probe.expand(*coverage.shape[:2], -1)
    query, keys, values = (_split(rows, heads) for rows in (query, output.keys[0], output.values[0]))
    pooled = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias[:, None].to(query.dtype))
    joined: Tensor = pooled.transpose(1, 2).flatten(2)
    return joined


def _bias(coverage: Tensor) -> Tensor:
    """log of the coverage, float32, -inf where there is none."""
    return coverage.float().log().masked_fill(coverage < LEAST, float("-inf"))


def _attend(attention: Any, token: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of (N, R, width) region tokens, each over itself and the patches under its mask."""
    heads, scale = attention.num_heads, attention.scale
    query, own_key, own_value = attention.q_proj(token), attention.k_proj(token), attention.v_proj(token)
    query, own_key, own_value = (_split(rows, heads) for rows in (query, own_key, own_value))
    to_patches = (query @ _split(keys, heads).transpose(2, 3)).float() * scale + bias[:, None]
    to_itself = (query * own_key).sum(-1, keepdim=True).float() * scale
    weights = torch.cat([to_itself, to_patches], -1).softmax(-1).to(query.dtype)
    mixed = weights[..., :1] * own_value + weights[..., 1:] @ _split(values, heads)
    joined: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return joined


def _split(rows: Tensor, heads: int) -> Tensor:
    """(N, L, width) to (N, heads, L, width / heads)."""
    split: Tensor = rows.unflatten(-1, (heads, -1)).transpose(1, 2)
    return split


@contextmanager
def _record_keys_and_values(layers: list[Any]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Keys and values of every layer, as its own projections give them during a forward pass."""
    keys: list[Tensor] = []
    values: list[Tensor] = []
    hooks = []
    for layer in layers:
        for part, kept in ((layer.self_attn.k_proj, keys), (layer.self_attn.v_proj, values)):
            hooks.append(part.register_forward_hook(lambda _, __, made, kept=kept: kept.append(made)))
    try:
        yield keys, values
    finally:
        for hook in hooks:
            hook.remove()
