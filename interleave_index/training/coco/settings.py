"""Settings of the COCO recipe; `coco.yaml` beside this file holds the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...interface.published.pair import Pair
from ..settings import load_settings, to_plain
from .data import Drawing

RECIPE = Path(__file__).with_name("coco.yaml")


@dataclass(frozen=True, slots=True)
class CocoSettings:
    """The recipe of FIND, and its pair of frozen models.

    Attributes:
        data: COCO folder; split: of it.
        out: checkpoint and result.
        entity, refs, instances, leave_out: see `data.read_photos`.
        vision, language, tokenizer: see `Pair`.
        vision_weights: state dict with `backbone.*` (and the pixel decoder) for a backbone that is named, or SAM's own,
            or Florence-2's for a DaViT; ``random`` starts it at random, for trials.
        language_layer: hidden state of the language model, from the end where negative; -12 of LLaMA-7B is published.
        train_decoder: train the pixel decoder too; None does where its weights were not given.
        width, layers, heads, ffn, object_queries: of the interface.
        decoder_width, decoder_layers: of a pixel decoder that was not given.
        drawing: size and augmentation of the crops.
        batch: photos of a step, over all processes together.
        epochs: over the photos; steps: instead of them, or None.
        rate, decay, clip: of AdamW; the rate falls to a tenth at 88.889 % and again at 96.296 % of the steps.
        points: sampled of every mask.
        drawn_classes: class names encoded with gradient a step and process; None is one a photo, as published; 0 is
            all of them.
        drawn_sentences: draw the sentence around each of these names, as published, else the one of the evaluation.
        save_every: steps between checkpoints.
        limit: only so many photos, for a trial.
        bf16: mixed precision.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights: of the losses, by name.
        expression_weight, class_name_weight: of the grounding choice, where people wrote the expressions and where
            they are class names.
    """

    data: Path
    out: Path
    split: str
    entity: Path | None
    refs: Path | None
    instances: Path | None
    leave_out: list[Path]
    vision: str
    vision_weights: str | None
    language: str
    language_layer: int
    tokenizer: str | None
    train_decoder: bool | None
    width: int
    layers: int
    heads: int
    ffn: int
    object_queries: int
    decoder_width: int
    decoder_layers: int
    drawing: Drawing
    batch: int
    epochs: float
    steps: int | None
    rate: float
    decay: float
    clip: float
    points: int
    drawn_classes: int | None
    drawn_sentences: bool
    save_every: int
    limit: int | None
    seed: int
    bf16: bool
    device: str
    weights: dict[str, float]
    expression_weight: float
    class_name_weight: float

    def __post_init__(self) -> None:
        if self.drawing.size % 32:
            raise ConfigError(f"size is {self.drawing.size}, expected a multiple of 32")

    def pair(self) -> Pair:
        """What is built."""
        return Pair(**{name: getattr(self, name) for name in Pair.__slots__ if name != "side"}, side=self.drawing.size)

    def kept(self) -> dict[str, Any]:
        """Plain JSON values of everything that the result depends on."""
        return to_plain(self, without=("out", "device"))


def coco_settings(
    data: Path, out: Path, *, recipe: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> CocoSettings:
    """The recipe, a file of the user over it, and overrides by dotted key over both. Errors as of `load_settings`."""
    return load_settings(CocoSettings, RECIPE, data, out, recipe, overrides)
