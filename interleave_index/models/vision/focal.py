"""The Focal backbones of FIND's published checkpoints: four maps at strides 4, 8, 16 and 32.

`focal` (Focal-L) runs the stages of Hugging Face's FocalNet and adds the norm that FIND puts on what each stage gives
before it is downsampled. `focal_dw` (Focal-T) has depth-wise convolutions in its blocks and norms after the sums; no
library has it, so it is written here. Parameter names are the published ones under `backbone.`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BackendMissing
from .renaming import renamed, use_published_names

FocalKind = Literal["focal", "focal_dw"]
EXPANSION = 4  # of the MLP of a block
STAGES = 4


@dataclass(frozen=True, slots=True)
class FocalSizes:
    """Sizes of a Focal backbone; the defaults are those of Focal-L.

    Attributes:
        kind: `focal` for the block of Focal-L, `focal_dw` for that of Focal-T.
        width: channels of res2; each further map has twice as many.
        depths: blocks of the four stages.
        levels: of context in every modulation.
        window: of the first level's convolution; two more a level.
    """

    kind: FocalKind = "focal"
    width: int = 192
    depths: tuple[int, ...] = (2, 2, 18, 2)
    levels: int = 4
    window: int = 3

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of res2 to res5."""
        return self.width, self.width * 2, self.width * 4, self.width * 8


FOCAL_T = FocalSizes("focal_dw", 96, (2, 2, 6, 2), levels=3)
FOCAL_L = FocalSizes()


def focal_backbone(sizes: FocalSizes) -> nn.Module:
    """The backbone of these sizes, randomly initialised, with the published parameter names.

    The module takes (B, 3, H, W) normalised pixels and gives (res2, res3, res4, res5).

    Raises:
        BackendMissing: kind `focal` without transformers.
    """
    return FocalDw(sizes) if sizes.kind == "focal_dw" else FocalHf(sizes)


class Modulation(nn.Module):
    """Focal modulation: a query times a gated sum of contexts of growing reach. (B, H, W, C) in and out."""

    def __init__(self, width: int, levels: int, window: int) -> None:
        super().__init__()
        self.levels = levels
        self.f = nn.Linear(width, 2 * width + levels + 1)
        self.h = nn.Conv2d(width, width, 1)
        self.proj = nn.Linear(width, width)
        kernels = [window + 2 * level for level in range(levels)]
        self.focal_layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, k, padding=k // 2, groups=width, bias=False)) for k in kernels
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        width = x.shape[-1]
        query, context, gates = self.f(x).permute(0, 3, 1, 2).split((width, width, self.levels + 1), 1)
        total = torch.zeros_like(context)
        for level, layer in enumerate(self.focal_layers):
            context = F.gelu(layer(context))
            total = total + context * gates[:, level : level + 1]
        total = total + F.gelu(context.mean((2, 3), keepdim=True)) * gates[:, self.levels :]
        mixed = query * self.h(total / (self.levels + 1))
        out: Tensor = self.proj(mixed.permute(0, 2, 3, 1))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class DwBlock(nn.Module):
    """Block of Focal-T: a depth-wise convolution before each branch, a norm after each sum. (B, H, W, C)."""

    def __init__(self, width: int, levels: int, window: int) -> None:
        super().__init__()
        self.dw1, self.dw2 = (nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(2))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.modulation, self.mlp = Modulation(width, levels, window), _Mlp(width)
        self.gamma_1, self.gamma_2 = (nn.Parameter(torch.full((width,), 1e-4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        x = x + _depthwise(self.dw1, x)
        x = self.norm1(x + self.gamma_1 * self.modulation(x))
        x = x + _depthwise(self.dw2, x)
        out: Tensor = self.norm2(x + self.gamma_2 * self.mlp(x))
        return out


class _Embed(nn.Module):
    """Convolution and norm between stages; an input that the stride does not divide is padded with zeros."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.norm = nn.LayerNorm(outputs)
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, H / stride, W / stride, C')."""
        height, width = maps.shape[-2:]
        maps = F.pad(maps, (0, -width % self.stride, 0, -height % self.stride))
        out: Tensor = self.norm(self.proj(maps).permute(0, 2, 3, 1))
        return out


class _Stage(nn.Module):
    downsample: nn.Module | None

    def __init__(self, sizes: FocalSizes, number: int) -> None:
        super().__init__()
        width = sizes.channels[number]
        self.blocks = nn.ModuleList(DwBlock(width, sizes.levels, sizes.window) for _ in range(sizes.depths[number]))
        self.downsample = _Embed(width, 2 * width, 3, 2, 1) if number < STAGES - 1 else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, C) to the same, and to the input of the next stage."""
        for block in self.blocks:
            x = block(x)
        return x, x if self.downsample is None else self.downsample(x.permute(0, 3, 1, 2))


class FocalDw(nn.Module):
    """Focal-T."""

    def __init__(self, sizes: FocalSizes = FOCAL_T) -> None:
        super().__init__()
        self.sizes = sizes
        self.patch_embed = _Embed(3, sizes.width, 7, 4, 3)
        self.layers = nn.ModuleList(_Stage(sizes, number) for number in range(STAGES))
        self.norm0, self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for width in sizes.channels)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) normalised pixels to (res2, res3, res4, res5)."""
        x, maps = self.patch_embed(pixels), []
        for stage, norm in zip(self.layers, (self.norm0, self.norm1, self.norm2, self.norm3), strict=True):
            x, following = stage(x)
            maps.append(norm(x).permute(0, 3, 1, 2).contiguous())
            x = following
        return maps[0], maps[1], maps[2], maps[3]


class FocalHf(nn.Module):
    """Focal-L: embeddings and stages of Hugging Face's FocalNet, and FIND's norm of each stage.

    Its state dict has the published names; they are renamed when they are loaded.
    """

    def __init__(self, sizes: FocalSizes = FOCAL_L) -> None:
        super().__init__()
        self.sizes = sizes
        found = _focalnet(sizes)
        self.embeddings, self.encoder = found.embeddings, found.encoder  # its own final norm is never used
        self.norm0, self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for width in sizes.channels)
        use_published_names(self, _NAMES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(B, 3, H, W) normalised pixels to (res2, res3, res4, res5)."""
        tokens, (height, width) = self.embeddings(pixels)
        maps = []
        for stage, norm in zip(self.encoder.stages, (self.norm0, self.norm1, self.norm2, self.norm3), strict=True):
            following, before, *_ = found = stage(tokens, (height, width))
            maps.append(norm(before).transpose(1, 2).unflatten(2, (height, width)).contiguous())
            tokens, (height, width) = following, found[2][-2:]
        return maps[0], maps[1], maps[2], maps[3]


# Hugging Face's name -> the published one, below the backbone
_NAMES = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.norm\.", "patch_embed.norm."),
    (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.", r"layers.\1.blocks.\2."),
    (r"^encoder\.stages\.(\d+)\.downsample\.projection\.", r"layers.\1.downsample.proj."),
    (r"^encoder\.stages\.(\d+)\.downsample\.norm\.", r"layers.\1.downsample.norm."),
    (r"\.modulation\.projection_in\.", ".modulation.f."),
    (r"\.modulation\.projection_context\.", ".modulation.h."),
    (r"\.modulation\.projection_out\.", ".modulation.proj."),
)


def published_name(name: str) -> str:
    """The published name of a parameter of `FocalHf`.

    >>> published_name("encoder.stages.2.layers.7.modulation.projection_in.weight")
    'layers.2.blocks.7.modulation.f.weight'
    """
    return renamed(name, _NAMES)


def _focalnet(sizes: FocalSizes) -> Any:
    try:
        from transformers import FocalNetConfig, FocalNetModel
    except ImportError as error:
        raise BackendMissing(
            "Focal-L runs on the package transformers, which is not installed; pip install 'interleave-index[hub]'"
        ) from error
    config = FocalNetConfig(
        embed_dim=sizes.width,
        depths=list(sizes.depths),
        focal_levels=[sizes.levels] * STAGES,
        focal_windows=[sizes.window] * STAGES,
        use_conv_embed=True,
        use_post_layernorm=True,
        use_layerscale=True,
        normalize_modulator=True,
        drop_path_rate=0.0,
    )
    return FocalNetModel(config, add_pooling_layer=False)


def _depthwise(layer: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return out
