"""A frozen pair of vision and language models with a FIND interface between them, as `train --data coco` makes it.

Parameters have the published names, so that what was trained on a published backbone can be imported like a released
checkpoint; every other pair is loaded here and asked through the same wrapper.

config.json             the pair, sizes, class names, how it was trained
model.safetensors       backbone, pixel decoder and interface under the published names, and the UniCL tower of a pair
                        that has one
language/               tokenizer.json of that tower
prepared.safetensors    class table and banks of calibration
text/                   cache of token states; may be deleted
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...errors import ConfigError, ModelError, WeightsMissing
from ...models.hub import local
from ...models.hub.backbones import HubBackbone
from ...models.text.language import TOKENIZER, LanguageTower, UniclTower
from ...models.vision.pixel_decoder import Pyramid
from ...models.vision.sam_vit import SamBackbone
from ...models.vision.tower import PIXEL_MEAN, PIXEL_STD
from ..find.config import FindConfig
from .folder import LANGUAGE as LANGUAGE_FOLDER
from .folder import TEXTS as TEXTS
from .folder import WEIGHTS, fill_weights, read_state
from .keys import DECODER, LANGUAGE, PREDICTOR
from .model import PublishedModel
from .network import FindNetwork, sides_of
from .parts import (
    BACKBONE,
    NECK,
    WORDS,
    Language,
    Vision,
    language_of,
    unicl_of,
    usual_groups,
    vision_as_trained,
    vision_of,
)
from .parts import Pair as Pair
from .text import PublishedPrompter, TextCache

MEMORIES = 32

KIND, FORMAT = "find-pair", 1
PIXELS = "pixels"  # key of the channels' statistics in config.json; without it, all was trained with ImageNet's
GROUPS = "decoder_groups"  # key of the groups of the pixel decoder's norms; without it, the usual ones
CONTEXT, CLASS_CONTEXT, UNICL_CONTEXT = 77, 150, 77


class TrainedNetwork(FindNetwork):
    """A network whose backbone stands still, and whose pixel decoder trains on request.

    Args:
        vision: backbone and pixel decoder; the pyramid of a SAM backbone trains where it came without weights.
        train_decoder: None trains a pixel decoder that came without weights.
        side: of the square that photos are trained at.
    """

    def __init__(self, vision: Vision, interface: FindConfig, *, train_decoder: bool | None, side: int) -> None:
        backbone, decoder = vision.backbone, vision.decoder
        sides = sides_of(backbone.sizes) if isinstance(backbone, SamBackbone) else (side, side)
        super().__init__(backbone, decoder, interface, short=sides[0], long=sides[1])
        if self.one_size and side != self.stride:
            raise ConfigError(f"size is {side}, expected {self.stride}, the only one that the SAM backbone takes")
        self.train_decoder = not vision.has_decoder if train_decoder is None else train_decoder
        self.train_neck = not vision.has_neck
        self.backbone.requires_grad_(False)
        decoder.requires_grad_(self.train_decoder)
        if isinstance(backbone, SamBackbone):
            backbone.neck.requires_grad_(self.train_neck)
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
        backbone = self.backbone
        if self.train_neck and isinstance(backbone, SamBackbone):
            with torch.no_grad():
                encoded = backbone.encode(pixels)
            maps = backbone.neck(encoded)
        else:
            with torch.no_grad():
                maps = backbone(pixels)
        learns = self.train_decoder or self.train_neck
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            out: Pyramid = self.sem_seg_head.pixel_decoder(maps)
        return out

    def normalise(self, pixels: Tensor, real: Tensor) -> Tensor:
        """(B, 3, S, S) RGB in 0..255, zero where `real` (B, S, S) is off, as the backbone takes it."""
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) for values in (self.pixel_mean, self.pixel_std))
        return (pixels - mean) / std * real[:, None]

    def trained(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: everything that may have changed."""
        parts = [PREDICTOR]
        if self.train_decoder:
            parts.append(DECODER)
        if self.train_neck:
            parts.append(BACKBONE + NECK)
        return {name: value for name, value in self.state_dict().items() if name.startswith(tuple(parts))}


def build_network(pair: Pair, text_width: int) -> TrainedNetwork:
    """The network of a pair, its frozen part loaded. Errors as of `vision_of`.

    Raises:
        ConfigError: photos are trained at a side that the backbone does not take.
    """
    return _network(pair, vision_of(pair), text_width)


def _network(pair: Pair, vision: Vision, text_width: int) -> TrainedNetwork:
    interface = FindConfig(
        width=pair.width,
        features=vision.decoder.mask_features.out_channels,
        heads=pair.heads,
        ffn=pair.ffn,
        layers=pair.layers,
        object_queries=pair.object_queries,
        text_width=text_width,
        memories=MEMORIES,
    )
    return TrainedNetwork(vision, interface, train_decoder=pair.train_decoder, side=pair.side)


def model_of(pair: Pair, language: Language, device: torch.device, texts: Path) -> PublishedModel:
    """A model over a pair with a fresh interface. Errors as of `build_network`.

    Args:
        language: as `language_of` gives it for the pair.
        texts: folder of its text cache.
    """
    return _model(build_network(pair, language.tower.width), language, device, texts)


def _model(network: TrainedNetwork, language: Language, device: torch.device, texts: Path) -> PublishedModel:
    network = network.to(device)
    is_unicl = isinstance(language.tower, UniclTower)
    prompter = PublishedPrompter(
        TextCache(texts, language.name, lambda: language.tower),
        lambda states: network.predictor.project_text(states.to(device).float().clone()),
        context=UNICL_CONTEXT if is_unicl else CONTEXT,
        class_context=UNICL_CONTEXT if is_unicl else CLASS_CONTEXT,
        tail=int(is_unicl),
    )
    return PublishedModel(network, prompter, device=str(device))


def write_pair(
    folder: Path, pair: Pair, network: TrainedNetwork, facts: dict[str, Any], tower: LanguageTower | None = None
) -> None:
    """Write the weights and config.json of a trained model.

    Args:
        facts: what else belongs into config.json: ``class_names``, ``settings``.
        tower: the language model; a UniCL tower is kept with the weights, as released files have it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in network.state_dict().items()}
    if isinstance(tower, UniclTower):
        tensors |= {f"{LANGUAGE}{name}": value.cpu().contiguous() for name, value in tower.network.state_dict().items()}
        (folder / LANGUAGE_FOLDER).mkdir(exist_ok=True)
        tower.save_tokenizer(folder / LANGUAGE_FOLDER / TOKENIZER)
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    decoder = network.sem_seg_head.pixel_decoder
    made = replace(
        pair, decoder_width=decoder.mask_features.out_channels, decoder_layers=len(decoder.transformer.encoder.layers)
    )
    pixels = {"mean": network.pixel_mean, "std": network.pixel_std}
    norms = {GROUPS: decoder.layer_1.norm.num_groups}
    config = {"format": FORMAT, "kind": KIND, "pair": asdict(made), PIXELS: pixels, **norms, **facts}
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
    state = _read_weights(folder / WEIGHTS)
    language = (
        unicl_of(state, folder / LANGUAGE_FOLDER, device, WEIGHTS) if WORDS in state else language_of(pair, device)
    )
    vision = vision_as_trained(pair, state, config.get(GROUPS) or usual_groups(pair.decoder_width))
    model = _model(_network(pair, vision, language.tower.width), language, torch.device(device), folder / TEXTS)
    own = {name: value for name, value in state.items() if not name.startswith(LANGUAGE)}
    fill_weights(model.network, own, folder / WEIGHTS, device)
    pixels = config.get(PIXELS, {"mean": PIXEL_MEAN, "std": PIXEL_STD})
    model.network.pixel_mean, model.network.pixel_std = tuple(pixels["mean"]), tuple(pixels["std"])
    return model, config


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return read_state(file)
    except ModelError as error:
        raise WeightsMissing(f"{file} cannot be used: {error}; make the model again") from error
