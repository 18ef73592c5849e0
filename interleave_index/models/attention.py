"""Multi-head attention in the parameter layout of `torch.nn.MultiheadAttention`, safe for fully blocked rows.

Where every key of a query is blocked, torch's own module answers NaN; here, as in the published FIND
modules, such a query attends to nothing and its answer is the bias of the output projection.
"""

from __future__ import annotations

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
            blocked: bool, True where a query must not see a key; (N, M), (B, N, M) or (B, heads, N, M).
        Returns:
            (B, N, C), after the output projection.
        """
        wq, wk, wv = self.in_proj_weight.chunk(3)
        bq, bk, bv = self.in_proj_bias.chunk(3)
        q, k, v = (self._split(F.linear(x, w, b)) for x, w, b in ((query, wq, bq), (key, wk, bk), (value, wv, bv)))
        if blocked is None:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            if blocked.ndim == 3:
                blocked = blocked[:, None]
            blind = blocked.all(-1, keepdim=True)
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=~blocked | blind)
            mixed = mixed.masked_fill(blind, 0.0)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
