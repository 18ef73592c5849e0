"""Files that show the same, as `Index.duplicates` lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Copy:
    """One file of an indexed photo: where it lies, its size in bytes, and the size of its picture in pixels."""

    photo_id: int
    path: str
    bytes: int
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        """The file as plain JSON values; see docs/cli.md."""
        return {
            "photo_id": self.photo_id,
            "path": self.path,
            "bytes": self.bytes,
            "width": self.width,
            "height": self.height,
        }


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Files of one content (`exact`), or photos that look the same at a glance (`near`).

    Attributes:
        kept: the one to keep. Of equal files it is the one by which the photo is shown; of photos that look the same
            the one with the most pixels, then the most bytes.
        others: the rest, by path.
    """

    kind: Literal["exact", "near"]
    kept: Copy
    others: tuple[Copy, ...]

    def to_json(self) -> dict[str, Any]:
        """The group as plain JSON values; see docs/cli.md."""
        return {"kind": self.kind, "kept": self.kept.to_json(), "others": [copy.to_json() for copy in self.others]}
