"""Pictures of queries, held in memory for a while under names that nobody can guess. Never written to the disk."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from ..errors import NotInIndex
from ..records import RGB
from .settings import ServeSettings

LONG_SIDE = 1000  # a larger picture is shrunk by a whole factor while its long side stays at least this
PREVIEW_SIDE = 1024  # pixels of what the page shows
KEPT_SECONDS = 3600.0
JPEG_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Upload:
    """One picture of a query.

    Attributes:
        name: under which requests name it.
        rgb: (H, W, 3) uint8, upright; smaller than the picture where that is large.
        width, height: pixels of the whole upright picture, in which boxes and points are given.
        preview: a JPEG.
    """

    name: str
    rgb: RGB
    width: int
    height: int
    preview: bytes
    made: float

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return int(self.rgb.nbytes) + len(self.preview)


class Uploads:
    """The pictures that are held; those unused for longest fall out when there are too many bytes of them."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._held: OrderedDict[str, Upload] = OrderedDict()
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(2)  # large pictures at once

    def __len__(self) -> int:
        return len(self._held)

    @property
    def held_bytes(self) -> int:
        """Of all pictures together."""
        return sum(upload.bytes for upload in list(self._held.values()))

    def take(self, data: bytes) -> Upload:
        """Decode a picture and hold it.

        Raises:
            ImageUnreadable, ImageTooLarge: what cannot be used, and why.
        """
        from ..ingest.decode import decode

        with self._decoding:
            found = decode(data, max_pixels=self._settings.upload_pixels, long_side=LONG_SIDE)
            preview = jpeg(found.rgb, PREVIEW_SIDE)
        upload = Upload(
            f"u-{secrets.token_urlsafe(12)}", found.rgb, found.width, found.height, preview, time.monotonic()
        )
        with self._lock:
            self._held[upload.name] = upload
            self._sweep(upload.made)
        return upload

    def get(self, name: str) -> Upload:
        """The picture of this name.

        Raises:
            NotInIndex: there is none, or not any more.
        """
        with self._lock:
            self._sweep(time.monotonic())
            if name not in self._held:
                raise NotInIndex(f"there is no upload {name[:80]!r}, or not any more; send the picture again")
            self._held.move_to_end(name)
            return self._held[name]

    def drop(self, name: str) -> None:
        """Forget one now."""
        with self._lock:
            self._held.pop(name, None)

    def sweep(self) -> None:
        """Let those go whose time is over."""
        with self._lock:
            self._sweep(time.monotonic())

    def _sweep(self, now: float) -> None:
        for name in [name for name, upload in self._held.items() if now - upload.made > KEPT_SECONDS]:
            del self._held[name]
        while len(self._held) > 1 and self.held_bytes > self._settings.uploads_bytes:
            self._held.popitem(last=False)


def jpeg(rgb: RGB, long_side: int) -> bytes:
    """The picture as a JPEG with at most this long side."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(rgb))
    image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
