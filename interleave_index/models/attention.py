"""Multi-head attention in the parameter layout of `torch.nn.MultiheadAttention`, safe for fully blocked rows.

Where every key of a query is blocked, torch's own module answers NaN; here, as in the published FIND
modules, such a query attends to nothing and its answer is the bias of the output projection.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Batch-first attention with keys and values of their own.

    Parameters are `in_proj_weight` (3C, C), `in_proj_bias` (3C), `out_proj.weight`, `out_proj.bias`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"attention width is {width}, expected a multiple of the {heads} heads")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: (B, N, C).
            key, value: (B, M, C).
            blocked: bool, True where a query must not see a key; (N, M) or (B, N, M).
        Returns:
            (B, N, C), after the output projection.
        """
        q, k, v = self._projected(query, key, value)
        return self._joined(_mixed(q, k, v, blocked))

    def within(self, placed: Tensor, value: Tensor, groups: Sequence[tuple[int, Tensor | None]]) -> Tensor:
        """Self-attention inside consecutive groups of rows that never see each other.

        Args:
            placed: (B, N, C) queries and keys.
            value: (B, N, C).
            groups: (size, blocked) of each group in order, sizes sum to N; blocked (B, size, size) or None.
        Returns:
            (B, N, C), after the output projection.
        """
        sizes = [size for size, _ in groups]
        q, k, v = (x.split(sizes, 2) for x in self._projected(placed, placed, value))
        mixed = [_mixed(q[n], k[n], v[n], blocked) for n, (_, blocked) in enumerate(groups)]
        return self._joined(torch.cat(mixed, 2))

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(x, w, b).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        return q, k, v

    def _joined(self, mixed: Tensor) -> Tensor:
        out: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return out


def _mixed(q: Tensor, k: Tensor, v: Tensor, blocked: Tensor | None) -> Tensor:
    blind = None
    if blocked is not None:
        blocked = blocked[:, None] if blocked.ndim == 3 else blocked
        blind = blocked.all(-1, keepdim=True)
        blocked = blocked & ~blind
    if q.requires_grad and q.dtype == torch.bfloat16:
        # the fused kernel's backward pass in bfloat16 is several times slower on a CPU than these three steps
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        scores = scores if blocked is None else scores.masked_fill(blocked, -torch.inf)
        mixed: Tensor = scores.softmax(-1).to(v.dtype) @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=None if blocked is None else ~blocked)
    return mixed if blind is None else mixed.masked_fill(blind, 0.0)
