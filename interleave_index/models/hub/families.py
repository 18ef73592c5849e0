"""The dual encoders of transformers, as a table: which class, which heads, how texts and photos go in.

Whatever gives photos and texts in one space by `get_image_features` and `get_text_features` is a row; the two models of
image-text retrieval of BLIP keep their heads in their forward passes and are read by `heads`. Imports no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TowerKind = Literal["class token", "pooling head", "query head", "tokens", "whole"]

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
_CLIP = {"image_mean": CLIP_MEAN, "image_std": CLIP_STD, "do_center_crop": True, "resample": 3}
_SIGLIP = {"image_mean": HALF, "image_std": HALF, "resample": 3}
_SQUEEZED = {**_CLIP, "do_center_crop": False}


@dataclass(frozen=True, slots=True)
class Family:
    """One family of dual encoders.

    Attributes:
        type: `model_type` of its config.json.
        model: class of transformers.
        tower: how regions and patches are had, see `dual_towers`; ``whole`` gives neither, so that regions are crops.
        dim: where config.json says D, dotted; the first that is there.
        heads: ``features`` for `get_image_features` and `get_text_features`, else see `heads`.
        pixels: what its image processor does where preprocessor_config.json is silent.
        checked: whether photos must come at the size that its config.json names.
        lower: texts go in in lower case.
        masked: texts go in with their attention mask; else padded to the full length without one.
        context: tokens at most, where its processor cuts before the config does.
        reserved: positions of the text tower that no token can have.
        named: taken only where config.json names the class among its `architectures`.
    """

    type: str
    model: str
    tower: TowerKind
    dim: tuple[str, ...] = ("projection_dim",)
    heads: Literal["features", "blip", "blip-2"] = "features"
    pixels: Mapping[str, Any] = field(default_factory=lambda: _CLIP)
    checked: bool = True
    lower: bool = False
    masked: bool = True
    context: int | None = None
    reserved: int = 0
    named: bool = False


_SIGLIP_DIM = ("text_config.projection_size", "vision_config.hidden_size")
FAMILIES = (  # a checkpoint is of the first row that fits
    Family("clip", "CLIPModel", "class token"),
    Family("metaclip_2", "MetaClip2Model", "class token"),
    Family("siglip", "SiglipModel", "pooling head", _SIGLIP_DIM, pixels=_SIGLIP, lower=True, masked=False),
    Family(
        "siglip2",
        "Siglip2Model",
        "pooling head",
        _SIGLIP_DIM,
        pixels={**_SIGLIP, "resample": 2},
        lower=True,
        masked=False,
    ),
    Family("altclip", "AltCLIPModel", "class token", reserved=2),  # XLM-RoBERTa counts from its padding token on
    Family("chinese_clip", "ChineseCLIPModel", "class token"),
    Family(
        "clipseg",
        "CLIPSegModel",
        "class token",
        pixels={"image_mean": HALF, "image_std": HALF, "resample": 2},
        checked=False,
    ),
    Family("owlvit", "OwlViTModel", "class token", pixels=_SQUEEZED),
    Family("owlv2", "Owlv2Model", "whole"),
    Family("aimv2", "Aimv2Model", "query head"),
    Family(
        "tipsv2",
        "Tipsv2Model",
        "tokens",
        ("vision_config.hidden_size",),
        pixels={"do_normalize": False, "size": {"height": 448, "width": 448}, "resample": 2},
        checked=False,
    ),
    Family("align", "AlignModel", "whole", checked=False, context=64),
    Family(
        "blip",
        "BlipForImageTextRetrieval",
        "whole",
        ("image_text_hidden_size",),
        heads="blip",
        pixels=_SQUEEZED,
        named=True,
    ),
    Family("blip", "BlipModel", "whole", pixels=_SQUEEZED),
    Family(
        "blip-2",
        "Blip2ForImageTextRetrieval",
        "whole",
        ("image_text_hidden_size",),
        heads="blip-2",
        pixels=_SQUEEZED,
        named=True,
    ),
    Family("groupvit", "GroupViTModel", "whole"),
    Family("flava", "FlavaModel", "whole", pixels={**_CLIP, "default_to_square": True}),
    Family("vision-text-dual-encoder", "VisionTextDualEncoderModel", "whole"),
)


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The family of a checkpoint by its config.json, or None when it is no dual encoder."""
    kind, named = config.get("model_type"), config.get("architectures") or ()
    rows = (row for row in FAMILIES if row.type == kind and (not row.named or row.model in named))
    return next(rows, None)


def classes_of(model_type: str) -> list[str]:
    """The classes of transformers that a family is loaded as; none when it is no dual encoder in any form.

    >>> classes_of("blip-2")
    ['Blip2ForImageTextRetrieval']
    """
    return [row.model for row in FAMILIES if row.type == model_type]


def types() -> list[str]:
    """The `model_type` of every family, once each, in the order of the table."""
    return list(dict.fromkeys(row.type for row in FAMILIES))


def dim_of(config: Mapping[str, Any]) -> int | None:
    """D of a checkpoint by its config.json, without loading it; None where only the model itself tells."""
    family = family_of(config)
    for path in () if family is None else family.dim:
        value: Any = config
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value:
            return int(value)
    return None
