"""Names of READ's released weights, LLaVA's and SAM's of their first days, as transformers calls them.

The vision tower is not among them: the release leaves it out, and it is read from CLIP's own folder. Pure Python.
"""

from __future__ import annotations

import re

LLAVA, SAM, HEAD = "llava", "sam", "head"
SAM_PREFIX = "model.visual_model."
_SAM_WORDS: tuple[tuple[str, str], ...] = (  # in this order
    (r"^image_encoder\.", "vision_encoder."),
    (r"^vision_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^vision_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision_encoder.layers.\1.layer_norm\2."),
    (r"^vision_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^vision_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^vision_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^vision_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^vision_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", "shared_image_embedding.positional_embedding"),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.norm([1-4])\.", r"\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.proj_in."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.1\.", r"\1.layers.0."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.2\.", r"\1.proj_out."),
)


def place_of(key: str) -> tuple[str, str] | None:
    """Which part a released weight belongs to, and its name there; None for what is not used.

    >>> place_of("model.layers.0.mlp.up_proj.weight")
    ('llava', 'model.language_model.layers.0.mlp.up_proj.weight')
    >>> place_of("model.visual_model.mask_decoder.iou_prediction_head.layers.2.bias")
    ('sam', 'mask_decoder.iou_prediction_head.proj_out.bias')
    >>> place_of("model.text_hidden_fcs.0.2.weight"), place_of("model.visual_model.pixel_mean")
    (('head', '2.weight'), None)
    """
    if key.startswith(SAM_PREFIX):
        name = sam_name(key.removeprefix(SAM_PREFIX))
        return None if name is None else (SAM, name)
    if key.startswith("model.text_hidden_fcs.0."):
        return HEAD, key.removeprefix("model.text_hidden_fcs.0.")
    if key.startswith("model.mm_projector."):
        number, _, rest = key.removeprefix("model.mm_projector.").partition(".")
        return (LLAVA, f"model.multi_modal_projector.linear_{1 + int(number) // 2}.{rest}")
    if "vision_tower" in key or key.endswith("rotary_emb.inv_freq"):
        return None
    return LLAVA, key if key.startswith("lm_head.") else key.replace("model.", "model.language_model.", 1)


def sam_name(key: str) -> str | None:
    """A weight of SAM as first released, as `SamModel` calls it; None for constants that it does not keep."""
    if key in ("pixel_mean", "pixel_std"):
        return None
    for pattern, word in _SAM_WORDS:
        key = re.sub(pattern, word, key)
    return key


def sam_sizes(shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, object]]:
    """The sizes of a SAM from the shapes of its weights, by the names of `SamModel`: keywords of its three configs.

    Args:
        shapes: of every weight.
    """
    hidden, _, patch, _ = shapes["vision_encoder.patch_embed.projection.weight"]
    grid = shapes["vision_encoder.pos_embed"][1]
    layers = _count(shapes, r"vision_encoder\.layers\.(\d+)\.")
    spans = [shapes[f"vision_encoder.layers.{n}.attn.rel_pos_h"] for n in range(layers)]
    local = [span[0] for span in spans if span[0] != 2 * grid - 1]
    wide = shapes["vision_encoder.neck.conv1.weight"][0]
    side = grid * patch
    return {
        "vision": {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // spans[0][1],
            "image_size": side,
            "patch_size": patch,
            "output_channels": wide,
            "mlp_dim": shapes["vision_encoder.layers.0.mlp.lin1.weight"][0],
            "window_size": (local[0] + 1) // 2 if local else 0,
            "num_pos_feats": shapes["shared_image_embedding.positional_embedding"][1],
            "global_attn_indexes": [n for n, span in enumerate(spans) if span[0] == 2 * grid - 1],
        },
        "prompt": {
            "hidden_size": wide,
            "image_size": side,
            "patch_size": patch,
            "mask_input_channels": shapes["prompt_encoder.mask_embed.conv3.weight"][1],
        },
        "decoder": {
            "hidden_size": wide,
            "num_hidden_layers": _count(shapes, r"mask_decoder\.transformer\.layers\.(\d+)\."),
            "mlp_dim": shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
            "iou_head_hidden_dim": shapes["mask_decoder.iou_prediction_head.proj_in.weight"][0],
        },
    }


def _count(shapes: dict[str, tuple[int, ...]], pattern: str) -> int:
    return 1 + max(int(found[1]) for key in shapes if (found := re.match(pattern, key)))
