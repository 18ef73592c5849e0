"""The layers that the interface is stacked from, with the published parameter names. Batch-first throughout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...models.attention import Attention


class ContentLayer(nn.Module):
    """Cross-attention from queries with positions, then a post norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn, self.norm = Attention(width, heads), nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, key: Tensor, value: Tensor, blocked: Tensor) -> Tensor:
        """(B, N, C) queries over (B, M, C) keys and values; blocked (B, N, M)."""
        out: Tensor = self.norm(x + self.multihead_attn(x + position, key, value, blocked))
        return out


class ConditionLayer(nn.Module):
    """Self-attention inside groups of the stream, then a post norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn, self.norm = Attention(width, heads), nn.LayerNorm(width)

    def forward(self, x: Tensor, position: Tensor, groups: Sequence[tuple[int, Tensor | None]]) -> Tensor:
        """(B, N, C) with positions; groups as `Attention.within` takes them."""
        out: Tensor = self.norm(x + self.self_attn.within(x + position, x, groups))
        return out


class Ffn(nn.Module):
    """Two linear layers with ReLU around a residual, then a post norm."""

    def __init__(self, width: int, ffn: int) -> None:
        super().__init__()
        self.linear1, self.linear2, self.norm = nn.Linear(width, ffn), nn.Linear(ffn, width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same."""
        out: Tensor = self.norm(x + self.linear2(F.relu(self.linear1(x))))
        return out


class Pointwise(nn.Conv2d):
    """A convolution of 1 x 1 from a map to tokens, as the product that it is, which is faster on small maps."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, hw, outputs)."""
        return F.linear(input.flatten(2).transpose(1, 2), self.weight.flatten(1), self.bias)


class Stack(nn.Module):
    """A list of layers under the published name `layers`."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class MaskEmbed(Stack):
    """Normed rows to vectors whose products with the mask features are masks."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, features)])

    def forward(self, rows: Tensor) -> Tensor:
        """(..., C) to (..., F)."""
        first, second, third = self.layers
        out: Tensor = third(F.relu(second(F.relu(first(rows)))))
        return out


class Language(nn.Module):
    """The trained part of the language side."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.lang_proj = nn.Parameter(torch.empty(text_width, width))
        self.logit_scale = nn.Parameter(torch.ones(()))
