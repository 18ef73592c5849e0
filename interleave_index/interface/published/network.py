"""The published network at any size, with the parameter names of a released checkpoint, language model apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from torch import Tensor, nn

from ...errors import ConfigError
from ...models.vision.davit import DAVIT_D3, DAVIT_D5, Davit, DavitSizes
from ...models.vision.focal import FOCAL_L, FOCAL_T, FocalSizes, focal_backbone
from ...models.vision.pixel_decoder import PixelDecoder, Pyramid
from ...models.vision.sam_vit import SAM_B, SamBackbone, SamSizes
from ...models.vision.tower import PIXEL_MEAN, PIXEL_STD
from ...records import Size
from ..find.config import FindConfig
from ..find.network import FindInterface
from .preparation import LONG, SHORT, STRIDE

DecoderT = TypeVar("DecoderT", bound=nn.Module)
PredictorT = TypeVar("PredictorT", bound=nn.Module)
LanguageKind = Literal["llama", "unicl"]
BackboneSizes: TypeAlias = FocalSizes | DavitSizes | SamSizes
SIZES_OF: dict[str, type[FocalSizes | DavitSizes | SamSizes]] = {"davit": DavitSizes, "sam": SamSizes}  # else Focal
SAM_SHORT = 1000 / 1024  # the shorter side that a SAM backbone is evaluated at, as a share of its input


@dataclass(frozen=True, slots=True)
class PublishedSizes:
    """Sizes of a published model; the defaults are those of Focal-L with LLaMA.

    Attributes:
        backbone: a Focal one, a DaViT or SAM's.
        decoder: heads, ffn and layers of the pixel decoder's transformer; its width is that of the interface.
        interface: of the interface; `text_width` is the language model's.
        language: `llama` or `unicl`.
        language_layer: LLaMA's hidden state that is read, 21 in every published file (-12 of 33).
        context, class_context: tokens of a text, and of a class name's sentence.
        short, long: photos are resized so that the shorter side is `short`, unless the longer one would pass `long`.
    """

    backbone: BackboneSizes = FOCAL_L
    decoder: dict[str, int] = field(default_factory=lambda: {"heads": 8, "ffn": 2048, "layers": 6})
    interface: FindConfig = field(default_factory=FindConfig)
    language: LanguageKind = "llama"
    language_layer: int = 21
    context: int = 77
    class_context: int = 150
    short: int = SHORT
    long: int = LONG

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PublishedSizes:
        """From what `asdict` makes of sizes, after a way through JSON."""
        backbone = backbone_sizes_of(values["backbone"])
        return cls(**{**values, "backbone": backbone, "interface": FindConfig(**values["interface"])})


def backbone_sizes_of(values: Mapping[str, Any]) -> BackboneSizes:
    """From what `asdict` makes of the sizes of a backbone, after a way through JSON."""
    plain: dict[str, Any] = {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}
    return SIZES_OF.get(plain["kind"], FocalSizes)(**plain)


def unicl(sizes: PublishedSizes) -> PublishedSizes:
    """The same model with the UniCL text tower."""
    interface = replace(sizes.interface, text_width=512)
    return replace(sizes, interface=interface, language="unicl", language_layer=12, class_context=77)


def sides_of(backbone: BackboneSizes) -> Size:
    """Shorter and longest side that photos are resized to, as published for a backbone.

    >>> sides_of(FOCAL_T), sides_of(SAM_B)
    ((640, 1024), (1000, 1024))
    """
    if isinstance(backbone, SamSizes):
        return round(SAM_SHORT * backbone.image_size), backbone.image_size
    return SHORT, LONG


def _preset(backbone: BackboneSizes) -> PublishedSizes:
    short, long = sides_of(backbone)
    return PublishedSizes(backbone=backbone, short=short, long=long)


BACKBONES: dict[str, BackboneSizes] = {
    "focal-l": FOCAL_L,
    "focal-t": FOCAL_T,
    "davit-d3": DAVIT_D3,
    "davit-d5": DAVIT_D5,
    "sam-b": SAM_B,
}
PRESETS = {f"find-{name}": _preset(backbone) for name, backbone in BACKBONES.items()}
PRESETS |= {f"{name}-unicl": unicl(sizes) for name, sizes in PRESETS.items()}


def backbone_of(sizes: BackboneSizes) -> nn.Module:
    """A backbone of these sizes, randomly initialised, under the published names.

    Raises:
        BackendMissing: kind `focal` or `sam` without transformers.
    """
    if isinstance(sizes, SamSizes):
        return SamBackbone(sizes)
    return Davit(sizes) if isinstance(sizes, DavitSizes) else focal_backbone(sizes)


class _Head(nn.Module, Generic[DecoderT, PredictorT]):
    """Pixel decoder and what reads its pyramid, under the published names."""

    def __init__(self, pixel_decoder: DecoderT, predictor: PredictorT) -> None:
        super().__init__()
        self.pixel_decoder, self.predictor = pixel_decoder, predictor


class ReleasedNetwork(nn.Module, Generic[DecoderT, PredictorT]):
    """Backbone, pixel decoder and predictor. The names of its state dict are those of a released file.

    Args:
        decoder: four maps to a `Pyramid`.
        predictor: what reads the pyramid.
        short, long: photos are resized so that the shorter side is `short`, unless the longer one would pass `long`.

    Attributes:
        pixel_mean, pixel_std: of the channels, 0 to 255, by which photos are normalised.
        stride: inputs are padded to multiples of it; a SAM backbone takes its one square alone.
    """

    def __init__(self, backbone: nn.Module, decoder: DecoderT, predictor: PredictorT, *, short: int, long: int) -> None:
        super().__init__()
        self.short, self.long = short, long
        self.pixel_mean: tuple[float, ...] = PIXEL_MEAN
        self.pixel_std: tuple[float, ...] = PIXEL_STD
        self.backbone = backbone
        self.stride = backbone.sizes.image_size if isinstance(backbone, SamBackbone) else STRIDE
        if self.one_size and long > self.stride:
            raise ConfigError(f"long side is {long}, expected at most {self.stride}, the side of the SAM backbone")
        self.sem_seg_head = _Head(decoder, predictor)

    @property
    def one_size(self) -> bool:
        """Whether the backbone takes inputs of one size alone, whatever the task."""
        return isinstance(self.backbone, SamBackbone)

    @property
    def predictor(self) -> PredictorT:
        """What reads the pyramid."""
        return self.sem_seg_head.predictor

    def pyramid(self, pixels: Tensor) -> Pyramid:
        """(B, 3, H, W) normalised pixels, sides multiples of `stride`, to the pyramid."""
        out: Pyramid = self.sem_seg_head.pixel_decoder(self.backbone(pixels))
        return out


class FindNetwork(ReleasedNetwork[PixelDecoder, FindInterface]):
    """Backbone, pixel decoder and FIND's interface.

    Args:
        short, long: see `ReleasedNetwork`.
    """

    def __init__(
        self, backbone: nn.Module, decoder: PixelDecoder, interface: FindConfig, *, short: int, long: int
    ) -> None:
        super().__init__(backbone, decoder, FindInterface(interface), short=short, long=long)


class PublishedNetwork(FindNetwork):
    """The network of a released file, randomly initialised."""

    def __init__(self, sizes: PublishedSizes) -> None:
        backbone = backbone_of(sizes.backbone)
        decoder = PixelDecoder(sizes.backbone.channels, sizes.interface.features, **sizes.decoder)
        super().__init__(backbone, decoder, sizes.interface, short=sizes.short, long=sizes.long)
        self.sizes = sizes
