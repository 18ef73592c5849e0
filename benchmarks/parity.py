"""Compare backbones, pixel decoder, interface and text tower with reference outputs of the published FIND modules.

    python benchmarks/parity.py FILE... [--tolerance 1e-5] [--heads 4]

Takes files in the format described in docs/benchmarks.md, prints the largest absolute difference of every output
that a file holds and ends with status 1 when one is above its tolerance or an expected output is missing. The tolerance
is 1e-5, and 5e-5 for what comes out of the interface behind a SAM backbone, where float32 is not as exact. Files of
X-Decoder and SEEM are compared by `xdecoder_parity.py`, with its tolerances.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from published_inputs import prompts_from_published
from torch import Tensor, nn

from interleave_index.interface.find.config import FindConfig
from interleave_index.interface.find.network import FindInterface
from interleave_index.interface.find.outputs import Pass
from interleave_index.interface.published.keys import backbone_sizes
from interleave_index.interface.published.network import backbone_of
from interleave_index.models.text.language import UniclNetwork
from interleave_index.models.vision.pixel_decoder import PixelDecoder, channels_of
from interleave_index.models.vision.sam_vit import SamSizes

PREDICTOR, DECODER, BACKBONE = "sem_seg_head.predictor.", "sem_seg_head.pixel_decoder.", "backbone."
MAPS = ("res2", "res3", "res4", "res5")
KNOWN = {"state_dict", "class_text", "x", "image", "features", "multi_scale", "mask_features"}  # beside passes
PASSES = ("out", "aux", "extra")
TEXT = f"{PREDICTOR}lang_encoder."
OF_TEXT = ("token_hidden", "class_hidden", "token_emb", "class_emb", "token_emb_norm", "class_emb_norm")
ABOUT = ("config", "meta", "notes")  # what a file says of itself
OF_FAMILY = ("transformer_cross_attention_layers.", "transformer.level_embed")  # of X-Decoder and SEEM
TOLERANCE, SAM_TOLERANCE, MASK_TOLERANCE = 1e-5, 5e-5, 1e-4
NORM_EPS = 1e-7


def layers_of(state: dict[str, Tensor], stem: str) -> int:
    """Number of layers under a key stem."""
    return 1 + max(int(key[len(stem) :].split(".")[0]) for key in state if key.startswith(stem))


def below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The part of a state dict under a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def build_interface(state: dict[str, Tensor], heads: int) -> FindInterface:
    """An interface of the sizes that the state dict has, loaded strictly."""
    width = state["class_embed"].shape[0]
    config = FindConfig(
        width=width,
        features=state["mask_embed.layers.2.weight"].shape[0],
        heads=heads,
        ffn=state["transformer_ffn_layers.0.linear1.weight"].shape[0],
        layers=layers_of(state, "transformer_ffn_layers."),
        object_queries=len(state["query_feat.weight"]) - 1,
        text_width=state["lang_encoder.lang_proj"].shape[0],
        memories=len(state["spatial_embed.weight"]),
    )
    interface = FindInterface(config)
    interface.load_state_dict(state)
    return interface.eval()


def build_decoder(state: dict[str, Tensor], heads: int) -> PixelDecoder:
    """A pixel decoder of the sizes that the state dict has, loaded strictly."""
    stem = "transformer.encoder.layers."
    decoder = PixelDecoder(
        channels_of(state),
        state["mask_features.weight"].shape[0],
        heads=heads,
        ffn=state[f"{stem}0.linear1.weight"].shape[0],
        layers=layers_of(state, stem),
    )
    decoder.load_state_dict(state)
    return decoder.eval()


def build_backbone(state: dict[str, Tensor]) -> nn.Module:
    """The backbone, of any kind and size, that the state dict has, loaded strictly."""
    backbone = backbone_of(backbone_sizes(state))
    backbone.load_state_dict(below(state, BACKBONE))
    return backbone.eval()


def differences(got: dict[str, Tensor], expected: dict[str, Tensor], title: str) -> Iterator[tuple[str, float]]:
    """Largest absolute difference of every expected output; infinite where it is missing or misshapen."""
    for name, wanted in expected.items():
        mine = got.get(name)
        fits = mine is not None and mine.shape == wanted.shape
        yield (
            f"{title}.{name}",
            float((mine - wanted).abs().max()) if fits and wanted.numel() else (0.0 if fits else float("inf")),
        )


def compare_text(content: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The UniCL tower of a file on its tokens, before and after the projection; it sees no attention mask."""
    own, config = below(content["state_dict"], f"{TEXT}lang_encoder."), content["config"]
    words, width = own["token_embedding.weight"].shape
    tower = UniclNetwork(
        width=width,
        heads=config["heads"],
        layers=layers_of(own, "resblocks."),
        vocabulary=words,
        context=len(own["positional_embedding"]),
    ).eval()
    tower.load_state_dict(own)
    ids, projection = content["tokens"], content["state_dict"][f"{TEXT}lang_proj"]
    hidden = tower(ids)
    last = hidden[torch.arange(len(ids)), ids.argmax(1)]  # the end of a text has the highest id
    mine = {"token_hidden": hidden, "class_hidden": last}
    mine |= {"token_emb": hidden @ projection, "class_emb": last @ projection}
    mine |= {f"{name}_norm": mine[name] / (mine[name].norm(dim=-1, keepdim=True) + NORM_EPS) for name in OF_TEXT[2:4]}
    yield from differences(mine, {name: content[name] for name in OF_TEXT}, "text")


def compare(content: dict[str, Any], interface_heads: int, decoder_heads: int) -> Iterator[tuple[str, float]]:
    """Run everything that a file asks for; yields (name, largest absolute difference)."""
    if "token_hidden" in content:
        yield from compare_text(content)
        return
    if is_of_family(content):
        import xdecoder_parity  # it takes parts of this module

        yield from xdecoder_parity.compare(content)
        return
    state = content["state_dict"]
    whole = any(key.startswith(PREDICTOR) for key in state)
    interface = build_interface(below(state, PREDICTOR) if whole else state, interface_heads)
    levels, mask_features = content.get("x"), content.get("mask_features")
    maps = content.get("features")
    if "image" in content:
        backbone = build_backbone(state)
        mine = dict(zip(MAPS, backbone(content["image"]), strict=True))
        yield from differences(mine, maps or {}, "features")
        maps = mine
    if maps is not None:
        decoder = build_decoder(below(state, DECODER), decoder_heads)
        pyramid = decoder([maps[name] for name in MAPS])
        mine = {str(n): level for n, level in enumerate(pyramid.levels)}
        expected = {str(n): level for n, level in enumerate(content.get("multi_scale", ()))}
        yield from differences(mine, expected, "multi_scale")
        if mask_features is not None:
            yield from differences(
                {"mask_features": pyramid.mask_features}, {"mask_features": mask_features}, "pixel_decoder"
            )
        levels, mask_features = pyramid.levels, pyramid.mask_features

    def run(extra: dict[str, Any]) -> Pass:
        return interface(
            levels, mask_features, prompts_from_published(extra), class_table=content.get("class_text"), earlier=True
        )

    inputs = {"generic": {}} | {name: content.get("extra", {}) for name in ("", "all", "first")}
    inputs |= {key[len("extra_") :]: value for key, value in content.items() if key.startswith("extra_")}
    for key, expected in content.items():
        kind, _, name = key.partition("_")
        if kind not in ("out", "aux"):
            continue
        if name not in inputs:
            yield f"{key}: without its inputs extra_{name}", float("inf")
            continue
        made = run(inputs[name])
        if key == "aux_first":
            yield from differences(made.earlier[0], expected, key)
        elif kind == "out":
            yield from differences(made.final, expected, key)
        else:
            for number, one in enumerate(expected):
                yield from differences(made.earlier[number], one, f"{key}.{number}")


def is_of_family(content: dict[str, Any]) -> bool:
    """Whether a file is of X-Decoder or SEEM, or of their deformable pixel decoder."""
    return any(key.startswith(OF_FAMILY) for key in content["state_dict"])


def describe(content: dict[str, Any]) -> str:
    """What a file was made of, in words; keys of it that nothing is compared with."""
    if is_of_family(content):
        return "of X-Decoder or SEEM"
    words = "text tower" if "token_hidden" in content else "interface"
    if "image" in content:
        words = f"from pixels, backbone {backbone_sizes(content['state_dict']).kind}"
    known = KNOWN | {*OF_TEXT, *ABOUT, "tokens", "attention_mask"}
    ignored = [key for key in content if key not in known and not key.startswith(PASSES)]
    return f"{words}; not compared: {', '.join(ignored)}" if ignored else words


def tolerance_of(content: dict[str, Any], name: str) -> float:
    """The agreement that float32 allows for one output."""
    if is_of_family(content):
        return MASK_TOLERANCE if name.endswith(("mask", "masks")) else TOLERANCE
    behind_sam = "image" in content and isinstance(backbone_sizes(content["state_dict"]), SamSizes)
    return SAM_TOLERANCE if behind_sam and name.startswith(PASSES) else TOLERANCE


def heads_of(content: dict[str, Any], args: argparse.Namespace) -> tuple[int, int]:
    """Attention heads of the interface and of the pixel decoder: what the command says, else the file, else usual."""
    config = content.get("config", {})
    embedded = next((value for key, value in content["state_dict"].items() if key.endswith("class_embed")), None)
    usual = 8 if embedded is not None and embedded.shape[0] == 512 else 4
    return (
        args.heads or config.get("nheads") or usual,
        args.decoder_heads or config.get("pixel_decoder_heads") or 8,
    )


def main() -> int:
    """Print a table a file; 1 when anything differs by more than its tolerance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tolerance", type=float, help="of every output (default: each its own)")
    parser.add_argument("--heads", type=int, help="attention heads of the interface (default: 8 at width 512, else 4)")
    parser.add_argument("--decoder-heads", type=int, help="attention heads of the pixel decoder (default: 8)")
    args = parser.parse_args()
    worst, above = 0.0, 0
    for file in args.files:
        content = torch.load(file, weights_only=True)
        print(f"{file.name}  {describe(content)}")
        with torch.inference_mode():
            for name, difference in compare(content, *heads_of(content, args)):
                bound = args.tolerance or tolerance_of(content, name)
                worst, fits = max(worst, difference), difference <= bound
                above += not fits
                print(f"  {name:40s} {difference:.2e}{'' if fits else f'  ABOVE {bound:.0e}'}")
    print(f"largest difference {worst:.2e}, {above} above their tolerance")
    return int(above > 0)


if __name__ == "__main__":
    sys.exit(main())
