"""The parts of a query, as they are written and as a model wants to see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import InputError
from .encodings import RGB, BoolMask, Box, Floats
from .prompting import Prompt


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, whole or in part, as a term of a query.

    At most one of box, points and mask may be given; none means the whole picture.

    Args:
        source: a path, an http(s) URL, or an upright (H, W, 3) uint8 RGB array.
        box: x0, y0, x1, y1 in pixels of the upright picture.
        points: (x, y) pixels on the thing that is meant.
        background: (x, y) pixels that do not belong to it; only with points.
        mask: path of a picture whose non-zero pixels mark the part, or an (H, W) bool array.
        weight: of its entity in the score, 0.001 to 1000.
    """

    source: str | Path | RGB
    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    background: tuple[tuple[float, float], ...] = ()
    mask: str | Path | BoolMask | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        marks = {"box": self.box is not None, "points": bool(self.points), "mask": self.mask is not None}
        given = [name for name, there in marks.items() if there]
        if len(given) > 1:
            raise InputError(f"picture part has {' and '.join(given)}, expected one of box, points, mask")
        if self.background and not self.points:
            raise InputError("picture part has background points only, expected at least one point on the thing")
        check_weight(self.weight)


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo that is already indexed, by id."""

    photo_id: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RegionRef:
    """A stored region of an indexed photo: photo id and ordinal (0 is the best proposal)."""

    photo_id: int
    ordinal: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Entity:
    """A phrase that asks for a mask."""

    text: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("entity is empty, expected a phrase such as [a dog]")
        check_weight(self.weight)


Term: TypeAlias = Entity | Picture | PhotoRef | RegionRef


@dataclass(frozen=True, slots=True)
class Not:
    """Something that should not be in the photo. A bare string stands for `Entity(text)`."""

    term: Term

    def __init__(self, term: Term | str) -> None:
        object.__setattr__(self, "term", Entity(term) if isinstance(term, str) else term)


Part: TypeAlias = str | Entity | Picture | PhotoRef | RegionRef | Not


SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.001, 1000.0


def check_weight(weight: float) -> None:
    """InputError for the weight of an entity or negative that is out of range."""
    if not SMALLEST_WEIGHT <= weight <= LARGEST_WEIGHT:
        raise InputError(f"weight is {weight}, expected 0.001 to 1000; use -[...] for what should be absent")


PartKind = Literal["text", "picture", "region"]


@dataclass(frozen=True, slots=True)
class ResolvedPart:
    """One part of a query with its pixels fetched, as an interface wants it.

    Attributes:
        role: ``caption`` is plain text, ``entity`` a bracketed part, ``negative`` one inside ``Not``.
        kind: ``text``, ``picture`` (whole) or ``region`` (a part of a picture, or a stored region).
        label: the phrase, or the part as it is written in a query.
        photo: upright pixels of the picture, or None (text, or neither original nor thumbnail is left).
        mask: (H, W) bool of the marked part at the size of `photo`; None is the whole picture.
        background: (H, W) bool of background points, or None.
        vector: (D,) float32 stored embedding when the part is already indexed, else None.
        weight: of the entity in the score.
        prompt: how a user marked the part, as a promptable segmenter takes it; None for what nobody marked: text, whole
            pictures and stored regions.
    """

    role: Literal["caption", "entity", "negative"]
    kind: PartKind
    label: str
    photo: RGB | None = None
    mask: BoolMask | None = None
    background: BoolMask | None = None
    vector: Floats | None = None
    weight: float = 1.0
    prompt: Prompt | None = None


ResolvedQuery: TypeAlias = tuple[ResolvedPart, ...]
