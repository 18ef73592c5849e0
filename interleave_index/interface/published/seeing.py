"""How a released network sees photos, whatever reads its pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ...geometry import size_of
from ...models.vision.pixel_decoder import Pyramid
from ...records import RGB, BoolMask, Size, Space
from ..find.adapter import View
from ..find.prompts import MaskPrompt
from .network import ReleasedNetwork
from .preparation import prepare, prompt_mask

NetworkT = TypeVar("NetworkT", bound=ReleasedNetwork[Any, Any])


class SeeingModel(Generic[NetworkT]):
    """A released network on a device, in a precision.

    Args:
        network: in eval mode.
        device: where the network runs.
        dtype: below float32, the network runs in mixed precision; what it answers is float32 all the same.
    """

    def __init__(self, network: NetworkT, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.network = network
        self.device, self.dtype = torch.device(device), dtype

    @property
    def precision(self) -> str:
        """`dtype` by its name, such as ``float32``."""
        return str(self.dtype).removeprefix("torch.")

    def space(self, config: Mapping[str, Any], dim: int, resampling: str, more: str = "") -> Space:
        """The identity of its vectors: named by the model's folder, with its files and how photos are prepared.

        Args:
            config: config.json of the folder.
            resampling: how photos are resized, in Pillow's words; `more` is done with them besides.
        """
        network = self.network
        sides = f"short side {network.short}, long side at most {network.long}"
        below = "" if self.dtype == torch.float32 else f", {self.precision}"
        return Space(
            interface=str(config["name"]),
            checkpoint=str(config["checkpoint"]),
            preprocessing=f"{sides}, pillow {resampling}, padded to {network.stride}{more}{below}",
            dim=dim,
        )

    def marks(self, view: View, masks: Sequence[BoolMask], background: Sequence[BoolMask] | None = None) -> MaskPrompt:
        """The prompt for what a user marked: n of (H, W) bool in pixels of the photo, and as many not meant."""
        positive = torch.stack([prompt_mask(mask, view) for mask in masks]).to(self.device)
        if background is None:
            return MaskPrompt([positive])
        return MaskPrompt([positive], [torch.stack([prompt_mask(mask, view) for mask in background]).to(self.device)])

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @torch.inference_mode()
    def view(self, photo: RGB, *, short: int | None = None, long: int | None = None, bicubic: bool = False) -> View:
        """Backbone and pixel decoder on one upright photo.

        Args:
            photo: (H, W, 3) uint8.
            short, long: sides that it is resized to; None takes those of the model, and so does a model whose
                backbone knows one size alone.
            bicubic: how it is resized, else bilinear.
        Raises:
            ShapeError: not such an array.
        """
        network = self.network
        if network.one_size:
            short = long = None
        pixels, resized = self._prepared(photo, short or network.short, long or network.long, bicubic=bicubic)
        return View(self._pyramid(pixels), size_of(photo), resized, (pixels.shape[2], pixels.shape[3]))

    def _prepared(
        self, photo: RGB, short: int, long: int, *, squeezed: Size | None = None, bicubic: bool = False
    ) -> tuple[Tensor, Size]:
        """A photo as the network takes it, see `prepare`."""
        network = self.network
        pixels, resized = prepare(
            photo,
            short,
            long,
            squeezed=squeezed,
            bicubic=bicubic,
            stride=network.stride,
            mean=network.pixel_mean,
            std=network.pixel_std,
        )
        return pixels.to(self.device), resized

    def _pyramid(self, pixels: Tensor) -> Pyramid:
        with self._precision():
            return self.network.pyramid(pixels.to(self.device))
