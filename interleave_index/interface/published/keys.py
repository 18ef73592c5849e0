"""The keys of a released state dict: which model they belong to, and which of them do not fit. Pure.

A released file is the plain state dict of the whole model: backbone, pixel decoder, interface, some constants of
training, and sometimes the language model (docs/find-interface.md, section 5.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...models.text.language import LLAMA_LAYER, UniclNetwork
from ...models.vision.davit import DavitSizes
from ...models.vision.focal import STAGES, FocalSizes
from ...models.vision.sam_vit import sam_sizes
from ..find.config import FindConfig
from .network import BackboneSizes, LanguageKind, PublishedNetwork, PublishedSizes, sides_of

Shapes: TypeAlias = dict[str, tuple[int, ...]]
DECODER, PREDICTOR = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
LANGUAGE = f"{PREDICTOR}lang_encoder.lang_encoder."
OF_TRAINING = re.compile(r"criterion\.empty_weight|dilation_kernel|pixel_mean|pixel_std")
ABOVE = re.compile(r"lm_head\.weight|model\.norm\.weight|model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
LAYER = re.compile(r"model\.layers\.(\d+)\.")
LLAMA_WORDS, LLAMA_INNER = 32000, 11008  # of LLaMA-7B, where the file lacks the tensors that show them
HEAD_WIDTH, UNICL_CONTEXT = 64, 77  # of the UniCL tower


class LanguageSizes(Protocol):
    """The sizes of any released model, as far as its language model goes."""

    @property
    def language(self) -> LanguageKind:
        """Which it is."""

    @property
    def language_layer(self) -> int:
        """The hidden state that is read, or the number of layers of a tower of which the last is."""

    @property
    def interface(self) -> TextWidth:
        """Of what reads its states."""


class TextWidth(Protocol):
    """Sizes with a width of text states."""

    @property
    def text_width(self) -> int:
        """Of the language model."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """Every key of a file, put where it belongs.

    Attributes:
        network: names as in the file.
        language: names in the language model, to names in the file; empty where the file has none.
        left_out: known and not needed.
        problems: one line for every key that is unknown, missing or misshapen.
    """

    network: tuple[str, ...]
    language: dict[str, str]
    left_out: tuple[str, ...]
    problems: tuple[str, ...]


def sizes_of(state: Mapping[str, Tensor], heads: int = 8) -> PublishedSizes:
    """Sizes of the model that a state dict belongs to.

    Args:
        heads: attention heads of the interface, which no tensor shows; 8 in every released file.
    Raises:
        ModelError: it is of no FIND model, or of one whose backbone is not supported.
    """
    try:
        own = below(state, PREDICTOR)
        interface = FindConfig(
            width=own["class_embed"].shape[0],
            features=own["mask_embed.layers.2.weight"].shape[0],
            heads=heads,
            ffn=own["transformer_ffn_layers.0.linear1.weight"].shape[0],
            layers=count_of(own, "transformer_ffn_layers."),
            object_queries=own["query_feat.weight"].shape[0] - 1,
            text_width=own["lang_encoder.lang_proj"].shape[0],
            memories=own["spatial_embed.weight"].shape[0],
        )
        _, ffn, layers = decoder_sizes(state)
        decoder = {"heads": 8, "ffn": ffn, "layers": layers}
        backbone = backbone_sizes(state)
        short, long = sides_of(backbone)
        if f"{LANGUAGE}token_embedding.weight" in state or interface.text_width == interface.width == 512:
            blocks = count_of(state, f"{LANGUAGE}resblocks.")
            contexts = UNICL_CONTEXT, UNICL_CONTEXT
            return PublishedSizes(backbone, decoder, interface, "unicl", blocks, *contexts, short, long)
        return PublishedSizes(backbone, decoder, interface, "llama", LLAMA_LAYER, short=short, long=long)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"this is no checkpoint of FIND: it has {len(state)} tensors and not {' '.join(str(error).split())}; "
            "expected the plain state dict of a released file"
        ) from error


def below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict under a prefix, without it."""
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def decoder_sizes(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Width, ffn and layers of the pixel decoder in a state dict."""
    encoder = f"{DECODER}transformer.encoder.layers."
    width, ffn = state[f"{DECODER}mask_features.weight"].shape[0], state[f"{encoder}0.linear1.weight"].shape[0]
    return width, ffn, count_of(state, encoder)


def backbone_sizes(state: Mapping[str, Tensor]) -> BackboneSizes:
    """Sizes of the backbone in a state dict.

    Raises:
        KeyError: there is none of a known kind.
    """
    if "backbone.convs.0.proj.weight" in state:
        convs = [state[f"backbone.convs.{stage}.proj.weight"].shape for stage in range(STAGES)]
        return DavitSizes(
            widths=tuple(shape[0] for shape in convs),
            depths=tuple(count_of(state, f"backbone.blocks.{stage}.") for stage in range(STAGES)),
            kernels=tuple(shape[-1] for shape in convs),
        )
    if "backbone.pos_embed" in state:
        return sam_sizes(state, "backbone.")
    stem = "backbone.layers.0.blocks.0."
    return FocalSizes(
        "focal_dw" if f"{stem}dw1.weight" in state else "focal",
        state["backbone.norm0.weight"].shape[0],
        tuple(count_of(state, f"backbone.layers.{stage}.blocks.") for stage in range(STAGES)),
        count_of(state, f"{stem}modulation.focal_layers."),
        state[f"{stem}modulation.focal_layers.0.0.weight"].shape[-1],
    )


def count_of(state: Mapping[str, Tensor], stem: str) -> int:
    """How many numbered parts stand under a stem.

    Raises:
        KeyError: none.
    """
    numbers = [int(key.split(".")[0]) for key in below(state, stem)]
    if not numbers:
        raise KeyError(f"{stem}0")
    return 1 + max(numbers)


def network_shapes(sizes: PublishedSizes) -> Shapes:
    """Name and shape of every tensor of backbone, pixel decoder and interface; nothing is allocated."""
    with torch.device("meta"):
        return _shapes(PublishedNetwork(sizes))


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def sort_keys(state: Mapping[str, Tensor], sizes: LanguageSizes, network_tensors: Shapes | None = None) -> Sorted:
    """Put every key of a file where it belongs; nothing is dropped in silence.

    Args:
        network_tensors: names and shapes of the network without its language model; None takes those of a FIND network
            of these sizes.
    """
    own = below(state, LANGUAGE)
    if network_tensors is None:
        if not isinstance(sizes, PublishedSizes):
            raise TypeError("the tensors of a network other than FIND's must be given")
        network_tensors = network_shapes(sizes)
    expected = dict(network_tensors)
    if own:
        expected |= {LANGUAGE + name: shape for name, shape in _language_shapes(own, sizes).items()}
    network, language, left_out, problems = [], {}, [], []
    for key, value in state.items():
        is_language, name = key.startswith(LANGUAGE), key.removeprefix(LANGUAGE)
        if key in expected:
            if tuple(value.shape) != expected[key]:
                problems.append(f"{key} has shape {tuple(value.shape)}, expected {expected[key]}")
            if is_language:
                language[name] = key
            else:
                network.append(key)
        elif OF_TRAINING.fullmatch(key) or (is_language and _is_above(name, sizes)):
            left_out.append(key)
        else:
            problems.append(f"{key} is unknown")
    problems += [f"{key} is missing" for key in expected if key not in state]
    return Sorted(tuple(network), language, tuple(left_out), tuple(problems))


def _is_above(name: str, sizes: LanguageSizes) -> bool:
    """Whether a tensor of a LLaMA lies above the layer that is read."""
    layer = LAYER.match(name)
    above = ABOVE.fullmatch(name) or (layer and int(layer[1]) >= sizes.language_layer)
    return sizes.language == "llama" and bool(above)


def _language_shapes(own: Mapping[str, Tensor], sizes: LanguageSizes) -> Shapes:
    if sizes.language == "unicl":
        with torch.device("meta"):
            return _shapes(unicl_network(own))
    width = sizes.interface.text_width
    words, gate = own.get("model.embed_tokens.weight"), own.get("model.layers.0.mlp.gate_proj.weight")
    inner = LLAMA_INNER if gate is None else gate.shape[0]
    of_layer: Shapes = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"}
    of_layer |= {"input_layernorm": (width,), "post_attention_layernorm": (width,)}
    of_layer |= {"mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    shapes: Shapes = {"model.embed_tokens.weight": (LLAMA_WORDS if words is None else words.shape[0], width)}
    for layer in range(sizes.language_layer):
        shapes |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in of_layer.items()}
    return shapes


def unicl_network(own: Mapping[str, Tensor]) -> UniclNetwork:
    """A UniCL tower of the size that its tensors have, randomly initialised."""
    words, width = own["token_embedding.weight"].shape
    places = own["positional_embedding"].shape[0] if "positional_embedding" in own else UNICL_CONTEXT
    return UniclNetwork(
        width=width,
        heads=max(1, width // HEAD_WIDTH),
        layers=count_of(own, "resblocks."),
        vocabulary=words,
        context=places,
    )
