"""Settings of READ's recipe; `read.yaml` beside this file holds the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...grounding.compatible import ReadSettings
from ..settings import load_settings, to_plain
from .lora import Lora

RECIPE = Path(__file__).with_name("read.yaml")


@dataclass(frozen=True, slots=True)
class TrainReadSettings:
    """The published recipe, as it goes on from SESAME's weights.

    Attributes:
        data: folder in LISA's layout, see `sources`.
        out: checkpoint and result.
        start: the model that is gone on from; sam: of a start from scratch, see `loading.load_parts`.
        mix: how often each source is drawn, beside the others; one that is not there is left out.
        lora: the adapters.
        weights: of the losses.
        points: how many points, from which values.
        expressions: of a photo, at most.
        batch: photos that go through the model together; accumulate: such batches of one step.
        epochs: of `steps_per_epoch` steps each; after each of them the model is measured.
        rate, betas, clip: of AdamW without decay; the rate rises over `warm_up` steps and then falls linearly to 0.
        validate: measure on ReasonSeg's val, where it is there, and keep the epoch with the best cIoU; else the last.
        validation_limit: only so many of its photos.
        save_every: steps between checkpoints.
        checkpointing: compute states of the language model twice, instead of keeping them.
        bf16: mixed precision, and bfloat16 for what stands still.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    data: Path
    out: Path
    start: str
    sam: Path | None
    mix: dict[str, float]
    lora: Lora
    weights: dict[str, float]
    points: ReadSettings
    expressions: int
    batch: int
    accumulate: int
    epochs: int
    steps_per_epoch: int
    rate: float
    betas: list[float]
    warm_up: int
    clip: float
    validate: bool
    validation_limit: int | None
    save_every: int
    checkpointing: bool
    seed: int
    bf16: bool
    device: str

    def __post_init__(self) -> None:
        for name in ("expressions", "batch", "accumulate", "epochs", "steps_per_epoch", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"setting {name} is {getattr(self, name)}, expected at least 1")
        if not self.start:
            raise ConfigError("training READ needs a model to go on from; give it with --start, as in --start read")

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * self.steps_per_epoch

    def kept(self) -> dict[str, Any]:
        """Plain JSON values of everything that the result depends on."""
        return to_plain(self, without=("out", "device", "save_every"))


def read_settings(
    data: Path, out: Path, *, recipe: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainReadSettings:
    """The recipe, a file of the user over it, and overrides by dotted key over both. Errors as of `load_settings`."""
    return load_settings(TrainReadSettings, RECIPE, data, out, recipe, overrides)
