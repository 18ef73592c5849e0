"""A frozen pair of vision and language models with a FIND interface between them, as `train --data coco` makes it.

Parameters have the published names, so that what was trained on a Focal backbone can be imported like a released
checkpoint; every other pair is loaded here and asked through the same wrapper.

config.json             the pair, sizes, class names, how it was trained
model.safetensors       backbone, pixel decoder and interface under the published names
prepared.safetensors    class table and banks of calibration
text/                   cache of token states; may be deleted
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...errors import ConfigError, InputError, WeightsMissing
from ...models.hub import local
from ...models.hub.backbones import HubBackbone, HubLanguage, MiniLanguage, llama_layer
from ...models.text.language import LanguageTower, LlamaTower
from ...models.vision.focal import FOCAL_L, FOCAL_T, focal_backbone
from ...models.vision.pixel_decoder import PixelDecoder, Pyramid
from ...models.vision.tower import PIXEL_MEAN, PIXEL_STD
from ..find.config import FindConfig
from ..find_mini import WEIGHTS as WEIGHTS_OF_MINI
from ..find_mini.bundle import load_bundle
from .folder import KIND as PUBLISHED
from .folder import TEXTS as TEXTS
from .folder import WEIGHTS, load_tower, load_weights, read_state
from .keys import DECODER, PREDICTOR, below, decoder_sizes
from .model import PublishedModel
from .network import FindNetwork
from .text import PublishedPrompter, TextCache

FOCAL = {"focal-t": FOCAL_T, "focal-l": FOCAL_L}
HEAD = "sem_seg_head."
MEMORIES = 32

KIND, FORMAT = "find-pair", 1
PIXELS = "pixels"  # key of the channels' statistics in config.json; without it, all was trained with ImageNet's
CONTEXT, CLASS_CONTEXT = 77, 150


@dataclass(frozen=True, slots=True)
class Pair:
    """What is built, and of what.

    Attributes:
        vision: ``focal-t``, ``focal-l``, ``find-mini``, or a backbone's folder or hub name.
        vision_weights: state dict of the Focal backbones, or ``random``.
        language: ``find-mini``, an imported model, or the folder or hub name of a LLaMA or another text model.
        language_layer: hidden state that is taken, from the end where negative.
        side: of the square that photos are trained at.
        train_decoder: see `CocoSettings`.
        width, layers, heads, ffn, object_queries: of the interface; decoder_width, decoder_layers: of a pixel
            decoder that does not come with the vision model.
    """

    vision: str
    language: str
    vision_weights: str | None = None
    language_layer: int = -12
    side: int = 1024
    train_decoder: bool | None = None
    width: int = 512
    layers: int = 9
    heads: int = 8
    ffn: int = 2048
    object_queries: int = 100
    decoder_width: int = 512
    decoder_layers: int = 6


class TrainedNetwork(FindNetwork):
    """A network whose backbone never trains, and whose pixel decoder trains on request."""

    def __init__(
        self, backbone: nn.Module, decoder: PixelDecoder, interface: FindConfig, *, train_decoder: bool, side: int
    ) -> None:
        super().__init__(backbone, decoder, interface, short=side, long=side)
        self.train_decoder = train_decoder
        self.backbone.requires_grad_(False)
        decoder.requires_grad_(train_decoder)
        if isinstance(backbone, HubBackbone):
            self.pixel_mean, self.pixel_std = backbone.mean, backbone.std

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
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (self.pixel_mean, self.pixel_std))
        return (pixels - mean) / std * real[:, None]

    def trained(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: everything that may have changed."""
        parts = (HEAD,) if self.train_decoder else (PREDICTOR,)
        return {name: value for name, value in self.state_dict().items() if name.startswith(parts)}


def build_network(pair: Pair, text_width: int) -> TrainedNetwork:
    """The network of a pair, its frozen part loaded.

    Raises:
        ConfigError: no such backbone, or one without weights.
        ModelError, InputError, WeightsMissing, BackendMissing: its files.
    """
    backbone, decoder, is_trained = _vision(pair)
    interface = FindConfig(
        width=pair.width,
        features=decoder.mask_features.out_channels,
        heads=pair.heads,
        ffn=pair.ffn,
        layers=pair.layers,
        object_queries=pair.object_queries,
        text_width=text_width,
        memories=MEMORIES,
    )
    train_decoder = not is_trained if pair.train_decoder is None else pair.train_decoder
    return TrainedNetwork(backbone, decoder, interface, train_decoder=train_decoder, side=pair.side)


def _vision(pair: Pair) -> tuple[nn.Module, PixelDecoder, bool]:
    """Backbone and pixel decoder, and whether the decoder has learned already."""
    if pair.vision == "find-mini":
        tower = load_bundle(WEIGHTS_OF_MINI).model.vision
        return tower.backbone, tower.pixel_decoder, True
    state: dict[str, Tensor] = {}
    if pair.vision not in FOCAL:
        hub = HubBackbone(local.find(pair.vision))
        backbone: nn.Module = hub
        channels: Sequence[int] = hub.channels
    else:
        backbone, channels = focal_backbone(FOCAL[pair.vision]), FOCAL[pair.vision].channels
        if pair.vision_weights is None:
            raise ConfigError(f"{pair.vision} has no weights; name a state dict with backbone.* by --vision-weights")
        if pair.vision_weights != "random":
            state = read_state(Path(pair.vision_weights))
            _load(backbone, state, "backbone.", pair.vision_weights)
    if not any(name.startswith(DECODER) for name in state):
        width = pair.decoder_width
        sizes = {"heads": pair.heads, "ffn": 4 * width, "layers": pair.decoder_layers}
        return backbone, PixelDecoder(channels, width, **sizes, groups=min(32, width // 2)), False
    width, ffn, layers = decoder_sizes(state)
    decoder = PixelDecoder(channels, width, heads=pair.heads, ffn=ffn, layers=layers)
    _load(decoder, state, DECODER, str(pair.vision_weights))
    return backbone, decoder, True


def _load(module: nn.Module, state: dict[str, Tensor], prefix: str, source: str) -> None:
    try:
        module.load_state_dict({name: value.float() for name, value in below(state, prefix).items()})
    except RuntimeError as error:
        raise InputError(f"{prefix}* of {source} does not fit: {str(error).splitlines()[-1].strip()}") from error


def _language(pair: Pair, device: str) -> tuple[str, LanguageTower]:
    """What the language model is called in the cache of texts, and itself."""
    if pair.language == "find-mini":
        bundle = load_bundle(WEIGHTS_OF_MINI)
        return f"find-mini-{bundle.checkpoint[:16]}", MiniLanguage(bundle.model.text)
    folder, layer = local.find(pair.language), pair.language_layer
    config, name = local.read_config(folder), f"{folder.name}-{layer}"
    if config.get("kind") == PUBLISHED:
        return name, load_tower(folder, device, layer if layer >= 0 else None)
    if config.get("model_type") == "llama":
        return name, LlamaTower(folder, layer=llama_layer(folder, layer), device=device)
    return name, HubLanguage(folder, layer=layer, device=device)


def model_of(pair: Pair, device: torch.device, texts: Path) -> PublishedModel:
    """A model over a pair with a fresh interface; `texts` is the folder of its text cache.

    Raises:
        ConfigError, InputError, WeightsMissing, BackendMissing: what the pair names cannot be used.
    """
    name, tower = _language(pair, str(device))
    network = build_network(pair, tower.width).to(device)
    cache = TextCache(texts, name, lambda: tower)
    prompter = PublishedPrompter(
        cache,
        lambda states: network.predictor.project_text(states.to(device).float().clone()),
        context=CONTEXT,
        class_context=CLASS_CONTEXT,
    )
    return PublishedModel(network, prompter, device=str(device))


def write_pair(folder: Path, pair: Pair, network: TrainedNetwork, facts: dict[str, Any]) -> None:
    """Write the weights and config.json of a trained model.

    Args:
        facts: what else belongs into config.json: ``class_names``, ``settings``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    decoder = network.sem_seg_head.pixel_decoder
    made = replace(
        pair, decoder_width=decoder.mask_features.out_channels, decoder_layers=len(decoder.transformer.encoder.layers)
    )
    pixels = {"mean": network.pixel_mean, "std": network.pixel_std}
    config = {"format": FORMAT, "kind": KIND, "pair": asdict(made), PIXELS: pixels, **facts}
    (folder / local.CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def load_pair(folder: Path, *, device: str = "cpu") -> tuple[PublishedModel, dict[str, Any]]:
    """A trained model, to be asked like a published checkpoint, and its config.json.

    Raises:
        WeightsMissing: the folder holds none, or it is damaged, or its language model is not there.
    """
    try:
        config = local.read_config(folder, kind=KIND, form=FORMAT)
        pair = Pair(**config["pair"])
    except (WeightsMissing, KeyError, TypeError) as error:
        raise WeightsMissing(f"{folder} holds no model trained on COCO: {error}") from error
    if pair.vision_weights is not None:  # they are in the file
        pair = replace(pair, vision_weights="random")
    model = model_of(pair, torch.device(device), folder / TEXTS)
    load_weights(model.network, folder / WEIGHTS, device)
    pixels = config.get(PIXELS, {"mean": PIXEL_MEAN, "std": PIXEL_STD})
    model.network.pixel_mean, model.network.pixel_std = tuple(pixels["mean"]), tuple(pixels["std"])
    return model, config
