"""FIND's pixel decoder: a transformer, then a feature pyramid (docs/find-interface.md, section 3).

Parameter names are the published ones under `sem_seg_head.pixel_decoder.`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..attention import Attention
from .positions import sine_positions


class Pyramid(NamedTuple):
    """What an interface sees of photos.

    Attributes:
        mask_features: (B, C, h, w) at stride 4.
        encoded: (B, C, h, w) at stride 32, straight out of the transformer.
        levels: three maps (B, C, h, w), strides 32, 16, 8.
        deep: (B, F, h, w) at stride 16, the backbone's own (see `VisionTower.deep`), or None.
    """

    mask_features: Tensor
    encoded: Tensor
    levels: tuple[Tensor, ...]
    deep: Tensor | None = None


class NormedConv(nn.Conv2d):
    """Convolution without bias, then GroupNorm, optionally ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, relu: bool, groups: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, outputs)
        self.relu = relu
        nn.init.kaiming_uniform_(self.weight, a=1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        out = self.norm(super().forward(input))
        return F.relu(out) if self.relu else out


class _EncoderLayer(nn.Module):
    """Post-norm transformer layer whose queries and keys carry positions."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, ffn), nn.Linear(ffn, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        placed = x + positions
        x = self.norm1(x + self.self_attn(placed, placed, x))
        out: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return out


class _Encoder(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_EncoderLayer(width, heads, ffn) for _ in range(layers))


class _Transformer(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.encoder = _Encoder(layers, width, heads, ffn)


class PixelDecoder(nn.Module):
    """Backbone maps of strides 4, 8, 16, 32 to a `Pyramid` of one width.

    Args:
        channels: of res2, res3, res4, res5.
        width: C of everything that comes out.
        heads, ffn, layers: of the transformer over res5.
        groups: of every GroupNorm.
    """

    def __init__(
        self, channels: Sequence[int], width: int, *, heads: int = 8, ffn: int = 2048, layers: int = 6, groups: int = 32
    ) -> None:
        super().__init__()
        self.input_proj = nn.Conv2d(channels[3], width, 1)
        self.transformer = _Transformer(layers, width, heads, ffn)
        self.adapter_1, self.adapter_2, self.adapter_3 = (
            NormedConv(inputs, width, 1, relu=False, groups=groups) for inputs in channels[:3]
        )
        self.layer_1, self.layer_2, self.layer_3, self.layer_4 = (
            NormedConv(width, width, 3, relu=True, groups=groups) for _ in range(4)
        )
        self.mask_features = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Pyramid:
        """Decode (res2, res3, res4, res5), each (B, C_k, h_k, w_k)."""
        coarse = self.input_proj(maps[3])
        height, width = coarse.shape[-2:]
        positions = sine_positions(height, width, coarse.shape[1], coarse.device).flatten(1).T[None].to(coarse.dtype)
        tokens = coarse.flatten(2).transpose(1, 2)
        for layer in self.transformer.encoder.layers:
            tokens = layer(tokens, positions)
        encoded = tokens.transpose(1, 2).unflatten(2, (height, width))
        steps = [self.layer_4(encoded)]
        for adapter, layer, lower in (
            (self.adapter_3, self.layer_3, maps[2]),
            (self.adapter_2, self.layer_2, maps[1]),
            (self.adapter_1, self.layer_1, maps[0]),
        ):
            lateral = adapter(lower)
            steps.append(layer(lateral + F.interpolate(steps[-1], size=lateral.shape[-2:], mode="nearest")))
        return Pyramid(self.mask_features(steps[3]), encoded, (steps[0], steps[1], steps[2]))


def channels_of(state: dict[str, torch.Tensor], prefix: str = "") -> tuple[int, int, int, int]:
    """Backbone widths that a pixel decoder's state dict expects, (res2, res3, res4, res5)."""
    res2, res3, res4 = (state[f"{prefix}adapter_{n}.weight"].shape[1] for n in (1, 2, 3))
    return res2, res3, res4, state[f"{prefix}input_proj.weight"].shape[1]
