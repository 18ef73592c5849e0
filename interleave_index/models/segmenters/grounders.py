"""The models that may help to ground a thing, by what the config files of their folders name. Knows no grounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError, WeightsMissing
from ..hub import local
from .dense import DenseMapper
from .detectors import Detector
from .sam import Segmenter
from .sam3 import GATED, ConceptSegmenter
from .table import PARTS, Help, Part, grounding_part, proposing_part, types_of


@dataclass(frozen=True, slots=True)
class Grounders:
    """At most one model of a kind; None is a way to a mask that is not there.

    Attributes:
        segmenter: masks of points and boxes.
        concept: masks of all instances of a phrase.
        phrases: boxes of what a phrase names.
        pictures: boxes of what looks like a crop.
        maps: maps of a phrase or a crop over a photo.
    """

    segmenter: Segmenter | None = None
    concept: ConceptSegmenter | None = None
    phrases: Detector | None = None
    pictures: Detector | None = None
    maps: DenseMapper | None = None

    def __bool__(self) -> bool:
        return any((self.segmenter, self.concept, self.phrases, self.pictures, self.maps))


def load_grounders(names: Sequence[str], *, device: str = "cpu") -> Grounders:
    """Build models by folder or hub name; opens no connection.

    Args:
        names: such as ``facebook/sam2.1-hiera-tiny``; of two of one kind, the one that stands first is used.
        device: where they run, as torch names it.
    Raises:
        WeightsMissing: one is not here; how it is got.
        BackendMissing: the extra ``hub`` is not installed.
        ConfigError: a folder holds something else.
    """
    helpers: dict[Help, Any] = {}
    for folder, part in map(find_grounder, names):
        if wanted := [use for use in part.grounds if use not in helpers]:
            helpers |= dict.fromkeys(wanted, part.build(folder, device=device))
    return Grounders(**helpers)


def find_grounder(name: str) -> tuple[Path, Part]:
    """The folder of a model that helps to ground, and how it does; builds nothing.

    Raises:
        WeightsMissing, ConfigError: as `load_grounders`.
    """
    folder = _folder(name)
    kind = str(local.read_config(folder).get("model_type"))
    part = grounding_part(kind)
    if part is None:
        known = types_of(row for row in PARTS if row.grounds)
        taken = "; it can be named in models.proposals" if proposing_part(kind) is not None else ""
        raise ConfigError(
            f"models.grounders names {name}, which holds a model of type {kind!r}, expected one of {known}{taken}"
        )
    return folder, part


def _folder(name: str) -> Path:
    try:
        return local.find(name)
    except WeightsMissing as error:
        if name.rpartition("/")[2].lower().startswith("sam3"):
            raise WeightsMissing(f"model {name} is not on this machine; {GATED}") from error
        raise
