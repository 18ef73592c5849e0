"""Frozen nouns that travel between the rooms. Knows numpy and nothing of models, SQL or files.

Arrays inside records are never written to after the record is made. Boxes are
``(x0, y0, x1, y1)`` floats, half-open, in pixels of the upright photo; sizes are ``(height, width)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

RGB: TypeAlias = NDArray[np.uint8]  # (H, W, 3), upright, sRGB
BoolMask: TypeAlias = NDArray[np.bool_]  # (H, W)
Floats: TypeAlias = NDArray[np.float32]
Box: TypeAlias = tuple[float, float, float, float]

REGIONS_PER_PHOTO = 256  # region id = photo id * 256 + ordinal


def region_id(photo_id: int, ordinal: int) -> int:
    """Id of a stored region; it names its photo without a look-up.

    >>> region_id(1234, 7), divmod(315911, 256)
    (315911, (1234, 7))
    """
    if not 0 <= ordinal < REGIONS_PER_PHOTO:
        raise InputError(f"region ordinal is {ordinal}, expected 0 to {REGIONS_PER_PHOTO - 1}")
    return photo_id * REGIONS_PER_PHOTO + ordinal


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask as COCO run lengths in their compressed form (column-major, zeros first).

    Attributes:
        size: (height, width) of the mask.
        counts: COCO's compressed run lengths, ASCII.
    """

    size: tuple[int, int]
    counts: str

    def decode(self) -> BoolMask:
        """The mask, (H, W) bool, freshly made."""
        from pycocotools import mask as coco

        mask: BoolMask = coco.decode({"size": list(self.size), "counts": self.counts.encode("ascii")}).astype(bool)
        return mask

    def to_json(self) -> dict[str, Any]:
        """``{"size": [h, w], "counts": "..."}``, as pycocotools reads it."""
        return {"size": list(self.size), "counts": self.counts}


# --- what a model makes of a photo -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Space:
    """One embedding space: vectors of two spaces are never compared.

    Attributes:
        interface: name of the interface and checkpoint, such as ``find-mini``.
        checkpoint: sha256 of the weights, hex.
        preprocessing: how a photo becomes the model's input, in one line.
        dim: D, length of every embedding.
    """

    interface: str
    checkpoint: str
    preprocessing: str
    dim: int


@dataclass(frozen=True, slots=True)
class PhotoEncoding:
    """Everything the store keeps of one photo in one space.

    Attributes:
        image: (D,) float32, unit length.
        regions: (R, D) float32, unit length, best proposal first; R may be 0.
        boxes: (R, 4) float32, x0 y0 x1 y1 in pixels of the upright photo.
        areas: (R,) float32, share of the photo that the mask covers, 0 to 1.
        scores: (R,) float32, predicted quality, 0 to 1.
        masks: R masks in the photo's aspect, long side at most 512.
        grounding: what the interface wants kept to ground this photo again without its pixels, or None.
    """

    image: Floats
    regions: Floats
    boxes: Floats
    areas: Floats
    scores: Floats
    masks: tuple[Rle, ...]
    grounding: bytes | None = None


@dataclass(frozen=True, slots=True)
class QueryEncoding:
    """Vectors of a query in one space, unit length, in the order of its entities and negatives.

    Attributes:
        legend: (D,) float32, the whole sentence.
        entities: (E, D) float32.
        negatives: (N, D) float32.
    """

    legend: Floats
    entities: Floats
    negatives: Floats


@dataclass(frozen=True, slots=True)
class GroundedMask:
    """One mask that an interface found for one entity by looking at the photo.

    Attributes:
        entity: position of the entity among the query's entities (negatives not counted), 0-based.
        mask: (H, W) of the upright photo.
        box: of the mask.
        score: cosine of the entity with the masked region, -1 to 1.
    """

    entity: int
    mask: Rle
    box: Box
    score: float


# --- the parts of a query --------------------------------------------------------------------


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
        weight: of its entity in the score, above 0.
    """

    source: str | Path | RGB
    box: Box | None = None
    points: tuple[tuple[float, float], ...] = ()
    background: tuple[tuple[float, float], ...] = ()
    mask: str | Path | BoolMask | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        given = [name for name in ("box", "points", "mask") if getattr(self, name) not in (None, ())] if not isinstance(
            self.mask, np.ndarray) else ["mask"] + [n for n in ("box", "points") if getattr(self, n) not in (None, ())]
        if len(given) > 1:
            raise InputError(f"picture part has {' and '.join(given)}, expected one of box, points, mask")
        if self.background and not self.points:
            raise InputError("picture part has background points only, expected at least one point on the thing")
        _check_weight(self.weight)


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
        _check_weight(self.weight)


Term: TypeAlias = Entity | Picture | PhotoRef | RegionRef


@dataclass(frozen=True, slots=True)
class Not:
    """Something that should not be in the photo. A bare string stands for `Entity(text)`."""

    term: Term

    def __init__(self, term: Term | str) -> None:
        object.__setattr__(self, "term", Entity(term) if isinstance(term, str) else term)


Part: TypeAlias = str | Entity | Picture | PhotoRef | RegionRef | Not


def _check_weight(weight: float) -> None:
    if not (np.isfinite(weight) and weight > 0):
        raise InputError(f"weight is {weight}, expected a number above 0; use -[...] for what should be absent")


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
    """

    role: Literal["caption", "entity", "negative"]
    kind: PartKind
    label: str
    photo: RGB | None = None
    mask: BoolMask | None = None
    background: BoolMask | None = None
    vector: Floats | None = None
    weight: float = 1.0


ResolvedQuery: TypeAlias = tuple[ResolvedPart, ...]


# --- answers ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Photo:
    """One distinct picture of the collection.

    Attributes:
        id: never used twice in one index.
        path: a present location if there is one, else the last known, else None; names that are not
            UTF-8 carry surrogate escapes, as `os.fsdecode` makes them.
        width, height: pixels of the upright photo.
        format: of the file's content, such as ``JPEG``.
        phash: 64-bit DCT perceptual hash, unsigned, or None.
    """

    id: int
    path: str | None
    width: int
    height: int
    format: str = ""
    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    sha256: str = ""
    phash: int | None = None


@dataclass(frozen=True, slots=True)
class Grounding:
    """How an entity was tied to a hit.

    Attributes:
        source: ``stored`` (a stored region), ``exact`` (the interface looked again), ``none``.
        present: whether the entity passes the presence threshold of the space.
        score: the score that was judged.
    """

    source: Literal["stored", "exact", "none"]
    present: bool
    score: float


@dataclass(frozen=True, slots=True)
class Region:
    """One masked part of a photo. `region_id` is None for a mask made at query time."""

    region_id: int | None
    score: float
    box: Box
    rle: Rle


@dataclass(frozen=True, slots=True)
class EntityHit:
    """What one entity of the query found in one photo."""

    text: str
    kind: PartKind
    negative: bool
    weight: float
    score: float
    grounding: Grounding
    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked answer. `relevance` is calibrated, 0 to 1; `stack` names photos folded into this hit."""

    rank: int
    photo: Photo
    score: float
    relevance: float
    entities: tuple[EntityHit, ...] = ()
    stack: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The hit as plain JSON values; see docs/cli.md for the frozen form."""
        return {
            "rank": self.rank, "photo_id": self.photo.id, "path": self.photo.path, "score": self.score,
            "relevance": self.relevance,
            "stack": {"count": 1 + len(self.stack), "photo_ids": [self.photo.id, *self.stack]},
            "entities": [
                {"text": e.text, "kind": e.kind, "negative": e.negative, "weight": e.weight, "score": e.score,
                 "grounding": {"source": e.grounding.source, "present": e.grounding.present,
                               "score": e.grounding.score},
                 "regions": [{"region_id": r.region_id, "score": r.score, "box": list(r.box),
                              "mask": r.rle.to_json()} for r in e.regions]}
                for e in self.entities],
        }


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Hit]):
    """Ranked hits of one query; a sequence of `Hit`, best first, ties by photo id.

    Attributes:
        query: the query in its string form.
        path: ``exact`` when every eligible photo was scored, ``ann`` when candidates came from FAISS.
        hits: best first.
        notes: what the caller should know, such as stored vectors that stood in for lost pixels.
        cutoff: relevance under which a hit is unlikely to be meant.
    """

    query: str
    path: Literal["exact", "ann"]
    hits: tuple[Hit, ...]
    notes: tuple[str, ...] = ()
    cutoff: float = 0.5

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values; the form is frozen, see docs/cli.md."""
        return {"query": self.query, "path": self.path, "hits": [hit.to_json() for hit in self.hits]}


@dataclass(frozen=True, slots=True)
class Filters:
    """SQL-side facts that a hit must have; None and empty mean any.

    Attributes:
        after, before: bounds on the time taken; after is inclusive, before exclusive.
        camera: case-insensitive part of the camera's name.
        near: latitude and longitude in degrees, radius in kilometres (great circle).
        folder: photos with a location in this folder or below.
        include_missing: also photos that have no present location.
    """

    after: datetime | None = None
    before: datetime | None = None
    camera: str | None = None
    near: tuple[float, float, float] | None = None
    folder: Path | None = None
    include_missing: bool = False


# --- ingest ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What ingest knows of one distinct picture before any model sees it (columns of `photo`)."""

    sha256: str
    width: int
    height: int
    format: str
    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    phash: int | None = None


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be read: path, error class of ours, and one line of detail."""

    path: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one run did. Counts are files; seconds are wall time of this process by stage.

    `interrupted` tells a run that was asked to stop before its end; it is not part of the JSON form.
    """

    added: int = 0
    changed: int = 0
    present: int = 0
    moved: int = 0
    duplicate: int = 0
    missing: int = 0
    failed: tuple[FailedFile, ...] = ()
    photos_per_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "decode": 0.0, "model": 0.0, "write": 0.0})
    interrupted: bool = False

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values; the form is frozen, see docs/cli.md."""
        return {
            "added": self.added, "changed": self.changed, "present": self.present, "moved": self.moved,
            "duplicate": self.duplicate, "missing": self.missing,
            "failed": [{"path": f.path, "reason": f.reason, "detail": f.detail} for f in self.failed],
            "photos_per_s": self.photos_per_s, "seconds": dict(self.seconds),
        }
