"""The mark in what this program writes (masks, heat maps, painted photos, pages), so that it is known again.

A PNG carries it as a text chunk, a JPEG as a comment, a page as its generator; pixels are untouched. Knows these forms
and nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARK = "interleave-index"  # keyword of the text chunk, beginning of the comment
HEAD_BYTES = 64 * 1024  # the mark stands before the pixels, within so many bytes
PAGE_MARK = f'<meta name="generator" content="{MARK}">'
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_COMMENT, _START_OF_SCAN = 0xFE, 0xDA


def png_options(kind: str) -> dict[str, Any]:
    """Keyword arguments for Pillow's `save` that mark a PNG.

    Args:
        kind: what the picture is, such as ``mask``.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(MARK, kind)
    return {"pnginfo": info}


def jpeg_options(kind: str) -> dict[str, Any]:
    """Keyword arguments for Pillow's `save` that mark a JPEG.

    >>> jpeg_options("painted")
    {'comment': b'interleave-index: painted'}
    """
    return {"comment": f"{MARK}: {kind}".encode("ascii")}


def is_marked(head: bytes) -> bool:
    """Whether a picture was written by this program, by the first `HEAD_BYTES` of its file.

    >>> is_marked(b"not a picture")
    False
    """
    if head.startswith(_PNG):
        keyword = MARK.encode("ascii") + b"\0"
        return any(kind == b"tEXt" and data.startswith(keyword) for kind, data in _png_chunks(head))
    if head.startswith(_JPEG):
        comment = f"{MARK}:".encode("ascii")
        return any(kind == _COMMENT and data.startswith(comment) for kind, data in _jpeg_segments(head))
    return False


def is_marked_page(head: bytes) -> bool:
    """Whether a page was written by this program, by the first `HEAD_BYTES` of its file.

    >>> is_marked_page(f"<!DOCTYPE html><html><head>{PAGE_MARK}".encode()), is_marked_page(b"<html>")
    (True, False)
    """
    return PAGE_MARK.encode("ascii") in head[:HEAD_BYTES].partition(b"</head>")[0]


def is_marked_file(path: Path | str) -> bool:
    """`is_marked` for a file.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return is_marked(file.read(HEAD_BYTES))


def _png_chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and data of every chunk before the pixels."""
    at = len(_PNG)
    while at + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, at)
        if kind == b"IDAT":
            return
        yield kind, head[at + 8 : at + 8 + length]
        at += 12 + length


def _jpeg_segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and data of every segment before the pixels."""
    at = len(_JPEG)
    while at + 4 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], struct.unpack_from(">H", head, at + 2)[0]
        if marker == _START_OF_SCAN:
            return
        yield marker, head[at + 4 : at + 2 + length]
        at += 2 + length
