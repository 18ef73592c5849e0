"""The frozen parts of a pair, from wherever they come: a vision model with its pixel decoder, and a language model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ConfigError, InputError, WeightsMissing
from ...models.hub import local
from ...models.hub.backbones import HubBackbone, HubLanguage, MiniLanguage, llama_layer
from ...models.text.language import LanguageTower, LlamaTower, UniclTower, read_tokenizer
from ...models.vision import sam_vit
from ...models.vision.pixel_decoder import PixelDecoder, channels_of
from ...models.vision.renaming import renamed
from ...models.vision.sam_vit import SamBackbone
from ..find_mini import WEIGHTS as WEIGHTS_OF_MINI
from ..find_mini.bundle import load_bundle
from .folder import KIND as PUBLISHED
from .folder import load_tower, read_state
from .keys import DECODER, LANGUAGE, backbone_sizes, below, decoder_sizes, unicl_network
from .network import BACKBONES, BackboneSizes, backbone_of

MINI, RANDOM = "find-mini", "random"
BACKBONE, NECK = "backbone.", "neck."
OF_HUB = f"{BACKBONE}net."  # what a backbone of the hub is called inside
WORDS = f"{LANGUAGE}token_embedding.weight"  # a UniCL tower has it, and no other
FILES = (".pt", ".pth", ".bin", ".safetensors")
# Where backbones stand in files that others released, beside `backbone.` of FIND, X-Decoder and SEEM: SAM's own, SAM of
# transformers, and the DaViT of Florence-2.
ELSEWHERE = ("image_encoder.", "vision_encoder.", "vision_tower.")
LONGEST = 300  # characters of what torch says of a state dict that does not fit
MOST_GROUPS = 32  # of the norms of a pixel decoder, as published


@dataclass(frozen=True, slots=True)
class Pair:
    """What is built, and of what.

    Attributes:
        vision: ``focal-t``, ``focal-l``, ``davit-d3``, ``davit-d5``, ``sam-b``, ``find-mini``, the file of a state dict
            whose backbone is taken at the size that it has, or a backbone's folder or hub name.
        vision_weights: state dict of a named backbone, or ``random``.
        language: ``find-mini``, an imported model, the file of a state dict with a UniCL tower, or the folder or hub
            name of a LLaMA or another text model.
        language_layer: hidden state that is taken, from the end where negative; a UniCL tower has no choice.
        tokenizer: folder or hub name with the tokenizer.json of a UniCL tower out of a state dict.
        side: of the square that photos are trained at.
        train_decoder: see `CocoSettings`.
        width, layers, heads, ffn, object_queries: of the interface; decoder_width, decoder_layers: of a pixel
            decoder that does not come with the vision model.
    """

    vision: str
    language: str
    vision_weights: str | None = None
    language_layer: int = -12
    tokenizer: str | None = None
    side: int = 1024
    train_decoder: bool | None = None
    width: int = 512
    layers: int = 9
    heads: int = 8
    ffn: int = 2048
    object_queries: int = 100
    decoder_width: int = 512
    decoder_layers: int = 6


@dataclass(frozen=True, slots=True)
class Vision:
    """A backbone and the pixel decoder over it.

    Attributes:
        has_decoder: whether the decoder came with weights.
        has_neck: false for a SAM backbone whose pyramid did not.
    """

    backbone: nn.Module
    decoder: PixelDecoder
    has_decoder: bool = False
    has_neck: bool = True


def is_file(name: str) -> bool:
    """Whether a part is named by a file of weights."""
    return name.endswith(FILES)


# --- vision -----------------------------------------------------------------------------------


def vision_of(pair: Pair) -> Vision:
    """The vision model that a pair begins with.

    Raises:
        ConfigError: a named backbone without weights.
        ModelError, InputError, WeightsMissing, BackendMissing: its files.
    """
    if pair.vision == MINI:
        tower = load_bundle(WEIGHTS_OF_MINI).model.vision
        return Vision(tower.backbone, tower.pixel_decoder, has_decoder=True)
    if pair.vision not in BACKBONES and not is_file(pair.vision):
        hub = HubBackbone(local.find(pair.vision))
        return Vision(hub, _new_decoder(pair, hub.channels))
    state = _weights(pair)
    sizes = BACKBONES.get(pair.vision) or _sizes(state, pair.vision)
    _check_kind(state, sizes, pair)
    backbone = backbone_of(sizes)
    has_neck = not isinstance(backbone, SamBackbone)
    if state:
        has_neck = _fill_backbone(backbone, state, pair.vision_weights or pair.vision)
    if f"{DECODER}adapter_3.weight" not in state:  # none, or a deformable one
        return Vision(backbone, _new_decoder(pair, sizes.channels), has_neck=has_neck)
    decoder = decoder_of(state, pair.heads, MOST_GROUPS)
    _fill(decoder, below(state, DECODER), DECODER, pair.vision_weights or pair.vision)
    return Vision(backbone, decoder, has_decoder=True, has_neck=has_neck)


def vision_as_trained(pair: Pair, state: Mapping[str, Tensor], groups: int) -> Vision:
    """The vision model of a finished training, of the sizes that its tensors have; they are still to be loaded.

    Args:
        groups: of the norms of the pixel decoder, which no tensor shows.
    """
    if pair.vision == MINI:
        return vision_of(pair)
    of_hub = any(key.startswith(OF_HUB) for key in state)
    backbone = HubBackbone(local.find(pair.vision)) if of_hub else backbone_of(backbone_sizes(state))
    return Vision(backbone, decoder_of(state, pair.heads, groups))


def decoder_of(state: Mapping[str, Tensor], heads: int, groups: int) -> PixelDecoder:
    """A pixel decoder of the sizes that a state dict has, randomly initialised."""
    width, ffn, layers = decoder_sizes(state)
    return PixelDecoder(channels_of(dict(state), DECODER), width, heads=heads, ffn=ffn, layers=layers, groups=groups)


def usual_groups(width: int) -> int:
    """Groups of the norms of a pixel decoder that is made anew; a group has two channels at least."""
    return min(MOST_GROUPS, width // 2)


def _new_decoder(pair: Pair, channels: Sequence[int]) -> PixelDecoder:
    width = pair.decoder_width
    return PixelDecoder(
        channels, width, heads=pair.heads, ffn=4 * width, layers=pair.decoder_layers, groups=usual_groups(width)
    )


def _weights(pair: Pair) -> dict[str, Tensor]:
    """The state dict of a pair's vision model, its backbone under the published names; nothing where it is random."""
    source = pair.vision if is_file(pair.vision) else pair.vision_weights
    if is_file(pair.vision) and pair.vision_weights is not None:
        raise ConfigError(f"{pair.vision} brings its own weights, expected no --vision-weights; leave them out")
    if source is None:
        raise ConfigError(f"{pair.vision} has no weights; name a state dict with backbone.* by --vision-weights")
    if source == RANDOM:
        return {}
    state = read_state(Path(source))
    if any(key.startswith(BACKBONE) for key in state):
        return state
    prefix = next((prefix for prefix in ELSEWHERE if any(key.startswith(prefix) for key in state)), None)
    if prefix is None:
        raise InputError(f"{source} holds no backbone: no tensor is called {BACKBONE}* or {'*, '.join(ELSEWHERE)}*")
    own = {renamed(key, sam_vit.NAMES): value for key, value in below(state, prefix).items()}
    return {BACKBONE + key: value for key, value in own.items() if not key.startswith(NECK)}  # SAM's own neck


def _sizes(state: Mapping[str, Tensor], source: str) -> BackboneSizes:
    try:
        return backbone_sizes(state)
    except (KeyError, IndexError) as error:
        raise InputError(f"{source} holds no backbone of a published kind: it lacks {error}") from error


def _check_kind(state: Mapping[str, Tensor], sizes: BackboneSizes, pair: Pair) -> None:
    """Say in words that a file holds another backbone than the one that was named; all else shows when it is loaded."""
    try:
        found = backbone_sizes(state)
    except (KeyError, IndexError):
        return
    if found.kind != sizes.kind or found.channels != sizes.channels:
        raise InputError(
            f"{BACKBONE}* of {pair.vision_weights} does not fit {pair.vision}: it is of kind {found.kind} with "
            f"{found.channels[0]} to {found.channels[-1]} channels, expected {sizes.kind} with {sizes.channels[0]} to "
            f"{sizes.channels[-1]}; name the file itself by --vision to take it as it is"
        )


def _fill_backbone(backbone: nn.Module, state: Mapping[str, Tensor], source: str) -> bool:
    """Load a backbone; whether its neck came too, true where it has none."""
    own = below(state, BACKBONE)
    has_neck = not isinstance(backbone, SamBackbone) or any(key.startswith(NECK) for key in own)
    if not has_neck:  # it keeps what it begins with
        own |= {key: value for key, value in backbone.state_dict().items() if key.startswith(NECK)}
    _fill(backbone, own, BACKBONE, source)
    return has_neck


def _fill(module: nn.Module, state: Mapping[str, Tensor], prefix: str, source: str) -> None:
    try:
        module.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        words = str(error).splitlines()[-1].strip()
        short = words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."
        raise InputError(f"{prefix}* of {source} does not fit: {short}") from error


# --- language ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Language:
    """A language model, and what it is called in the cache of texts."""

    name: str
    tower: LanguageTower


def language_of(pair: Pair, device: str) -> Language:
    """The language model of a pair.

    Raises:
        InputError, WeightsMissing, BackendMissing: its files.
    """
    if pair.language == MINI:
        bundle = load_bundle(WEIGHTS_OF_MINI)
        return Language(f"find-mini-{bundle.checkpoint[:16]}", MiniLanguage(bundle.model.text))
    if is_file(pair.language):
        if pair.tokenizer is None:
            raise WeightsMissing(f"{pair.language} brings no tokenizer; name the folder of CLIP's by --tokenizer")
        return unicl_of(read_state(Path(pair.language)), local.find(pair.tokenizer), device, pair.language)
    folder, layer = local.find(pair.language), pair.language_layer
    config, name = local.read_config(folder), f"{folder.name}-{layer}"
    if config.get("kind") == PUBLISHED:
        return Language(name, load_tower(folder, device, layer if layer >= 0 else None))
    if config.get("model_type") == "llama":
        return Language(name, LlamaTower(folder, layer=llama_layer(folder, layer), device=device))
    return Language(name, HubLanguage(folder, layer=layer, device=device))


def unicl_of(state: Mapping[str, Tensor], tokenizer: Path, device: str, source: str) -> Language:
    """The UniCL tower of a state dict of FIND, X-Decoder or SEEM.

    Args:
        tokenizer: folder with its tokenizer.json.
        source: file of the state dict, for messages.
    Raises:
        InputError: there is none, or it does not fit.
        WeightsMissing: no tokenizer.
    """
    if WORDS not in state:
        raise InputError(f"{source} holds no UniCL tower: it has no {WORDS}")
    own = below(state, LANGUAGE)
    with torch.device("meta"):
        network = unicl_network(own)
    network.to_empty(device="cpu")
    _fill(network, own, LANGUAGE, source)
    return Language(
        f"unicl-{digest_of(own)[:16]}",
        UniclTower(network.eval().requires_grad_(False), read_tokenizer(tokenizer), device=device),
    )


def digest_of(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the values of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
