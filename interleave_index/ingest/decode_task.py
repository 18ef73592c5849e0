"""What is done with one file: read, hash, decode, thumbnail, perceptual hash. Never sees a database or a model."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import remote
from ..errors import ImageTooLarge, ImageUnreadable, InputError, RemoteError
from ..marks import HEAD_BYTES, is_marked, is_marked_file
from ..records import RGB, PhotoFacts
from ..records.texts import SourceText
from ..regular import os_words, sha256_of
from .decode import MAX_FILE_BYTES, Decoded, decode, read_file, read_text
from .file_dates import date_beside
from .phash import phash
from .scan import file_time
from .thumbnail import shrink, thumbnail_file, write_thumbnail


@dataclass(frozen=True, slots=True)
class Recipe:
    """What every file of a run is put through.

    Attributes:
        thumbnails: folder of the thumbnails.
        max_pixels: a picture with more is a failure.
        long_side: see `decode`.
        thumbnail_side: long side of a thumbnail.
        bare: decode and do nothing else, to measure what the rest costs.
        forgotten: contents (sha256) of which nothing may be kept.
        forgotten_pixels: hashes of their pixels: an edit of such a file's facts is left out as well.
        texts: keep what is written inside the files.
    """

    thumbnails: str
    max_pixels: int
    long_side: int
    thumbnail_side: int
    bare: bool = False
    forgotten: frozenset[str] = frozenset()
    forgotten_pixels: frozenset[str] = frozenset()
    texts: bool = True

    @property
    def slot_bytes(self) -> int:
        """Bytes of the largest array that `decode` can give at this long side."""
        return 3 * (2 * self.long_side) ** 2


@dataclass(frozen=True, slots=True)
class Task:
    """One file to work on.

    Attributes:
        pixels: False asks for its hash only.
        text: asks for what is written inside it only.
        tries: how many processes died over it.
        listed: of an object in a store, its size and version as they were listed.
        known: hashes of the content and the pixels of the photo that the catalog has at this path: that photo stays,
            though another one with its pixels was forgotten.
    """

    number: int
    path: str
    pixels: bool = True
    text: bool = False
    tries: int = 0
    known: tuple[str | None, ...] = ()
    listed: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a task.

    Attributes:
        bytes, mtime_ns: of the file as it was when it was read.
        sha256: of the content; None when it could not be read.
        facts, shape: of the photo and of its array, when pixels were asked for.
        reason, detail: class name and words of the failure, or None.
        lasting: the failure lies in the content, so that only a changed file is worth another try.
        gone: the file is not there any more.
        unreachable: the store of the object cannot be used, so that nothing is known of it.
        left_out: why nothing of a sound file is kept (a kind of `IngestReport.not_read`), or None.
        more_pages: pictures of the file after the first.
        text: what is written inside the file, when that was asked for alone.
        seconds: by stage: read, hash, decode, small (thumbnail and perceptual hash).
    """

    number: int
    bytes: int = 0
    mtime_ns: int = 0
    sha256: str | None = None
    facts: PhotoFacts | None = None
    shape: tuple[int, ...] = ()
    reason: str | None = None
    detail: str | None = None
    lasting: bool = False
    gone: bool = False
    unreachable: bool = False
    left_out: str | None = None
    more_pages: int = 0
    text: SourceText | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class LocalFile:
    """A file as it is worked on, with its facts as they are before it is read.

    Raises:
        OSError: it is not there.
    """

    def __init__(self, path: str) -> None:
        facts = os.stat(path)
        self.path, self.bytes, self.mtime_ns = path, facts.st_size, file_time(facts)

    def is_marked(self) -> bool:
        """Whether this program wrote it."""
        return is_marked_file(self.path)

    def sha256(self) -> str:
        """Hash of its content."""
        return sha256_of(self.path)

    def read(self) -> bytes:
        """All of it; see `decode.read_file`."""
        return read_file(self.path)


class StoredObject:
    """An object in a store as it is worked on: read as a whole, by one request where it is as it was listed.

    Args:
        size, version: as they were listed. Where it has another size by now they are asked for again; where it was
            changed and has the same, the next run finds another version and reads it once more.

    Raises:
        OSError, RemoteError: it cannot be read.
        ImageTooLarge: more than 2 GiB.
    """

    def __init__(self, url: str, size: int, version: int) -> None:
        self.bytes, self.mtime_ns = size, version
        if size > MAX_FILE_BYTES:
            raise ImageTooLarge(f"object has {size} bytes, expected at most {MAX_FILE_BYTES}")
        self._data = remote.read(url)
        if len(self._data) != size:
            now = remote.facts_of(url)
            if len(self._data) != now.bytes:
                raise OSError(errno.EBUSY, "object was changed while it was read", url)
            self.bytes, self.mtime_ns = now.bytes, now.mtime_ns

    def is_marked(self) -> bool:
        """Whether this program wrote it."""
        return is_marked(self._data[:HEAD_BYTES])

    def sha256(self) -> str:
        """Hash of its content."""
        return hashlib.sha256(self._data).hexdigest()

    def read(self) -> bytes:
        """All of it."""
        return self._data


def work(task: Task, recipe: Recipe) -> tuple[Reply, RGB | None]:
    """Do one task; every failure of the file is in the reply, none is raised."""
    known: dict[str, Any] = {"number": task.number, "seconds": {}}
    clock = _Clock(known["seconds"])
    try:
        file: LocalFile | StoredObject
        if task.listed is None:
            file = LocalFile(task.path)
        else:
            known |= {"bytes": task.listed[0], "mtime_ns": task.listed[1]}
            file = StoredObject(task.path, *task.listed)
            clock.lap("read")
        known |= {"bytes": file.bytes, "mtime_ns": file.mtime_ns}
        if not recipe.bare and file.is_marked():
            return Reply(**known, left_out="own_outputs"), None
        if not task.pixels:
            known["sha256"] = file.sha256()
            clock.lap("hash")
            return Reply(**known, left_out="forgotten" if known["sha256"] in recipe.forgotten else None), None
        data = file.read()
        clock.lap("read")
        if task.text:
            return Reply(**known, text=read_text(data, max_pixels=recipe.max_pixels)), None
        if recipe.bare:
            decoded = decode(data, max_pixels=recipe.max_pixels, long_side=recipe.long_side)
            clock.lap("decode")
            return Reply(**known, facts=decoded.facts("", None), shape=decoded.rgb.shape), decoded.rgb
        known["sha256"] = hashlib.sha256(data).hexdigest()
        clock.lap("hash")
        if known["sha256"] in recipe.forgotten:
            return Reply(**known, left_out="forgotten"), None
        decoded = decode(data, max_pixels=recipe.max_pixels, long_side=recipe.long_side)
        clock.lap("decode")
        pixels = _pixel_hash(decoded)
        if pixels in recipe.forgotten_pixels and not {known["sha256"], pixels} & set(task.known):
            return Reply(**known, left_out="forgotten"), None
        photo, rgb = _photo(task.path, decoded, known["sha256"], pixels, recipe), decoded.rgb
        known["more_pages"] = decoded.more_pages
        clock.lap("small")
    except (FileNotFoundError, NotADirectoryError):
        return Reply(**known, gone=True), None
    except RemoteError as trouble:
        return Reply(**known, reason="RemoteError", detail=str(trouble), unreachable=True), None
    except OSError as trouble:
        return Reply(**known, reason="ImageUnreadable", detail=f"file cannot be read: {os_words(trouble)}"), None
    except InputError as trouble:
        # A limit may be raised by the next run; damage stays until the file changes.
        lasting = isinstance(trouble, ImageUnreadable)
        return Reply(**known, reason=type(trouble).__name__, detail=str(trouble), lasting=lasting), None
    except Exception as trouble:  # whatever one file does, it must not end the run
        return Reply(**known, reason="ImageUnreadable", detail=f"{type(trouble).__name__}: {trouble}"), None
    return Reply(**known, facts=photo, shape=rgb.shape), rgb


def _photo(path: str, decoded: Decoded, sha256: str, pixels: str, recipe: Recipe) -> PhotoFacts:
    """Facts of a photo, its date from beside the file where the file itself has none; writes its thumbnail."""
    small = shrink(decoded.rgb, recipe.thumbnail_side)
    # A thumbnail that cannot be written is no reason to lose the photo: it is made again when it is wanted.
    with contextlib.suppress(OSError):
        write_thumbnail(thumbnail_file(recipe.thumbnails, sha256), small)
    facts = replace(decoded.facts(sha256, phash(small)), pixels=pixels)
    if facts.taken_at is None:
        facts = replace(facts, taken_at=date_beside(path))
    return facts if recipe.texts else replace(facts, text=None)


def _pixel_hash(decoded: Decoded) -> str:
    """Hash of the pixels that the model sees and of the size of the photo."""
    size = f"{decoded.width}x{decoded.height} {decoded.rgb.shape}".encode()
    digest = hashlib.sha256(np.ascontiguousarray(decoded.rgb).reshape(-1).data)
    digest.update(size)
    return digest.hexdigest()


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now
