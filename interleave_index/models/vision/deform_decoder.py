"""The deformable pixel decoder of the SEEM files with a SAM backbone, in plain torch.

Every pixel of three levels reads four places of each level, which it chooses itself (Zhu et al., Deformable DETR,
arXiv 2010.04159). Parameter names are the published ones under `sem_seg_head.pixel_decoder.`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...records import Size
from .pixel_decoder import NormedConv, Pyramid
from .positions import sine_positions

LEVELS, POINTS = 3, 4


class _DeformableAttention(nn.Module):
    """Attention to a few places of each level, chosen by the query."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.sampling_offsets = nn.Linear(width, heads * LEVELS * POINTS * 2)
        self.attention_weights = nn.Linear(width, heads * LEVELS * POINTS)
        self.value_proj, self.output_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, query: Tensor, value: Tensor, centres: Tensor, sizes: Sequence[Size]) -> Tensor:
        """(B, S, C) queries over (B, S, C) values of all levels.

        Args:
            centres: (S, 2) x and y of each query's own pixel, 0 to 1.
            sizes: (h, w) of the levels in their order in `value`.
        """
        batch, count, _ = query.shape
        chosen = self.sampling_offsets(query).view(batch, count, self.heads, LEVELS, POINTS, 2)
        weights = self.attention_weights(query).view(batch, count, self.heads, LEVELS * POINTS).softmax(-1)
        weights = weights.view(batch, count, self.heads, LEVELS, POINTS)
        values = self.value_proj(value).unflatten(-1, (self.heads, -1))  # (B, S, heads, d)
        parts = values.split([height * width for height, width in sizes], 1)
        mixed = values.new_zeros((batch * self.heads, values.shape[-1], count))
        for level, (part, (height, width)) in enumerate(zip(parts, sizes, strict=True)):
            maps = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, (height, width))  # (B heads, d, h, w)
            scale = chosen.new_tensor([width, height])
            places = centres[None, :, None, None] + chosen[:, :, :, level] / scale  # (B, S, heads, points, 2)
            grid = 2 * places.transpose(1, 2).flatten(0, 1) - 1
            read = F.grid_sample(maps, grid, mode="bilinear", align_corners=False)  # (B heads, d, S, points)
            share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B heads, S, points)
            mixed = mixed + (read * share[:, None]).sum(-1)
        rows = mixed.unflatten(0, (batch, self.heads)).permute(0, 3, 1, 2).flatten(2)
        out: Tensor = self.output_proj(rows)
        return out


class _Layer(nn.Module):
    """Post-norm layer; queries carry positions."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = _DeformableAttention(width, heads)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.linear1, self.linear2 = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x: Tensor, positions: Tensor, centres: Tensor, sizes: Sequence[Size]) -> Tensor:
        x = self.norm1(x + self.self_attn(x + positions, x, centres, sizes))
        out: Tensor = self.norm2(x + self.linear2(F.relu(self.linear1(x))))
        return out


class _Encoder(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(width, heads, ffn) for _ in range(layers))


class _Transformer(nn.Module):
    def __init__(self, layers: int, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.zeros(LEVELS, width))
        self.encoder = _Encoder(layers, width, heads, ffn)


class DeformablePixelDecoder(nn.Module):
    """Backbone maps of strides 4, 8, 16, 32 to a `Pyramid` of one width.

    Args:
        channels: of res2, res3, res4, res5.
        width: C of everything that comes out.
        heads, ffn, layers: of the transformer over res5, res4 and res3 together.
        groups: of every GroupNorm.
    """

    def __init__(
        self, channels: Sequence[int], width: int, *, heads: int = 8, ffn: int = 1024, layers: int = 6, groups: int = 32
    ) -> None:
        super().__init__()
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, width, 1), nn.GroupNorm(groups, width)) for inputs in channels[:0:-1]
        )
        self.transformer = _Transformer(layers, width, heads, ffn)
        self.adapter_1 = NormedConv(channels[0], width, 1, relu=False, groups=groups)
        self.layer_1 = NormedConv(width, width, 3, relu=True, groups=groups)
        self.mask_features = nn.Conv2d(width, width, 1)

    def forward(self, maps: Sequence[Tensor]) -> Pyramid:
        """Decode (res2, res3, res4, res5), each (B, C_k, h_k, w_k); the transformer computes in float32."""
        with torch.autocast(maps[0].device.type, enabled=False):
            first, second, third = self._encode([level.float() for level in maps[:0:-1]])
        lateral = self.adapter_1(maps[0])
        grown = F.interpolate(third, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
        return Pyramid(self.mask_features(self.layer_1(lateral + grown)), first, (first, second, third))

    def _encode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of strides 32, 16 and 8 to maps of one width."""
        projected = [project(level) for project, level in zip(self.input_proj, maps, strict=True)]
        sizes = [(level.shape[-2], level.shape[-1]) for level in projected]
        device, width = projected[0].device, projected[0].shape[1]
        x = torch.cat([level.flatten(2).transpose(1, 2) for level in projected], 1)
        positions = torch.cat(
            [
                sine_positions(*size, width, device).flatten(1).T + self.transformer.level_embed[number]
                for number, size in enumerate(sizes)
            ]
        )
        centres = torch.cat([pixel_centres(*size, device) for size in sizes])
        for layer in self.transformer.encoder.layers:
            x = layer(x, positions, centres, sizes)
        rows = x.split([height * width for height, width in sizes], 1)
        return [part.transpose(1, 2).unflatten(2, size) for part, size in zip(rows, sizes, strict=True)]


def pixel_centres(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """(h w, 2) x and y of the middle of every pixel, 0 to 1, row by row.

    >>> pixel_centres(1, 2).tolist()
    [[0.25, 0.5], [0.75, 0.5]]
    """
    y, x = ((torch.arange(length, device=device) + 0.5) / length for length in (height, width))
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1)
