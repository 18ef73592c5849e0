"""A small residual convolutional backbone of our own: four maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm around a residual; the second norm starts at zero."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.skip = None
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(out + (x if self.skip is None else self.skip(x)))


class MiniBackbone(nn.Module):
    """Photos to (res2, res3, res4, res5).

    Args:
        widths: channels of the four maps.
        depths: residual blocks of the four stages.
    """

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 384), depths: Sequence[int] = (2, 2, 3, 2)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, widths[0], 3, 2, 1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        self.stages = nn.ModuleList()
        inputs = widths[0]
        for number, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = [_Block(inputs if n == 0 else width, width, 2 if n == 0 and number else 1) for n in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
            inputs = width
        self.widths = tuple(widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def fold_norms(self) -> None:
        """Put every batch norm into the convolution before it: the same answers a quarter sooner, but no training."""
        self.eval()
        _fold(self.stem, (("0", "1"), ("3", "4")))
        for block in (module for module in self.modules() if isinstance(module, _Block)):
            _fold(block, (("conv1", "norm1"), ("conv2", "norm2")))
            if block.skip is not None:
                _fold(block.skip, (("1", "2"),))

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of what goes in and comes out."""
        return next(self.parameters()).dtype

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run on (B, 3, H, W) normalised pixels, H and W multiples of 32."""
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[0], maps[1], maps[2], maps[3]


def _fold(module: nn.Module, pairs: Sequence[tuple[str, str]]) -> None:
    for conv, norm in pairs:
        before, after = module.get_submodule(conv), module.get_submodule(norm)
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            setattr(module, conv, fuse_conv_bn_eval(before, after))
            setattr(module, norm, nn.Identity())
