"""Original files of several photos as one ZIP, made while it is sent: memory holds a piece of one file, however many.

What has gone or changed since it was taken in is left out, and a text at the end of the archive names it. Knows photos
and files; no routes.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import stat
import threading
import time
import unicodedata
import zipfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..export.files import printable
from ..paths import is_url
from ..records import Photo
from ..remote import facts_of
from .gate import Gate
from .originals import PIECE, Originals
from .problems import Refused

AT_ONCE = 16  # files that are looked at
HELD = 256  # lists of photos; each is at most 5,000 numbers
KEPT_SECONDS = 900.0
LACKING = "not in this archive.txt"
LONGEST_STEM = 180  # bytes of a name before its ending; systems allow 255 in all
FIRST_TIME, LAST_TIME = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # that a ZIP can tell
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]')  # of one system or another
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # on Windows


class Downloads:
    """Lists of photos that clients are about to download, held for a quarter of an hour under names nobody guesses."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[float, tuple[int, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def hold(self, photo_ids: Iterable[int]) -> str:
        """The name of a new list; the oldest goes when there are too many."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._held[name] = time.monotonic(), tuple(photo_ids)
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return name

    def get(self, name: str) -> tuple[int, ...]:
        """The ids of a list; Refused with 410 when it is not held any more."""
        self.sweep()
        with self._lock:
            if name not in self._held:
                raise Refused(410, f"download {name[:40]!r} is not held any more; ask for the photos again")
            return self._held[name][1]

    def sweep(self) -> None:
        """Let those go whose time is over."""
        now = time.monotonic()
        with self._lock:
            while self._held and now - next(iter(self._held.values()))[0] > KEPT_SECONDS:
                self._held.popitem(last=False)


def sizes_of(photos: Sequence[Photo], *, offline: bool = False) -> dict[int, int | None]:
    """Bytes of the photos' files by id; None where there is none, and for stores while `offline`.

    Their content is not looked at yet.

    Raises:
        RemoteError, BackendMissing: they lie in a store that cannot be used.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:  # stores answer many requests as fast as one
        sizes = pool.map(lambda photo: None if offline and is_url(photo.path) else _size_of(photo), photos)
        return dict(zip([photo.id for photo in photos], sizes, strict=True))


def _size_of(photo: Photo) -> int | None:
    if photo.path is None:
        return None
    if is_url(photo.path):
        try:
            return facts_of(photo.path).bytes
        except OSError:
            return None
    try:
        facts = os.stat(photo.path)
    except (OSError, ValueError):
        return None
    return facts.st_size if stat.S_ISREG(facts.st_mode) else None


def names_of(photos: Sequence[Photo], taken: Iterable[str] = (LACKING,)) -> list[str]:
    """File names of photos, each once, whatever of letter case and accents a disk tells apart, and fit for any system.

    Args:
        photos: equal names get numbers in this order.
        taken: names that are not to be given.
    """
    last: dict[str, int] = {_key(name): 1 for name in taken}
    names: list[str] = []
    for photo in photos:
        stem, ending = os.path.splitext(_fit(Path(photo.path or f"photo-{photo.id}").name))
        stem = stem.encode()[:LONGEST_STEM].decode(errors="ignore")
        ending = ending if len(ending) < 20 else ""
        name = stem + ending
        number = last.get(_key(name), 0)
        while _key(name) in last:
            number += 1
            last[_key(stem + ending)] = number
            name = f"{stem} ({number}){ending}"
        last[_key(name)] = 1
        names.append(name)
    return names


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _fit(name: str) -> str:
    """A file name that every system takes; nothing in it leads to another folder."""
    plain = _NOT_IN_NAMES.sub("_", printable(unicodedata.normalize("NFC", name))).strip(" .") or "photo"
    return f"_{plain}" if _RESERVED.fullmatch(plain) else plain


async def archive_of(gate: Gate, originals: Originals, photos: Sequence[Photo]) -> AsyncIterator[bytes]:
    """The bytes of a ZIP of the photos' files, stored as they are, since photos do not get smaller.

    Raises:
        Refused: 503, the disk with the photos does not answer; what was sent so far is no whole archive.
    """
    sink = _Sink()
    lacking: list[str] = []
    with contextlib.closing(zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED)) as archive:
        for photo, name in zip(photos, names_of(photos), strict=True):
            try:
                file = await gate.file(lambda photo=photo: originals.open(photo))  # type: ignore[misc]
            except Refused as refused:
                if refused.status != 410:
                    raise
                lacking.append(f"{printable(str(photo.path))}: {refused.detail}")
                continue
            facts, sent = os.fstat(file.fileno()), 0
            with file, archive.open(_entry(name, facts), "w") as member:
                while sent < facts.st_size:
                    data = await gate.file(lambda: _piece(file, sent, facts.st_size))  # noqa: B023
                    if not data:
                        lacking.append(f"{printable(str(photo.path))}: it became shorter while it was read")
                        break
                    member.write(data)
                    sent += len(data)
                    yield sink.taken()
        if lacking:
            archive.writestr(_entry(LACKING), "\r\n".join(lacking) + "\r\n")
    yield sink.taken()


def _piece(file: io.BufferedReader, at: int, end: int) -> bytes:
    return os.pread(file.fileno(), min(PIECE, end - at), at)


def _entry(name: str, facts: os.stat_result | None = None) -> zipfile.ZipInfo:
    """What a ZIP says of a file; the size decides whether its entry needs the form for more than 4 GiB."""
    moment = time.localtime(None if facts is None else max(0, min(facts.st_mtime, 2**32)))[:6]
    entry = zipfile.ZipInfo(name, min(max(moment, FIRST_TIME), LAST_TIME))
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.file_size = 0 if facts is None else facts.st_size
    return entry


class _Sink:
    """What `zipfile` writes to: it cannot be gone back in, and what was written is taken out piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep bytes until they are taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """There is nothing to close."""

    def taken(self) -> bytes:
        """All bytes since the last time."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
