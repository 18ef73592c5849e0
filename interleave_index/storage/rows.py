"""Frozen records of storage: what goes into a transaction and what comes out. Knows no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Floats, PhotoEncoding, PhotoFacts, Space

Ids: TypeAlias = NDArray[np.int64]
LocationState = Literal["present", "missing", "failed"]
SpaceState = Literal["building", "active", "retired"]


def now() -> datetime:
    """The present moment as every table keeps it: UTC, without a time zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """One embedding space of the catalog and how many photos are encoded in it."""

    id: int
    space: Space
    state: SpaceState
    encodings: int


@dataclass(frozen=True, slots=True)
class KnownLocation:
    """What the catalog knows of one path.

    Attributes:
        photo_id: None when the file could not be read.
        bytes, mtime_ns: of the file when it was last looked at.
        encoded: its photo has an encoding in the space that was asked about.
        sha256: of the photo's content, or None.
        reason, detail: why it failed, or None.
        pixels: hash of the photo's pixels, or None where none is kept.
        text_read: its file was searched for text.
    """

    photo_id: int | None
    bytes: int
    mtime_ns: int
    state: LocationState
    encoded: bool
    sha256: str | None = None
    reason: str | None = None
    detail: str | None = None
    pixels: str | None = None
    text_read: bool = False


@dataclass(frozen=True, slots=True)
class ShaKnown:
    """What the catalog knows of one content. `present_paths` counts its present locations."""

    photo_id: int
    encoded: bool
    present_paths: int


@dataclass(frozen=True, slots=True)
class PhotoWrite:
    """One distinct picture to keep. `encoding` None keeps facts only; `replace` encodes a known photo again."""

    facts: PhotoFacts
    encoding: PhotoEncoding | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class LocationWrite:
    """One path and the state it is in now.

    Attributes:
        path: absolute, as `os.fsdecode` makes it.
        sha256: content of the file; needed for ``present``, None for ``failed``.
        reason: name of an error class of ours, for ``failed``.
        detail: one line for people, for ``failed``.
        moved_from: path where the file was before a move; its row goes in the same transaction.
    """

    path: str
    sha256: str | None
    bytes: int
    mtime_ns: int
    state: LocationState = "present"
    reason: str | None = None
    detail: str | None = None
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """What one transaction writes: photos with their encodings in one space, and locations."""

    space_id: int
    photos: Sequence[PhotoWrite] = ()
    locations: Sequence[LocationWrite] = ()


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """What one transaction changed: new photos, new or replaced encodings, new and updated locations."""

    photos: int = 0
    encodings: int = 0
    locations_added: int = 0
    locations_updated: int = 0


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Vectors of some photos in one space, float32, the regions of photo i at ``offsets[i]:offsets[i + 1]``.

    Attributes:
        photo_ids: (N,) int64, in the order that was asked for.
        image: (N, D).
        regions: (sum R, D), best proposal first within a photo.
        offsets: (N + 1,) int64.
        boxes: (sum R, 4), x0 y0 x1 y1 in pixels of the upright photo.
        areas, scores: (sum R,), 0 to 1.
    """

    photo_ids: Ids
    image: Floats
    regions: Floats
    offsets: Ids
    boxes: Floats
    areas: Floats
    scores: Floats


@dataclass(frozen=True, slots=True)
class Check:
    """One named check of `verify`: whether it holds, and what was found."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was taken out: photos of which no location is left, and locations."""

    photos: int
    locations: int


@dataclass(frozen=True, slots=True)
class Prunable:
    """What `prune` would take out.

    Attributes:
        photos: those of which no location is left.
        locations: missing ones.
        texts: missing text sources.
        waiting: missing locations and texts that are not missing for long enough.
        gone_folders: folders of which nothing is left, and how many missing files each held; such a folder may be a
            drive that is not mounted just now.
    """

    photos: int
    locations: int
    gone_folders: tuple[tuple[str, int], ...]
    texts: int = 0
    waiting: int = 0


ExclusionKind = Literal["file", "folder", "content"]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Something that was forgotten for good: a file, all below a folder, or a content (by sha256).

    Attributes:
        name: the path, or the sha256 of a content.
        shown: for people: the path, or where the content lay.
    """

    kind: ExclusionKind
    name: str
    shown: str
