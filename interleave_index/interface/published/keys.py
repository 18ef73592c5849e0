"""The keys of a released state dict: which model they belong to, and which of them do not fit. Pure.

A released file is the plain state dict of the whole model: backbone, pixel decoder, interface, some constants of
training, and sometimes the language model (docs/find-interface.md, section 5.1).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import ModelError
from ...models.text.language import LLAMA_LAYER, UniclNetwork
from ...models.vision.davit import DavitSizes
from ...models.vision.focal import STAGES, FocalSizes
from ...models.vision.pixel_decoder import channels_of
from ..find.config import FindConfig
from .network import PublishedNetwork, PublishedSizes

DECODER, PREDICTOR = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
LANGUAGE = f"{PREDICTOR}lang_encoder.lang_encoder."
OF_TRAINING = re.compile(r"criterion\.empty_weight|dilation_kernel|pixel_mean|pixel_std")
ABOVE = re.compile(r"lm_head\.weight|model\.norm\.weight|model\.layers\.\d+\.self_attn\.rotary_emb\.inv_freq")
LAYER = re.compile(r"model\.layers\.(\d+)\.")
LLAMA_PARTS = (
    "input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip
HEAD_WIDTH = 64  # of the UniCL tower


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
        return _sizes(state, heads)
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"this is no checkpoint of FIND: it has {len(state)} tensors and not {' '.join(str(error).split())}; "
            "expected the plain state dict of a released file"
        ) from error


def _sizes(state: Mapping[str, Tensor], heads: int) -> PublishedSizes:
    own = {key[len(PREDICTOR) :]: value for key, value in state.items() if key.startswith(PREDICTOR)}
    interface = FindConfig(
        width=own["class_embed"].shape[0],
        features=own["mask_embed.layers.2.weight"].shape[0],
        heads=heads,
        ffn=own["transformer_ffn_layers.0.linear1.weight"].shape[0],
        layers=_count(own, "transformer_ffn_layers."),
        object_queries=own["query_feat.weight"].shape[0] - 1,
        text_width=own["lang_encoder.lang_proj"].shape[0],
        memories=own["spatial_embed.weight"].shape[0],
    )
    _, ffn, layers = decoder_sizes(state)
    decoder = {"heads": 8, "ffn": ffn, "layers": layers}
    is_unicl = f"{LANGUAGE}token_embedding.weight" in state or (interface.text_width == 512 and interface.width == 512)
    if is_unicl:
        blocks = _count(state, f"{LANGUAGE}resblocks.")
        return PublishedSizes(backbone_sizes(state), decoder, interface, "unicl", blocks, 77, 77)
    return PublishedSizes(backbone_sizes(state), decoder, interface, "llama", LLAMA_LAYER)


def decoder_sizes(state: Mapping[str, Tensor]) -> tuple[int, int, int]:
    """Width, ffn and layers of the pixel decoder in a state dict."""
    encoder = f"{DECODER}transformer.encoder.layers."
    width, ffn = state[f"{DECODER}mask_features.weight"].shape[0], state[f"{encoder}0.linear1.weight"].shape[0]
    return width, ffn, _count(state, encoder)


def backbone_sizes(state: Mapping[str, Tensor]) -> FocalSizes | DavitSizes:
    """Sizes of the backbone in a state dict.

    Raises:
        ModelError: another backbone.
        KeyError: none.
    """
    if "backbone.convs.0.proj.weight" in state:
        return _davit(state)
    if "backbone.layers.0.blocks.0.modulation.f.weight" not in state:
        if "backbone.pos_embed" in state:
            raise ModelError(
                "the checkpoint has a SAM backbone, expected a Focal one or a DaViT; no other is supported"
            )
        raise KeyError("backbone.layers.0.blocks.0.modulation.f.weight")
    stem = "backbone.layers.0.blocks.0."
    depths = [_count(state, f"backbone.layers.{stage}.blocks.") for stage in range(STAGES)]
    return FocalSizes(
        "focal_dw" if f"{stem}dw1.weight" in state else "focal",
        channels_of(dict(state), DECODER)[0],
        (depths[0], depths[1], depths[2], depths[3]),
        _count(state, f"{stem}modulation.focal_layers."),
        state[f"{stem}modulation.focal_layers.0.0.weight"].shape[-1],
    )


def _davit(state: Mapping[str, Tensor]) -> DavitSizes:
    convs = [state[f"backbone.convs.{stage}.proj.weight"].shape for stage in range(STAGES)]
    depths = [_count(state, f"backbone.blocks.{stage}.") for stage in range(STAGES)]
    return DavitSizes(
        widths=(convs[0][0], convs[1][0], convs[2][0], convs[3][0]),
        depths=(depths[0], depths[1], depths[2], depths[3]),
        kernels=(convs[0][-1], convs[1][-1], convs[2][-1], convs[3][-1]),
    )


def _count(state: Mapping[str, Tensor], stem: str) -> int:
    numbers = [int(key[len(stem) :].split(".")[0]) for key in state if key.startswith(stem)]
    if not numbers:
        raise KeyError(f"{stem}0")
    return 1 + max(numbers)


def network_shapes(sizes: PublishedSizes) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of backbone, pixel decoder and interface; nothing is allocated."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in PublishedNetwork(sizes).state_dict().items()}


def sort_keys(state: Mapping[str, Tensor], sizes: PublishedSizes) -> Sorted:
    """Put every key of a file where it belongs; nothing is dropped in silence."""
    expected = network_shapes(sizes)
    language, left_out, problems = _language(state, sizes)
    network = []
    for key, value in state.items():
        if key in expected:
            network.append(key)
            if tuple(value.shape) != expected[key]:
                problems.append(f"{key} has shape {tuple(value.shape)}, expected {expected[key]}")
        elif OF_TRAINING.fullmatch(key):
            left_out.append(key)
        elif not key.startswith(LANGUAGE):
            problems.append(f"{key} is unknown")
    problems += [f"{key} is missing" for key in expected if key not in state]
    return Sorted(tuple(network), language, tuple(left_out), tuple(problems))


def _language(state: Mapping[str, Tensor], sizes: PublishedSizes) -> tuple[dict[str, str], list[str], list[str]]:
    own = {key[len(LANGUAGE) :]: value for key, value in state.items() if key.startswith(LANGUAGE)}
    left_out = []
    if own and sizes.language == "llama":
        for name in list(own):
            layer = LAYER.match(name)
            if ABOVE.fullmatch(name) or (layer and int(layer[1]) >= sizes.language_layer):
                left_out.append(LANGUAGE + name)
                del own[name]
    expected = _language_shapes(own, sizes) if own else {}
    problems = []
    for name, value in own.items():
        if name not in expected:
            problems.append(f"{LANGUAGE}{name} is unknown")
        elif tuple(value.shape) != expected[name]:
            problems.append(f"{LANGUAGE}{name} has shape {tuple(value.shape)}, expected {expected[name]}")
    problems += [f"{LANGUAGE}{name} is missing" for name in expected if name not in own]
    return {name: LANGUAGE + name for name in own if name in expected}, left_out, problems


def _language_shapes(own: Mapping[str, Tensor], sizes: PublishedSizes) -> dict[str, tuple[int, ...]]:
    width = sizes.interface.text_width
    if sizes.language == "unicl":
        with torch.device("meta"):
            network = unicl_network(own, sizes)
        return {name: tuple(value.shape) for name, value in network.state_dict().items()}
    words = own["model.embed_tokens.weight"].shape[0] if "model.embed_tokens.weight" in own else 32000
    gate = own.get("model.layers.0.mlp.gate_proj.weight")
    inner = gate.shape[0] if gate is not None else 11008
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, width)}
    for layer in range(sizes.language_layer):
        for part in LLAMA_PARTS:
            shape: tuple[int, ...] = (width,) if part.endswith("layernorm") else (width, width)
            if part.startswith("mlp"):
                shape = (width, inner) if part.endswith("down_proj") else (inner, width)
            shapes[f"model.layers.{layer}.{part}.weight"] = shape
    return shapes


def unicl_network(own: Mapping[str, Tensor], sizes: PublishedSizes) -> UniclNetwork:
    """A UniCL tower of the size that its tensors have, randomly initialised."""
    words, width = own["token_embedding.weight"].shape
    places = own["positional_embedding"].shape[0] if "positional_embedding" in own else sizes.context
    return UniclNetwork(width=width, heads=max(1, width // HEAD_WIDTH), layers=sizes.language_layer,
                        vocabulary=words, context=places)  # fmt: skip
