"""What an ingest finds out about files, and its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from .texts import SourceText


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What ingest knows of one distinct picture before any model sees it (columns of `photo`).

    Attributes:
        pixels: hash of the decoded pixels, by which an edit of a file's facts is told from one of its picture.
        text: what is written inside the file, perhaps nothing; None where it was not looked for.
    """

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
    pixels: str | None = None
    text: SourceText | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """One path of a photo; `present` is whether a file was there when the folder was last taken in.

    `kind` tells the photo's own files from those of the same shot, which are not read: a raw file beside its JPEG or
    HEIF, and the film of a live photo.
    """

    path: str
    present: bool
    kind: Literal["photo", "raw", "film"] = "photo"


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that could not be read: path, error class of ours, and one line of detail.

    `new` is False for a file that failed in an earlier run and has not changed since.
    """

    path: str
    reason: str
    detail: str
    new: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Unmounted:
    """A folder that looks like a disk which is not there just now, so that its photos were not called missing.

    Attributes:
        photos: photos that were not met.
        why: what makes it look so, in words.
    """

    path: str
    photos: int
    why: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one run did. Counts are files; seconds are wall time of this process by stage.

    `not_read` counts, by kind, what was passed over on purpose: films, hidden files, raw files beside their JPEG, what
    was forgotten, and so on. `interrupted` tells a run that was asked to stop before its end; it is not part of the
    JSON form. `texts` counts text sources (seen, read anew, missing) and passages that were encoded. `unmounted` names
    folders that look like disks which are not there.
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
    not_read: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    unmounted: tuple[Unmounted, ...] = ()

    @property
    def new_failures(self) -> tuple[FailedFile, ...]:
        """Files that failed in this run and not before."""
        return tuple(failed for failed in self.failed if failed.new)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values; the form is frozen, see docs/cli.md."""
        return {
            "added": self.added,
            "changed": self.changed,
            "present": self.present,
            "moved": self.moved,
            "duplicate": self.duplicate,
            "missing": self.missing,
            "failed": [{"path": f.path, "reason": f.reason, "detail": f.detail, "new": f.new} for f in self.failed],
            "photos_per_s": self.photos_per_s,
            "seconds": dict(self.seconds),
            "not_read": dict(self.not_read),
            "texts": dict(self.texts),
            "unmounted": [{"path": root.path, "photos": root.photos, "why": root.why} for root in self.unmounted],
        }
