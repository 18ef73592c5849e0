"""What a released state dict of the X-Decoder family is: sizes, and which of the family. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import InputError, ModelError
from ..published.keys import DECODER, LANGUAGE, PREDICTOR, Shapes, backbone_sizes, below, count_of, decoder_sizes
from .config import VERSIONS, DecoderConfig, Version
from .network import DecoderKind, FamilyNetwork, FamilySizes, family_sides

MARK = f"{PREDICTOR}transformer_cross_attention_layers.0.multihead_attn.in_proj_weight"
CAPTIONS = f"{PREDICTOR}caping_embed"  # X-Decoder writes captions, SEEM does not
OFFSETS = f"{DECODER}transformer.encoder.layers.0.self_attn.sampling_offsets.weight"
WORDS = f"{LANGUAGE}positional_embedding"


def is_family(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict is of X-Decoder or SEEM."""
    return MARK in state


def sizes_of(state: Mapping[str, Tensor], version: Version | None, heads: int = 8) -> FamilySizes:
    """Sizes of the model that a state dict belongs to.

    Args:
        version: of SEEM, which no tensor shows; None for X-Decoder.
        heads: attention heads of the decoder, which no tensor shows either.
    Raises:
        InputError: SEEM without a version, or X-Decoder with one.
        ModelError: tensors that show sizes are missing.
    """
    is_xdecoder = CAPTIONS in state
    if is_xdecoder and version is not None:
        raise InputError(f"--seem-version is {version}, and this is a file of X-Decoder; leave it out")
    if not is_xdecoder and version is None:
        raise InputError(
            "this is a file of SEEM, whose tensors do not tell its version; name it by --seem-version: "
            f"{', '.join(VERSIONS)}, as the file is called, but v0 for the seem_focall_v1.pt of April 2023"
        )
    try:
        own = below(state, PREDICTOR)
        interface = DecoderConfig(
            family="xdecoder" if is_xdecoder else "seem",
            version=version,
            width=own["class_embed"].shape[0],
            heads=heads,
            ffn=own["transformer_ffn_layers.0.linear1.weight"].shape[0],
            layers=count_of(own, "transformer_ffn_layers."),
            queries=own["query_feat.weight"].shape[0],
            text_width=own["lang_encoder.lang_proj"].shape[0],
            context=state[WORDS].shape[0],
            memories=DecoderConfig().memories if is_xdecoder else own["spatial_embed.weight"].shape[0],
        )
        kind, decoder_heads = _pixel_decoder(state)
        _, ffn, layers = decoder_sizes(state)
        backbone = backbone_sizes(state)
        blocks = count_of(state, f"{LANGUAGE}resblocks.")
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"this is no whole checkpoint of X-Decoder or SEEM: it has {len(state)} tensors and not "
            f"{' '.join(str(error).split())}; expected the plain state dict of a released file"
        ) from error
    short, long = family_sides(backbone)
    decoder = {"heads": decoder_heads, "ffn": ffn, "layers": layers}
    return FamilySizes(backbone, kind, decoder, interface, language_layer=blocks, short=short, long=long)


def _pixel_decoder(state: Mapping[str, Tensor]) -> tuple[DecoderKind, int]:
    """Which pixel decoder it is, and its attention heads, 8 in every released file; a deformable one shows them."""
    if OFFSETS not in state:
        return "fpn", 8
    return "deform", state[OFFSETS].shape[0] // 24  # two coordinates of four points of three levels, each head


def family_shapes(sizes: FamilySizes) -> Shapes:
    """Name and shape of every tensor but those of the text tower; nothing is allocated."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in FamilyNetwork(sizes).state_dict().items()}
