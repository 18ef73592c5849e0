"""Pictures by path, URL, stream or pixels, for the service and for commands without an index."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from ..config import Config
from ..errors import ImageUnreadable, InputError
from ..paths import user_path
from ..records import RGB, Photo


def load_picture(source: Path | str | RGB, config: Config) -> RGB:
    """A picture from a path, an http(s) URL (not when offline) or an array, upright (H, W, 3) uint8.

    Raises:
        ImageUnreadable, ImageTooLarge.
    """
    from ..ingest import decode

    most = config.ingest.max_pixels
    if not isinstance(source, str | Path):
        return decode.load_picture(source, max_pixels=most)
    path = user_path(source)
    data = _stream_bytes(path)
    if data is not None:
        return decode.decode(data, max_pixels=most).rgb
    return decode.load_picture(path, offline=config.models.offline, max_pixels=most)


@cache
def _stream_bytes(path: str) -> bytes | None:
    """What an open stream of this process holds, such as ``/dev/stdin`` behind a pipe; None for every other path.

    A stream can be read once, so its bytes are kept.
    """
    if not path.startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")) or os.path.isfile(path):
        return None
    from ..ingest.decode import read_stream

    try:
        with open(path, "rb") as stream:
            return read_stream(stream)
    except OSError as error:
        raise ImageUnreadable(f"picture {path!r} cannot be read: {error.strerror or error}") from error
    except InputError as error:
        raise type(error)(f"picture {path!r}: {error}") from error


def stranger(source: Path | str | RGB, rgb: RGB) -> Photo:
    """Facts of a picture that is not in the index: id 0."""
    path = os.fspath(source) if isinstance(source, str | Path) else None
    return Photo(id=0, path=path, width=int(rgb.shape[1]), height=int(rgb.shape[0]))
