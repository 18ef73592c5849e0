"""Compare X-Decoder, SEEM and the deformable pixel decoder with reference outputs of the published modules.

    python benchmarks/xdecoder_parity.py FILE... [--tolerance 1e-5] [--masks 1e-4]

Takes files in the formats described in docs/benchmarks.md, prints the largest absolute difference of every output
that a file holds and ends with status 1 when one is above its tolerance, or is there without being computed.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from parity import below, differences, layers_of
from torch import Tensor
from torch.nn import functional as F

from interleave_index.interface.find.prompts import MaskPrompt, TextTokens
from interleave_index.interface.find.state import cosines
from interleave_index.interface.xdecoder.config import DecoderConfig, Family
from interleave_index.interface.xdecoder.seem import DrawnTokens, Draws, SeemDecoder
from interleave_index.interface.xdecoder.xdecoder import XDecoder
from interleave_index.models.text.language import UniclNetwork
from interleave_index.models.vision.deform_decoder import DeformablePixelDecoder

Content = dict[str, Any]
Differences = Iterator[tuple[str, float]]
TOWER = "lang_encoder.lang_encoder."
LOOSE = ("masks", "mask")  # ends of the names of outputs that are mask logits


def config_of(content: Content, family: Family) -> DecoderConfig:
    """Sizes of the decoder of a file."""
    state, sizes = content["state_dict"], content["config"]
    return DecoderConfig(
        family=family,
        width=state["class_embed"].shape[0],
        heads=sizes["heads"],
        ffn=state["transformer_ffn_layers.0.linear1.weight"].shape[0],
        layers=layers_of(state, "transformer_ffn_layers."),
        queries=len(state["query_feat.weight"]),
        text_width=state["lang_encoder.lang_proj"].shape[0],
        context=sizes["context"],
        memories=sizes.get("memories", 0),
        most_points=sizes.get("max_points", [0])[0],
        rows_per_prompt=sizes.get("per_prompt", 0),
    )


def listed(rows: list[Content], mine: list[Content], title: str) -> Differences:
    """Differences of outputs before each layer."""
    for number, expected in enumerate(rows):
        yield from differences(mine[number], expected, f"{title}.{number}")


def masks_of(output: Content, masks: str, score: Tensor) -> dict[str, Tensor]:
    """What an expression chooses: `score` (B, Q, E), the best row of each, and its mask."""
    chosen = score.argmax(1)
    rows = output[masks].gather(1, chosen[:, :, None, None].expand(-1, -1, *output[masks].shape[2:]))
    return {"score": score, "matched": chosen, "mask": rows}


# --- X-Decoder --------------------------------------------------------------------------------


def xdecoder(content: Content) -> Differences:
    """Everything that a file of X-Decoder asks for."""
    state, sizes = content["state_dict"], content["config"]
    model = XDecoder(config_of(content, "xdecoder"))
    model.load_state_dict({key: value for key, value in state.items() if not key.startswith(TOWER)})
    model.eval()
    photos, table = (content["x"], content["mask_features"]), content["class_text"]
    generic = model(*photos, class_table=table, earlier=True)
    yield from differences(generic.final, content["out_generic"], "generic")
    yield from listed(content["aux_generic"], generic.earlier, "generic.aux")
    asked = content["grounding"]
    grounded = model(*photos, text=asked["grounding_tokens"].transpose(0, 1), class_table=table, earlier=True)
    copies = {name: rows[:, sizes["queries"] :] for name, rows in grounded.final.items()}
    score = model.scale * cosines(copies["pred_captions"], asked["class_emb"])
    mine = grounded.final | masks_of(copies, "pred_masks", score)
    yield from differences(mine, content["out_grounding"], "grounding")
    yield from differences(grounded.earlier[-1], content["aux_grounding_last"], "grounding.aux")
    yield from differences(
        retrieval(content, generic.final["pred_captions"][:, -1]), content["out_retrieval"], "retrieval"
    )
    yield from texts(content, model)


def retrieval(content: Content, image: Tensor) -> dict[str, Tensor]:
    """Vectors of photos, and their scores with texts, as the published evaluation mixes them."""
    asked = content["retrieval"]
    backbone = asked["res5"].mean((2, 3)) @ asked["backbone_proj"]
    text = F.normalize(asked["text"], dim=-1)
    by_decoder, by_backbone = (F.normalize(rows, dim=-1) @ text.T for rows in (image, backbone))
    return {
        "image": image,
        "image_backbone": backbone,
        "score_decoder": by_decoder,
        "score_backbone": by_backbone,
        "score": (by_decoder + by_backbone) / 2,
    }


def texts(content: Content, model: XDecoder) -> Differences:
    """The text tower, and captions."""
    state, sizes = below(content["state_dict"], TOWER), content["config"]
    words, width = state["token_embedding.weight"].shape
    tower = UniclNetwork(
        width=width,
        heads=sizes["text_heads"],
        layers=layers_of(state, "resblocks."),
        vocabulary=words,
        context=sizes["context"],
    )
    tower.load_state_dict(state)
    tower.eval()

    def read(ids: Tensor) -> Tensor:
        return model.project_text(tower(ids))

    ids = content["text"]["ids"]
    tokens = read(ids)
    whole = tokens[torch.arange(len(ids)), ids.argmax(-1)]
    mine = {"token_emb": tokens, "class_emb": whole, "class_emb_unit": F.normalize(whole, dim=-1)}
    yield from differences(mine, content["out_text"], "text")
    asked = content["captioning"]
    table = state["token_embedding.weight"]
    photos = (content["x"], content["mask_features"])
    steps = {"start": asked["start_id"], "steps": sizes["caption_steps"]}
    written, logits = model.caption(*photos, read, table, **steps)
    yield from differences({"ids": written, "logits": logits}, content["out_captioning"], "captioning")
    first = [level[:1] for level in content["x"]], content["mask_features"][:1]
    written, logits = model.caption(*first, read, table, **steps, outside=asked["region_mask_blocked"])
    yield from differences({"ids": written, "logits": logits}, content["out_captioning_region"], "captioning region")


# --- SEEM -------------------------------------------------------------------------------------


def prompt_of(asked: Content) -> MaskPrompt:
    """The masks of a prompt."""
    return MaskPrompt(asked["spatial_query_pos_mask"], asked["spatial_query_neg_mask"])


def draws_of(asked: Content, config: DecoderConfig) -> Draws:
    """What was drawn when a reference was made."""
    none = torch.zeros((config.layers, config.memories), dtype=torch.long)
    return Draws(asked["rows"], asked.get("memory_index", none))


def seem(content: Content) -> Differences:
    """Everything that a file of SEEM asks for."""
    config = config_of(content, "seem")
    models = {}
    for version in ("v0", "v1", "demo"):
        models[version] = SeemDecoder(replace(config, version=version))
        models[version].load_state_dict(content["state_dict"])
        models[version].eval()
    photos, table = (content["x"], content["mask_features"]), content["class_text"]
    asked = content["grounding"]
    text = TextTokens(asked["grounding_tokens"].transpose(0, 1), asked["grounding_nonzero_mask"])
    for version in ("v0", "v1"):
        model = models[version]
        generic = model(*photos, class_table=table, earlier=True)
        yield from differences(generic.final, content["out_generic"], f"{version} generic")
        yield from listed(content["aux_generic"], generic.earlier, f"{version} generic.aux")
        grounded = model(*photos, text=text, class_table=table).final
        score = model.scale * cosines(grounded["pred_gtexts"], asked["class_emb"])
        mine = grounded | masks_of(grounded, "pred_gmasks", score)
        yield from differences(mine, content["out_grounding"], f"{version} grounding")
    yield from spatial(content, models["v0"], models["v1"])
    yield from exemplar(content, models["v0"])
    yield from demo(content, models["demo"], text)


def spatial(content: Content, v0: SeemDecoder, v1: SeemDecoder) -> Differences:
    """Drawn prompts, and a second round with the mask of the first."""
    photos, table = (content["x"], content["mask_features"]), content["class_text"]
    for name, model in (("v0", v0), ("v0_second", v0), ("v1", v1), ("v1_second", v1)):
        asked = content[f"spatial_{name}"]
        made = model(
            *photos,
            drawn=model.sample(*photos, prompt_of(asked)),
            previous=asked.get("prev_mask"),
            draws=draws_of(asked, model.config) if model is v1 else None,
            class_table=table,
            earlier=True,
        )
        mine = made.final | {"prev_mask": model.picked(made.final)}
        yield from differences(mine, content[f"out_spatial_{name}"], f"spatial {name}")
        if (last := content.get(f"aux_spatial_{name}")) is not None:
            yield from differences(made.earlier[-1], last, f"spatial {name}.aux")


def shown(content: Content, model: SeemDecoder) -> DrawnTokens:
    """The prompts of `spatial_v0` on the photos in the other order."""
    levels, mask_features = [level.flip(0) for level in content["x"]], content["mask_features"].flip(0)
    return model.sample(levels, mask_features, prompt_of(content["spatial_v0"]))


def exemplar(content: Content, model: SeemDecoder) -> Differences:
    """A thing that is shown in another photo."""
    drawn, expected = shown(content, model), content["out_exemplar_tokens_v0"]
    vectors = {"spatial_query_pos": drawn.positive.transpose(0, 1), "spatial_query_neg": drawn.negative.transpose(0, 1)}
    yield from differences(vectors, {name: expected[name] for name in vectors}, "exemplar tokens")
    real = ~expected["src_spatial_maskings"][0]
    for level, tokens in enumerate(drawn.tokens.levels):
        wanted = expected["src_spatial_queries"][level].transpose(0, 1)[real]
        yield from differences({"tokens": tokens[~drawn.tokens.pad]}, {"tokens": wanted}, f"exemplar.{level}")
    made = model(content["x"], content["mask_features"], shown=drawn, class_table=content["class_text"]).final
    yield from differences(made | {"prev_mask": model.picked(made)}, content["out_exemplar_v0"], "exemplar")


def demo(content: Content, model: SeemDecoder, text: TextTokens) -> Differences:
    """The released demonstration, whose prompts combine."""
    photos = content["x"], content["mask_features"]
    drawn = model.sample(*photos, prompt_of(content["spatial_v0"]))
    for name, given in (
        ("stroke", {"drawn": drawn}),
        ("text", {"text": text}),
        ("text_stroke", {"drawn": drawn, "text": text}),
        ("exemplar", {"shown": shown(content, model)}),
    ):
        made = model(*photos, **given, class_table=content["class_text"]).final
        yield from differences(made, content[f"out_demo_{name}"], f"demo {name}")


# --- the deformable pixel decoder -----------------------------------------------------------------


def deformable(content: Content) -> Differences:
    """The pixel decoder of a file."""
    sizes = content["config"]
    decoder = DeformablePixelDecoder(
        sizes["channels"], sizes["conv_dim"], heads=sizes["heads"], ffn=sizes["ffn"], layers=sizes["layers"]
    )
    decoder.load_state_dict(content["state_dict"])
    pyramid = decoder.eval()([content["features"][name] for name in ("res2", "res3", "res4", "res5")])
    mine = {str(n): level for n, level in enumerate(pyramid.levels)} | {"mask_features": pyramid.mask_features}
    expected = {str(n): level for n, level in enumerate(content["multi_scale"])}
    yield from differences(mine, expected | {"mask_features": content["mask_features"]}, "pixel decoder")


def compare(content: Content) -> Differences:
    """Run everything that a file asks for; yields (name, largest absolute difference)."""
    state = content["state_dict"]
    if "adapter_1.weight" in state:
        return deformable(content)
    return xdecoder(content) if "caping_embed" in state else seem(content)


def main() -> int:
    """Print a table a file; 1 when anything differs by more than its tolerance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--masks", type=float, default=1e-4, help="tolerance of mask logits")
    args = parser.parse_args()
    failed = False
    for file in args.files:
        content = torch.load(file, weights_only=True)
        print(file.name)
        with torch.inference_mode():
            for name, difference in compare(content):
                is_mask = name.endswith(LOOSE)
                above = not difference <= (args.masks if is_mask else args.tolerance)
                failed |= above
                print(f"  {name:40s} {difference:.2e}{'  ABOVE' if above else ''}")
    print("above a tolerance" if failed else "all within tolerance")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
