"""The trained module: a frozen pair of vision and language models with an interface between them.

Parameters have the published names, so that what is trained on a Focal backbone can be imported like a released
checkpoint, and every other is asked through the same wrapper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError
from ...interface import BUNDLED
from ...interface.bundle import load_bundle
from ...interface.find.module import FindConfig, FindInterface
from ...interface.published.folder import is_published, load_tower
from ...models import hub
from ...models.any_pair import HubBackbone, HubLanguage, MiniLanguage, llama_layer
from ...models.focal import FOCAL_L, FOCAL_T, focal_backbone
from ...models.language import LanguageTower, LlamaTower
from ...models.pixel_decoder import PixelDecoder, Pyramid
from ...models.pretrained import read_config
from ...models.vision import PIXEL_MEAN, PIXEL_STD
from .settings import CocoSettings

FOCAL = {"focal-t": FOCAL_T, "focal-l": FOCAL_L}
HEAD, DECODER, PREDICTOR = "sem_seg_head.", "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
MEMORIES = 32


@dataclass(frozen=True, slots=True)
class ViewSizes:
    """What photos are resized to when the result is asked."""

    short: int
    long: int


class _Head(nn.Module):
    def __init__(self, decoder: PixelDecoder, predictor: FindInterface) -> None:
        super().__init__()
        self.pixel_decoder, self.predictor = decoder, predictor


class TrainedNetwork(nn.Module):
    """Backbone, pixel decoder and interface; the backbone never trains, the pixel decoder where it is told to."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, decoder: PixelDecoder, interface: FindConfig, *, train_decoder: bool,
                 sizes: ViewSizes) -> None:
        super().__init__()
        self.backbone, self.sizes, self.train_decoder = backbone, sizes, train_decoder
        self.sem_seg_head = _Head(decoder, FindInterface(interface))
        self.backbone.requires_grad_(False)
        decoder.requires_grad_(train_decoder)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def predictor(self) -> FindInterface:
        """The interface."""
        return self.sem_seg_head.predictor

    def train(self, mode: bool = True) -> TrainedNetwork:
        """What is frozen stays in eval mode; the published training left drop-path on there."""
        super().train(mode)
        self.backbone.eval()
        if not self.train_decoder:
            self.sem_seg_head.pixel_decoder.eval()
        return self

    def pyramid(self, pixels: Tensor) -> Pyramid:
        """(B, 3, H, W) normalised pixels to the pyramid."""
        with torch.no_grad():
            maps = self.backbone(pixels)
        with torch.set_grad_enabled(self.train_decoder and torch.is_grad_enabled()):
            out: Pyramid = self.sem_seg_head.pixel_decoder(maps)
        return out

    def normalise(self, pixels: Tensor, real: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255, zero where `real` (B, S, S) is off, as the backbone takes it."""
        return (pixels - self.mean) / self.std * real[:, None]

    def trained(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: everything that may have changed."""
        parts = (HEAD,) if self.train_decoder else (PREDICTOR,)
        return {name: value for name, value in self.state_dict().items() if name.startswith(parts)}


def build_network(settings: CocoSettings, text_width: int) -> TrainedNetwork:
    """The network of some settings, its frozen part loaded.

    Raises:
        ConfigError: no such backbone, or one without weights.
        InputError, WeightsMissing, BackendMissing: its files.
    """
    backbone, channels, given = _vision(settings)
    if "decoder" in given:
        decoder: PixelDecoder = given["decoder"]
        width = decoder.mask_features.out_channels
    else:
        width = settings.decoder_width
        decoder = PixelDecoder(channels, width, heads=settings.heads, ffn=4 * width, layers=settings.decoder_layers,
                               groups=min(32, width // 2))
    interface = FindConfig(width=settings.width, features=width, heads=settings.heads, ffn=settings.ffn,
                           layers=settings.layers, object_queries=settings.object_queries, text_width=text_width,
                           memories=MEMORIES)
    trains = "decoder" not in given if settings.train_decoder is None else settings.train_decoder
    side = settings.drawing.size
    return TrainedNetwork(backbone, decoder, interface, train_decoder=trains, sizes=ViewSizes(side, side))


def _vision(settings: CocoSettings) -> tuple[nn.Module, tuple[int, int, int, int], dict[str, Any]]:
    """Backbone, channels of its maps, and its pixel decoder where there is one."""
    if settings.vision == "find-mini":
        tower = load_bundle(BUNDLED["find-mini"]).model.vision
        widths = tower.widths
        return tower.backbone, (widths[0], widths[1], widths[2], widths[3]), {"decoder": tower.pixel_decoder}
    if settings.vision not in FOCAL:
        found = HubBackbone(hub.find(settings.vision))
        return found, found.channels, {}
    sizes = FOCAL[settings.vision]
    backbone = focal_backbone(sizes)
    if settings.vision_weights == "random":
        return backbone, sizes.channels, {}
    if settings.vision_weights is None:
        raise ConfigError(f"{settings.vision} has no weights; name a state dict with backbone.* by --vision-weights")
    state = _read(Path(settings.vision_weights))
    _load(backbone, state, "backbone.", settings.vision_weights)
    if not any(name.startswith(DECODER) for name in state):
        return backbone, sizes.channels, {}
    width = state[f"{DECODER}mask_features.weight"].shape[0]
    layers = len({name.split(".")[5] for name in state if name.startswith(f"{DECODER}transformer.encoder.layers.")})
    ffn = state[f"{DECODER}transformer.encoder.layers.0.linear1.weight"].shape[0]
    decoder = PixelDecoder(sizes.channels, width, heads=settings.heads, ffn=ffn, layers=layers)
    _load(decoder, state, DECODER, settings.vision_weights)
    return backbone, sizes.channels, {"decoder": decoder}


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{path} cannot be read as a state dict: {' '.join(str(error).split())[:200]}") from error
    return dict(found.get("model", found))


def _load(module: nn.Module, state: dict[str, Tensor], prefix: str, source: str) -> None:
    own = {name.removeprefix(prefix): value.float() for name, value in state.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise InputError(f"{prefix}* of {source} does not fit: {str(error).splitlines()[-1].strip()}") from error


def language_of(settings: CocoSettings, device: str) -> tuple[str, Callable[[], LanguageTower]]:
    """What the language model is called in the cache of texts, and how it is built.

    Raises:
        WeightsMissing: no such folder or name.
    """
    if settings.language == "find-mini":
        bundle = load_bundle(BUNDLED["find-mini"])
        return f"find-mini-{bundle.checkpoint[:16]}", lambda: MiniLanguage(bundle.model.text)
    folder = hub.find(settings.language)
    name, layer = f"{folder.name}-{settings.language_layer}", settings.language_layer
    if is_published(folder):
        return name, lambda: load_tower(folder, device, layer if layer >= 0 else None)
    if read_config(folder).get("model_type") == "llama":
        return name, lambda: LlamaTower(folder, layer=llama_layer(folder, layer), device=device)
    return name, lambda: HubLanguage(folder, layer=layer, device=device)


def sizes_json(network: TrainedNetwork) -> dict[str, Any]:
    """Sizes of the interface, for the folder of the result."""
    return asdict(network.predictor.config)
