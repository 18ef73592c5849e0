"""The released networks of the X-Decoder family at any size, with the parameter names of a released file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ...models.vision.deform_decoder import DeformablePixelDecoder
from ...models.vision.focal import FOCAL_L, FOCAL_T
from ...models.vision.pixel_decoder import PixelDecoder, Pyramid
from ...models.vision.sam_vit import SAM_B, SAM_L, SamSizes
from ...records import Size
from ..published.network import BackboneSizes, ReleasedNetwork, backbone_of, backbone_sizes_of, sides_of
from .config import DecoderConfig
from .seem import SeemDecoder
from .xdecoder import XDecoder

DecoderKind = Literal["fpn", "deform"]
SHORT, LONG = 512, 1024  # what the released scripts resize to
AnyPixelDecoder: TypeAlias = PixelDecoder | DeformablePixelDecoder
LANGUAGE_LAYERS = 12  # of the text tower


@dataclass(frozen=True, slots=True)
class FamilySizes:
    """Sizes of a released model; the defaults are those of SEEM v1 over Focal-L.

    Attributes:
        decoder_kind: the pixel decoder of FIND (`fpn`), or the deformable one (`deform`).
        decoder: heads, ffn and layers of its transformer.
        interface: of the decoder, and which of the family it is.
        language, language_layer: the text tower, always UniCL, and its layers.
        short, long: photos are resized so that the shorter side is `short`, unless the longer one would pass `long`.
    """

    backbone: BackboneSizes = FOCAL_L
    decoder_kind: DecoderKind = "fpn"
    decoder: dict[str, int] = field(default_factory=lambda: {"heads": 8, "ffn": 2048, "layers": 6})
    interface: DecoderConfig = field(default_factory=DecoderConfig)
    language: Literal["unicl"] = "unicl"
    language_layer: int = LANGUAGE_LAYERS
    short: int = SHORT
    long: int = LONG

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FamilySizes:
        """From what `asdict` makes of sizes, after a way through JSON."""
        backbone = backbone_sizes_of(values["backbone"])
        return cls(**{**values, "backbone": backbone, "interface": DecoderConfig(**values["interface"])})


def family_sides(backbone: BackboneSizes) -> Size:
    """Shorter and longest side that photos are resized to, as the released scripts do.

    >>> family_sides(FOCAL_T), family_sides(SAM_B)
    ((512, 1024), (1000, 1024))
    """
    return sides_of(backbone) if isinstance(backbone, SamSizes) else (SHORT, LONG)


def _sized(backbone: BackboneSizes, **values: Any) -> FamilySizes:
    short, long = family_sides(backbone)
    return FamilySizes(backbone, short=short, long=long, **values)


def _presets() -> dict[str, FamilySizes]:
    """The released models by name."""
    xdecoder = DecoderConfig(family="xdecoder", version=None)
    presets = {
        "xdecoder-focal-t": _sized(FOCAL_T, interface=xdecoder),
        "xdecoder-focal-l": _sized(FOCAL_L, interface=replace(xdecoder, queries=201)),
    }
    for version in ("v0", "v1", "demo"):
        seem = DecoderConfig(version=version)
        presets[f"seem-focal-t-{version}"] = _sized(FOCAL_T, interface=seem)
        presets[f"seem-focal-l-{version}"] = _sized(FOCAL_L, interface=seem)
    deform: dict[str, Any] = {"decoder_kind": "deform", "decoder": {"heads": 8, "ffn": 1024, "layers": 6}}
    presets["seem-sam-b-v1"] = _sized(SAM_B, **deform)
    presets["seem-sam-l-v1"] = _sized(SAM_L, **deform)
    return presets


PRESETS = _presets()


class FamilyNetwork(ReleasedNetwork[AnyPixelDecoder, XDecoder | SeemDecoder]):
    """The network of a released file, randomly initialised, text tower apart.

    Attributes:
        backbone_proj: (C_5, C) of X-Decoder, by which the mean of the backbone's last map becomes a second vector of a
            photo; None for SEEM.
    """

    def __init__(self, sizes: FamilySizes) -> None:
        config = sizes.interface
        build = DeformablePixelDecoder if sizes.decoder_kind == "deform" else PixelDecoder
        decoder = build(sizes.backbone.channels, config.width, **sizes.decoder)
        is_xdecoder = config.family == "xdecoder"
        predictor = XDecoder(config) if is_xdecoder else SeemDecoder(config)
        super().__init__(backbone_of(sizes.backbone), decoder, predictor, short=sizes.short, long=sizes.long)
        self.sizes = sizes
        last = sizes.backbone.channels[3]
        self.backbone_proj = nn.Parameter(torch.randn(last, config.width) / last**0.5) if is_xdecoder else None

    def pyramid_and_whole(self, pixels: Tensor) -> tuple[Pyramid, Tensor | None]:
        """(B, 3, H, W) normalised pixels to the pyramid, and (B, C) by the backbone alone, None for SEEM."""
        maps = self.backbone(pixels)
        whole = None if self.backbone_proj is None else maps[3].mean((2, 3)) @ self.backbone_proj
        found: Pyramid = self.sem_seg_head.pixel_decoder(maps)
        return found, whole
