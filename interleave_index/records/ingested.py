"""What an ingest finds out about files, and its report."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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
            "added": self.added,
            "changed": self.changed,
            "present": self.present,
            "moved": self.moved,
            "duplicate": self.duplicate,
            "missing": self.missing,
            "failed": [{"path": f.path, "reason": f.reason, "detail": f.detail} for f in self.failed],
            "photos_per_s": self.photos_per_s,
            "seconds": dict(self.seconds),
        }
