"""Settings of find-mini's recipe; `find_mini.yaml` beside this file holds the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ..loop import StageSettings
from ..settings import load_settings, to_plain

RECIPE = Path(__file__).with_name("find_mini.yaml")
STAGE_NAMES = ("space", "text", "vision", "align", "regions", "interface", "refit", "bundle")
NOT_KEPT = ("data", "out", "targets", "more", "start", "stages", "threads", "device")  # in a finished bundle


@dataclass(frozen=True, slots=True)
class InterfaceSettings(StageSettings):
    """Those of stage `interface`.

    Attributes:
        backbone_rate: learning rate of the backbone and of the photo path, as a share of `rate`; 0 lets them stand.
        cells: that proposals start from while it learns.
        smallest: cells of the mask features that a mask must have left after a crop to be learned.
        mosaics: share of the images that are four photos each, so that things are small.
        ellipses: boxes below this share of a photo are learned as the ellipses in them; 0 leaves boxes out.
        points: places at which the losses of a mask are taken, most of them where it is uncertain, which is at edges; 0
            takes them at every cell.
        supervised: predictions that are trained beside the last, counted from the one before the first layer.
        tasks: chance of each task to be the one that a batch trains beside generic masks and retrieval.
        weights: of the losses, by name.
    """

    backbone_rate: float
    cells: int
    smallest: int
    mosaics: float
    ellipses: float
    points: int
    supervised: list[int]
    tasks: dict[str, float]
    weights: dict[str, float]


@dataclass(frozen=True, slots=True)
class FindMiniSettings:
    """What to train on, and how long.

    Attributes:
        data: folder with `train-*.tar` and `val-*.tar` packs; val packs are only measured.
        out: checkpoints and, in `bundle/`, the finished model.
        targets: teacher targets of the packs and sentences, see tools/cache_*.py; without it all stages before
            `interface` are skipped, nothing is pseudo-labelled, and the interface starts on random features, or on
            those of the bundle that is given as `start`.
        more: folder of further packs that only stage `vision` learns from; they need no annotations.
        start: folder of an earlier run whose vocabulary is taken and whose towers and interface the stages start from,
            the interface as far as shapes agree; or of a bundle, which goes on learning in the space it has: then its
            own text vectors take the place of a sentence encoder's. Without it all start at random.
        stages: which to run; their order is fixed.
        seed: of everything that is drawn.
        limit: at most so many training photos, for trials.
        bf16: mixed precision.
        fine_cells: proposals may also start from cells of the mask features, of 4 pixels, for the sake of small things.
        octaves: of the sinusoids by which masks know where they are. A bundle that is gone on from grows to these two.
        threads: of the network; 0 leaves torch's own choice.
        device: as torch names it; "auto" takes a GPU where there is one.
    """

    data: Path
    out: Path
    targets: Path | None
    more: Path | None
    start: Path | None
    stages: list[str]
    seed: int
    limit: int | None
    bf16: bool
    fine_cells: bool
    octaves: int
    threads: int
    device: str
    space: StageSettings
    text: StageSettings
    vision: StageSettings
    align: StageSettings
    regions: StageSettings
    interface: InterfaceSettings
    refit: StageSettings

    def __post_init__(self) -> None:
        unknown = set(self.stages) - set(STAGE_NAMES)
        if unknown:
            raise ConfigError(f"unknown stage {', '.join(sorted(unknown))}, expected {', '.join(STAGE_NAMES)}")

    def kept(self) -> dict[str, Any]:
        """What a finished bundle records of its training, plain JSON values."""
        return to_plain(self, without=NOT_KEPT)


def find_mini_settings(
    data: Path, out: Path, *, recipe: Path | None = None, overrides: Mapping[str, Any] | None = None
) -> FindMiniSettings:
    """The recipe, a file of the user over it, and overrides by dotted key over both. Errors as of `load_settings`."""
    return load_settings(FindMiniSettings, RECIPE, data, out, recipe, overrides)
