"""DaViT, the backbone of two of FIND's configurations: attention over windows and over channels, by turns.

Parameter names are the published ones under `backbone.`. Inside, maps are (B, H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

STAGES, EXPANSION, HEAD_WIDTH = 4, 4, 32


@dataclass(frozen=True, slots=True)
class DavitSizes:
    """Sizes of a DaViT; the defaults are those of DaViT-d3.

    Attributes:
        kind: always `davit`.
        widths: channels of res2 to res5; every head and every group of channels is 32 wide.
        depths: pairs of blocks of the four stages.
        kernels: of the convolution before each stage; strides are 4, 2, 2, 2.
        window: side of a window.
    """

    kind: Literal["davit"] = "davit"
    widths: tuple[int, ...] = (128, 256, 512, 1024)
    depths: tuple[int, ...] = (1, 1, 9, 1)
    kernels: tuple[int, ...] = (7, 2, 2, 2)
    window: int = 7

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of res2 to res5."""
        return self.widths


DAVIT_D3 = DavitSizes()
DAVIT_D5 = DavitSizes(widths=(256, 512, 1024, 2048), kernels=(7, 3, 3, 3))


class _Depthwise(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dw(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        inner = EXPANSION * width
        self.net = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net["fc2"](F.gelu(self.net["fc1"](x)))
        return out


class _Attention(nn.Module):
    """Heads of 32 channels each, over (…, N, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads = max(1, width // HEAD_WIDTH)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class WindowAttention(_Attention):
    """Self-attention inside windows; maps that no window divides are padded with zeros behind their norm."""

    def __init__(self, width: int, window: int) -> None:
        super().__init__(width)
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        batch, height, width, channels = x.shape
        side = self.window
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = (
            x.unflatten(2, (columns, side)).unflatten(1, (rows, side)).transpose(2, 3).reshape(-1, side**2, channels)
        )
        mixed = F.scaled_dot_product_attention(*self._split(windows)).transpose(1, 2).flatten(2)
        mixed = self.proj(mixed).reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
        out: Tensor = mixed.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]
        return out


class ChannelAttention(_Attention):
    """Self-attention between the channels of a group; scaled by the number of places, not by the width of a head."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        q, k, v = self._split(x.flatten(1, 2))
        weight = ((q * q.shape[2] ** -0.5).transpose(-1, -2) @ k).softmax(-1)
        mixed = (weight @ v.transpose(-1, -2)).transpose(-1, -2)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2)).unflatten(1, x.shape[1:3])
        return out


class _Branch(nn.Module):
    """A residual branch, behind a norm if it has one."""

    def __init__(self, fn: nn.Module, width: int = 0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if width else None
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.fn(x if self.norm is None else self.norm(x))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, name: str, attention: nn.Module) -> None:
        super().__init__()
        self.conv1 = _Branch(_Depthwise(width))
        self.add_module(name, _Branch(attention, width))
        self.conv2 = _Branch(_Depthwise(width))
        self.ffn = _Branch(_Mlp(width), width)

    def forward(self, x: Tensor) -> Tensor:
        for branch in self.children():
            x = branch(x)
        return x


class _Embed(nn.Module):
    """Convolution before a stage, with a norm behind it at the first stage and before it at the others."""

    def __init__(self, inputs: int, outputs: int, kernel: int, first: bool) -> None:
        super().__init__()
        padding = kernel // 2 if kernel % 2 else 0
        self.proj = nn.Conv2d(inputs, outputs, kernel, 4 if first else 2, padding)
        self.norm = nn.LayerNorm(outputs if first else inputs)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else self.norm(x)
        out: Tensor = self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.norm(out) if self.first else out


class Davit(nn.Module):
    """DaViT without norms on what it gives."""

    def __init__(self, sizes: DavitSizes = DAVIT_D3) -> None:
        super().__init__()
        self.sizes = sizes
        inputs = (3, *sizes.widths[:-1])
        self.convs = nn.ModuleList(
            _Embed(inputs[n], sizes.widths[n], sizes.kernels[n], first=n == 0) for n in range(STAGES)
        )
        self.blocks = nn.ModuleList(_stage(sizes.widths[n], sizes.depths[n], sizes.window) for n in range(STAGES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) normalised pixels, sides multiples of 32, to (res2, res3, res4, res5)."""
        x, maps = pixels.permute(0, 2, 3, 1), []
        for conv, stage in zip(self.convs, self.blocks, strict=True):
            x = stage(conv(x))
            maps.append(x.permute(0, 3, 1, 2).contiguous())
        return maps[0], maps[1], maps[2], maps[3]


class _Pair(nn.Module):
    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.spatial_block = _Block(width, "window_attn", WindowAttention(width, window))
        self.channel_block = _Block(width, "channel_attn", ChannelAttention(width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.channel_block(self.spatial_block(x))
        return out


def _stage(width: int, depth: int, window: int) -> nn.Sequential:
    return nn.Sequential(*(_Pair(width, window) for _ in range(depth)))
