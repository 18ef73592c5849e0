"""What a training on COCO is told. Plain values; kept in the folder of the result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...interface.published.pair import Pair
from .data import Drawing


@dataclass(frozen=True, slots=True)
class CocoSettings:
    """The recipe of FIND, and its pair of frozen models. The numbers are the published ones.

    Attributes:
        data: COCO folder; split: of it.
        out: checkpoint and result.
        entity, refs, instances, leave_out: see `data.read_photos`.
        vision: ``focal-t``, ``focal-l``, ``find-mini``, or a backbone's folder or hub name.
        vision_weights: state dict with `backbone.*` (and the pixel decoder) for the Focal backbones; ``random`` starts
            them at random, for trials.
        language: ``find-mini``, an imported model, a LLaMA's folder or any other text model's; or a pulled name.
        language_layer: hidden state of the language model, from the end where negative; -12 of LLaMA-7B is published.
        train_decoder: train the pixel decoder too; None does where its weights were not given.
        width, layers, heads, ffn, object_queries: of the interface.
        decoder_width, decoder_layers: of a pixel decoder that was not given.
        drawing: size and augmentation of the crops.
        batch: photos of a step, over all processes together.
        epochs: over the photos; steps: instead of them, or None.
        lr, weight_decay, clip: of AdamW; the rate falls to a tenth at 88.889 % and again at 96.296 % of the steps.
        points: sampled of every mask.
        drawn_classes: class names encoded with gradient a step and process; None is one a photo, as published; 0 is
            all of them.
        drawn_sentences: draw the sentence around each of these names, as published, else the one of the evaluation.
        save_every: steps between checkpoints.
        limit: only so many photos, for a trial.
        bf16: mixed precision.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    data: Path
    out: Path
    split: str = "train2017"
    entity: Path | None = None
    refs: Path | None = None
    instances: Path | None = None
    leave_out: tuple[Path, ...] = ()
    vision: str = "focal-t"
    vision_weights: str | None = None
    language: str = "find-mini"
    language_layer: int = -12
    train_decoder: bool | None = None
    width: int = 512
    layers: int = 9
    heads: int = 8
    ffn: int = 2048
    object_queries: int = 100
    decoder_width: int = 512
    decoder_layers: int = 6
    drawing: Drawing = field(default_factory=Drawing)
    batch: int = 18
    epochs: float = 50.0
    steps: int | None = None
    lr: float = 1e-4
    weight_decay: float = 0.05
    clip: float = 0.01
    points: int = 12544
    drawn_classes: int | None = None
    drawn_sentences: bool = True
    save_every: int = 500
    limit: int | None = None
    seed: int = 0
    bf16: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.drawing.size % 32:
            raise ConfigError(f"size is {self.drawing.size}, expected a multiple of 32")

    def pair(self) -> Pair:
        """What is built."""
        return Pair(**{name: getattr(self, name) for name in Pair.__slots__ if name != "side"}, side=self.drawing.size)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values of everything that the result depends on."""
        return {name: _plain(value) for name, value in asdict(self).items() if name not in ("out", "device")}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
