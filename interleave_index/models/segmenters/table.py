"""The models that find, outline or box things, as a table: by what their config.json names, and what each can do here.

Which setting takes a model is read off it: `proposes` means ``models.proposals``, `grounds` means ``models.grounders``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from . import dense, sam, sam3, universal
from .dense import ClipSeg
from .detectors import DINO_KINDS, OMDET_KINDS, OWL_KINDS, GroundingDino, OmDet, Owl
from .sam import SamSegmenter
from .sam3 import Sam3
from .universal import UniversalSegmenter

Help: TypeAlias = Literal["segmenter", "concept", "phrases", "pictures", "maps"]
Propose: TypeAlias = Literal["prompts", "everything"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some families of models that are used alike.

    Attributes:
        types: `model_type` of each.
        build: makes one of a folder on a device, named `device`.
        grounds: what it helps to ground by, see `grounders.Grounders`.
        proposes: how it makes masks of everything: asked by points everywhere, or all in one pass; None not at all.
    """

    types: tuple[str, ...]
    build: Callable[..., Any]
    grounds: tuple[Help, ...] = ()
    proposes: Propose | None = None


_PROMPTED = tuple(name for name in sam.KINDS if name not in sam3.KINDS)
PARTS = (
    Part(_PROMPTED, SamSegmenter, grounds=("segmenter",), proposes="prompts"),
    Part(sam3.KINDS, Sam3, grounds=("concept",)),
    Part(tuple(name for name in sam3.KINDS if name in sam.KINDS), SamSegmenter, proposes="prompts"),
    Part(tuple(DINO_KINDS), GroundingDino, grounds=("phrases",)),
    Part(tuple(OWL_KINDS), Owl, grounds=("phrases", "pictures")),
    Part(OMDET_KINDS, OmDet, grounds=("phrases",)),
    Part(dense.KINDS, ClipSeg, grounds=("maps",)),
    Part(tuple(universal.KINDS), UniversalSegmenter, proposes="everything"),
)


def grounding_part(model_type: str) -> Part | None:
    """The part of a model that helps to ground, or None."""
    return next((part for part in PARTS if part.grounds and model_type in part.types), None)


def proposing_part(model_type: str) -> Part | None:
    """The part of a model that makes masks of everything, or None."""
    return next((part for part in PARTS if part.proposes and model_type in part.types), None)


def types_of(parts: Iterable[Part]) -> str:
    """The types of some parts, each once, by commas."""
    return ", ".join(dict.fromkeys(name for part in parts for name in part.types))


def settings_for(model_type: str) -> list[str]:
    """The settings that take a model of this type, as a message names them; empty where none does.

    >>> settings_for("sam2"), settings_for("bert")
    (['models.proposals', '--grounders'], [])
    """
    uses = (("models.proposals", proposing_part), ("--grounders", grounding_part))
    return [setting for setting, part_of in uses if part_of(model_type) is not None]
