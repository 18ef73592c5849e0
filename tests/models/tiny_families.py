"""Tiny random dual encoders of every family, saved to a folder as a hub would hold them, with what each gives.

Every builder writes the tokenizer and gives the model with its image processor. `own_vectors` asks the model alone, by
its own processor and its own calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models import tiny
from tests.models.tiny import PATCH, SIDE, WORDS, _clip_tokenizer, _tokenizer_file, text, vision

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted({word for line in WORDS for word in line.split()})]


def _bert(folder: Path) -> int:
    import transformers as t

    (folder / "vocab.txt").write_text("\n".join(BERT))
    t.BertTokenizer(str(folder / "vocab.txt"), model_max_length=24).save_pretrained(folder)
    return len(BERT)


def _roberta(folder: Path) -> int:
    return _tokenizer_file(folder, "XLMRobertaTokenizer", unigram=True)


def _clip_pixels(t: Any) -> Any:
    return t.CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE)


def _squeeze(kind: Any) -> Any:
    return kind(size={"height": SIDE, "width": SIDE})


def _altclip(t: Any, folder: Path) -> Any:
    words = text(_roberta(folder), project_dim=32, pad_token_id=1, max_position_embeddings=26)
    config = t.AltCLIPConfig(text_config=words, vision_config=vision(), projection_dim=24)
    return t.AltCLIPModel(config), _clip_pixels(t)


def _chinese_clip(t: Any, folder: Path) -> Any:
    config = t.ChineseCLIPConfig(text_config=text(_bert(folder)), vision_config=vision(), projection_dim=24)
    size = {"height": SIDE, "width": SIDE}
    return t.ChineseCLIPModel(config), t.ChineseCLIPImageProcessorPil(size=size, do_center_crop=False)


def _clipseg(t: Any, folder: Path) -> Any:
    words = text(_clip_tokenizer(folder), eos_token_id=1, bos_token_id=0, pad_token_id=1)
    config = t.CLIPSegConfig(
        text_config=words, vision_config=vision(), projection_dim=24, reduce_dim=16, extract_layers=[1, 2]
    )
    larger = {"height": SIDE + 2 * PATCH, "width": SIDE + 2 * PATCH}  # as released: 352 for a tower of 224
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    pixels = t.ViTImageProcessorPil(size=larger, image_mean=mean, image_std=std, resample=3)
    return t.CLIPSegForImageSegmentation(config), pixels


def _owl(t: Any, folder: Path, name: str) -> Any:
    words = text(_clip_tokenizer(folder), eos_token_id=1, bos_token_id=0, pad_token_id=1)
    config = getattr(t, f"{name}Config")(text_config=words, vision_config=vision(), projection_dim=32)
    return getattr(t, f"{name}ForObjectDetection")(config), _squeeze(getattr(t, f"{name}ImageProcessorPil"))


def _owlvit(t: Any, folder: Path) -> Any:
    return _owl(t, folder, "OwlViT")


def _owlv2(t: Any, folder: Path) -> Any:
    return _owl(t, folder, "Owlv2")


def _aimv2(t: Any, folder: Path) -> Any:
    words = text(_clip_tokenizer(folder), eos_token_id=1)
    config = t.Aimv2Config(text_config=words, vision_config=vision(), projection_dim=24)
    return t.Aimv2Model(config), _clip_pixels(t)


def _tipsv2(t: Any, folder: Path) -> Any:
    words = text(_tokenizer_file(folder, "Siglip2Tokenizer"))
    config = t.Tipsv2Config(text_config=words, vision_config=vision(num_register_tokens=1))
    return t.Tipsv2Model(config), {
        "image_processor_type": "Tipsv2ImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        "do_normalize": False,
        "resample": 2,
    }


def _align(t: Any, folder: Path) -> Any:
    config = t.AlignConfig(
        text_config=text(_bert(folder)),
        vision_config={
            "image_size": SIDE,
            "hidden_dim": 24,
            "width_coefficient": 1.0,
            "depth_coefficient": 1.0,
            "kernel_sizes": [3],
            "in_channels": [32],
            "out_channels": [24],
            "depthwise_padding": [],
            "strides": [2],
            "num_block_repeats": [1],
            "expand_ratios": [1],
        },
        projection_dim=24,
    )
    pixels = t.EfficientNetImageProcessorPil(
        size={"height": SIDE + 8, "width": SIDE + 8},
        crop_size={"height": SIDE, "width": SIDE},
        do_center_crop=True,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
        resample=2,
    )
    return t.AlignModel(config), pixels


def _blip(t: Any, folder: Path) -> Any:
    words = text(_bert(folder), encoder_hidden_size=32)
    config = t.BlipConfig(text_config=words, vision_config=vision(), projection_dim=24)
    return t.BlipModel(config), _squeeze(t.BlipImageProcessorPil)


def _blip_itm(t: Any, folder: Path) -> Any:
    words = text(_bert(folder), encoder_hidden_size=32)
    config = t.BlipConfig(text_config=words, vision_config=vision(), image_text_hidden_size=24)
    return t.BlipForImageTextRetrieval(config), _squeeze(t.BlipImageProcessorPil)


def _blip_2(t: Any, folder: Path) -> Any:
    size = _bert(folder)
    config = t.Blip2Config(
        vision_config=vision(),
        qformer_config=text(size, encoder_hidden_size=32, cross_attention_frequency=1, use_qformer_text_input=True),
        text_config={"model_type": "opt", **text(size), "ffn_dim": 32, "word_embed_proj_dim": 32},
        num_query_tokens=4,
        image_text_hidden_size=24,
    )
    return t.Blip2ForImageTextRetrieval(config), _squeeze(t.BlipImageProcessorPil)


def _groupvit(t: Any, folder: Path) -> Any:
    words = text(_clip_tokenizer(folder), eos_token_id=1, bos_token_id=0, pad_token_id=1)
    shape = vision(depths=[1, 1], num_hidden_layers=2, num_group_tokens=[8, 0], num_output_groups=[8, 4])
    config = t.GroupViTConfig(text_config=words, vision_config=shape, projection_dim=24, projection_intermediate_dim=32)
    return t.GroupViTModel(config), _clip_pixels(t)


def _flava(t: Any, folder: Path) -> Any:
    config = t.FlavaConfig(
        text_config=text(_bert(folder)),
        image_config=vision(),
        multimodal_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 32,
        },
        hidden_size=32,
        projection_dim=24,
    )
    pixels = t.FlavaImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}, return_codebook_pixels=False
    )
    return t.FlavaModel(config), pixels


def _two_towers(t: Any, folder: Path) -> Any:
    config = t.VisionTextDualEncoderConfig(
        text_config=t.BertConfig(**text(_bert(folder))).to_dict(),
        vision_config=t.ViTConfig(**vision()).to_dict(),
        projection_dim=24,
    )
    return t.VisionTextDualEncoderModel(config), _squeeze(t.ViTImageProcessorPil)


BUILDERS = {
    "altclip": _altclip,
    "chinese_clip": _chinese_clip,
    "clipseg": _clipseg,
    "owlvit": _owlvit,
    "owlv2": _owlv2,
    "aimv2": _aimv2,
    "tipsv2": _tipsv2,
    "align": _align,
    "blip": _blip,
    "blip-itm": _blip_itm,
    "blip-2": _blip_2,
    "groupvit": _groupvit,
    "flava": _flava,
    "vision-text-dual-encoder": _two_towers,
}
NAMES = ("clip", "metaclip_2", "siglip", "siglip2", *BUILDERS)


def own_vectors(folder: Path, name: str, photos: list[Any], words: list[str]) -> tuple[Any, Any]:
    """Unit vectors of photos and texts by the library alone: its processor, and what its model calls embeddings."""
    import torch
    import transformers as t
    from torch.nn.functional import normalize

    config = t.AutoConfig.from_pretrained(folder)
    kind = getattr(t, OWN_CLASSES.get(name, config.architectures[0]))
    model = kind.from_pretrained(folder).eval()
    tokenizer = t.AutoTokenizer.from_pretrained(folder)
    if name.startswith("siglip"):  # trained on texts of full length, without a mask
        given = {"input_ids": tokenizer(words, padding="max_length", max_length=24, return_tensors="pt")["input_ids"]}
    else:
        coded = tokenizer(words, padding=True, return_tensors="pt")
        given = {key: coded[key] for key in ("input_ids", "attention_mask")}
    pixels = _own_pixels(t, folder, name, photos)
    with torch.inference_mode():
        if name == "flava":
            found = (
                model.get_image_features(**pixels).pooler_output[:, 0],
                model.get_text_features(**given).pooler_output[:, 0],
            )
        elif name == "blip-itm":
            found = (
                model.vision_proj(model.vision_model(**pixels).last_hidden_state[:, 0]),
                model.text_proj(model.text_encoder(**given).last_hidden_state[:, 0]),
            )
            cosines = model(**given, **pixels, use_itm_head=False).itm_score  # what it says of every pair itself
            assert torch.allclose(normalize(found[0]) @ normalize(found[1]).T, cosines, atol=1e-5)
        else:
            output = model(**given, **pixels)
            found = output.image_embeds, output.text_embeds
            if name == "blip-2":  # a vector a learned query
                found = found[0].mean(1), found[1]
    image, texts = (normalize(rows, dim=-1).numpy() for rows in found)
    return image, texts


PIXELS = ("pixel_values", "pixel_attention_mask", "spatial_shapes")
# The class whose forward pass gives embeddings, where the released weights are of a class with another head.
OWN_CLASSES = {"clipseg": "CLIPSegModel", "owlvit": "OwlViTModel", "owlv2": "Owlv2Model"}


def _own_pixels(t: Any, folder: Path, name: str, photos: list[Any]) -> Any:
    import numpy as np
    import torch
    from PIL import Image

    if name != "tipsv2":
        prepared = dict(t.AutoImageProcessor.from_pretrained(folder)(photos, return_tensors="pt"))
        return {key: prepared[key] for key in PIXELS if key in prepared}
    # its processor needs torchvision: by hand, what its settings say
    resized = [Image.fromarray(photo).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for photo in photos]
    stacked = torch.from_numpy(np.stack([np.asarray(one) for one in resized]))
    return {"pixel_values": stacked.permute(0, 3, 1, 2).float() / 255}


def save(folder: Path, name: str, seed: int = 0) -> Path:
    """Write one of `NAMES`."""
    import json

    import torch
    import transformers

    if name not in BUILDERS:
        return tiny.save(folder, name, seed)
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model, pixels = BUILDERS[name](transformers, folder)
    with torch.no_grad():  # fresh weights are too small to tell pictures apart; real ones are not
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(3)
    model.eval().save_pretrained(folder)
    if isinstance(pixels, dict):
        (folder / "preprocessor_config.json").write_text(json.dumps(pixels))
    else:
        pixels.save_pretrained(folder)
    return folder
