"""The files of photos as they lie on the disk: checked by content once, then read in pieces, from the middle too."""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ..errors import BackendMissing, RemoteError
from ..paths import is_url
from ..records import Photo
from ..regular import open_regular
from .gate import Gate
from .problems import Refused

PIECE = 2**18  # bytes that are read at once
CHECKED = 5000  # files whose content is known not to have changed
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, from the first to the one after the last."""

    start: int
    end: int


class Originals:
    """Opens the files of photos while their content is the one that was taken in.

    A file is hashed the first time; after that its size, its times and its number on the disk stand for its content. An
    object in a store is copied, and its copy hashed, each time.
    """

    def __init__(self, *, offline: bool = False) -> None:
        self._offline = offline
        self._checked: OrderedDict[tuple[str, int, int, int, int, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, photo: Photo) -> io.BufferedReader:
        """The open file.

        Raises:
            Refused: 410, it is gone, or something else lies at its path now; 503, its store cannot be used.
        """
        gone = Refused(410, f"the file of photo {photo.id} is gone or was changed; its thumbnail is left")
        if photo.path is None:
            raise gone
        if self._offline and is_url(photo.path):
            raise Refused(503, f"the file of photo {photo.id} is on the network, but this server is offline")
        try:
            file = open_regular(photo.path)
        except (RemoteError, BackendMissing) as error:
            raise Refused(503, str(error)) from error
        except (OSError, ValueError):
            raise gone from None
        try:
            if self._is_same(file, photo.sha256):
                return file
        except OSError:
            pass
        file.close()
        raise gone

    def _is_same(self, file: io.BufferedReader, sha256: str) -> bool:
        facts = os.fstat(file.fileno())
        key = (sha256, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
        with self._lock:
            if key in self._checked:
                self._checked.move_to_end(key)
                return True
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return False
        with self._lock:
            self._checked[key] = None
            while len(self._checked) > CHECKED:
                self._checked.popitem(last=False)
        return True


def span_of(header: str, size: int) -> Span | None:
    """The bytes that a Range header asks for; None for all of them, since a server may ignore what it does not do.

    Raises:
        Refused: 416, none of them are there.

    >>> span_of("bytes=0-9", 100), span_of("bytes=90-", 100), span_of("bytes=-5", 100), span_of("bytes=0-1,4-5", 100)
    (Span(start=0, end=10), Span(start=90, end=100), Span(start=95, end=100), None)
    """
    asked = _RANGE.fullmatch(header.strip())
    if asked is None or not (asked[1] or asked[2]):
        return None
    if not asked[1]:
        span = Span(max(0, size - int(asked[2])), size)
    else:
        start = int(asked[1])
        if asked[2] and int(asked[2]) < start:
            return None
        span = Span(start, min(int(asked[2]) + 1, size) if asked[2] else size)
    if span.start >= span.end:
        refused = Refused(416, f"the file has {size} bytes, expected a range within them")
        refused.headers["Content-Range"] = f"bytes */{size}"
        raise refused
    return span


async def answer_file(
    request: Request, gate: Gate, file: io.BufferedReader, headers: dict[str, str], kind: str
) -> Response:
    """The file, or the range of it that is asked for; it is closed at the end.

    Args:
        headers: of the answer, with its ETag.
        kind: media type.
    """
    try:
        size = os.fstat(file.fileno()).st_size
        wanted = request.headers.get("range", "") if _range_holds(request, headers["ETag"]) else ""
        span = span_of(wanted, size)
    except Refused:
        file.close()
        raise
    status = 200
    headers = headers | {"Accept-Ranges": "bytes"}
    if span is None:
        span = Span(0, size)
    else:
        status = 206
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size}"
    headers["Content-Length"] = str(span.end - span.start)
    if request.scope["caller"].head:
        file.close()
        return Response(status_code=status, media_type=kind, headers=headers)
    return StreamingResponse(_pieces(gate, file, span), status_code=status, media_type=kind, headers=headers)


def _range_holds(request: Request, tag: str) -> bool:
    """Whether the file is still the one of which the client has a part."""
    return request.headers.get("if-range", tag) == tag


async def _pieces(gate: Gate, file: io.BufferedReader, span: Span) -> AsyncIterator[bytes]:
    try:
        at = span.start
        while at < span.end:
            count = min(PIECE, span.end - at)
            data = await gate.file(lambda at=at, count=count: os.pread(file.fileno(), count, at))  # type: ignore[misc]
            if not data:
                return  # it has become shorter: the client sees that bytes are missing
            at += len(data)
            yield data
    finally:
        file.close()
