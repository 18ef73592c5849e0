"""Objects in a store that a URL names, such as s3://bucket/folder/a.jpg: listed, read, copied. Alone to know fsspec.

A URL is one of `paths.is_url`; names in it are as the store has them, without percent signs. Every call asks the store
anew; only connections are kept. Stores' libraries try again by themselves what fails in passing. What fails for good is
either of one object, and an `OSError` as for a file, or of the whole store, and a `RemoteError`. Where a store is and
who may use it is said by its own settings (for S3 the variables and files of AWS) or by those of fsspec.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from .errors import BackendMissing, RemoteError

SECOND = 1_000_000_000  # nanoseconds
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")  # by the kinds of stores
_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "version_id")
_PACKAGES = {"abfs": "adlfs", "abfss": "adlfs", "az": "adlfs", "gs": "gcsfs", "oss": "ossfs", "webdav": "webdav4"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One object, or one folder, which is but a common beginning of names.

    Attributes:
        mtime_ns: stands for the version of the object: the second in which it was changed, and within that second a
            number made of the tag that the store gives to its content, where it gives one.
    """

    url: str
    bytes: int = 0
    mtime_ns: int = 0
    is_folder: bool = False


def listed(url: str) -> list[Entry]:
    """What lies in a folder, by name; of an object the object itself.

    Raises:
        FileNotFoundError: there is neither a folder nor an object, or no such bucket.
        OSError: it may not be listed.
        RemoteError: the store cannot be used.
    """
    files, own = _opened(url)
    with _worded(url):
        found = files.ls(own, detail=True)
    here = own.rstrip("/")
    entries = []
    for facts in found:
        name = str(facts["name"])
        if name.endswith("/"):  # an object that only marks a folder
            continue
        is_itself = name == here
        entries.append(_entry(url if is_itself else f"{url}/{name.rsplit('/', 1)[-1]}", facts))
    return sorted(entries, key=lambda entry: entry.url)


def facts_of(url: str) -> Entry:
    """Size and version of an object as they are now.

    Raises:
        FileNotFoundError, OSError, RemoteError: as `listed`.
    """
    files, own = _opened(url)
    with _worded(url):
        return _entry(url, files.info(own))


def is_there(url: str) -> bool:
    """Whether an object or a folder is there; a store that cannot be used has nothing."""
    try:
        facts_of(url)
    except (OSError, RemoteError, BackendMissing):
        return False
    return True


def read(url: str, *, most: int | None = None) -> bytes:
    """The bytes of an object, by one request; with `most` so many from its beginning.

    Raises:
        FileNotFoundError, OSError, RemoteError: as `listed`.
    """
    files, own = _opened(url)
    # s3fs asks for the size first where it may read in pieces.
    whole = {"max_concurrency": 1} if url.startswith("s3:") else {}
    with _worded(url):
        data: bytes = files.cat_file(own, **({"start": 0, "end": most} if most is not None else whole))
    return data


def opened(url: str) -> io.BufferedReader:
    """A copy of an object as it is now, open; it is gone when it is closed.

    Raises:
        FileNotFoundError, OSError, RemoteError: as `listed`.
    """
    with tempfile.TemporaryDirectory(prefix="interleave-") as folder:
        copy = Path(folder) / "object"
        download(url, copy)
        return copy.open("rb")  # an open file outlives its folder


def download(url: str, file: Path) -> None:
    """Copy an object to a file of this machine.

    Raises:
        FileNotFoundError, OSError, RemoteError: as `listed`.
    """
    files, own = _opened(url)
    with _worded(url):
        files.get_file(own, os.fspath(file))


def upload(file: Path, url: str) -> None:
    """Write a file to an object, which appears when it is complete in stores that promise that, as S3 does.

    Raises:
        OSError, RemoteError: as `listed`.
    """
    files, own = _opened(url)
    with _worded(url):
        files.put_file(os.fspath(file), own)


def _entry(url: str, facts: Mapping[str, Any]) -> Entry:
    if facts.get("type") == "directory":
        return Entry(url, is_folder=True)
    return Entry(url, int(facts.get("size") or 0), _version(facts))


def _version(facts: Mapping[str, Any]) -> int:
    """A time in nanoseconds that changes with the object.

    >>> _version({"mtime": 2.5}), _version({"LastModified": datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC)})
    (2500000000, 3000000000)
    >>> _version({"mtime": 2.5, "ETag": "a"}) // SECOND, _version({"ETag": "a"}) == _version({"ETag": "b"})
    (2, False)
    """
    when = next((facts[name] for name in _TIMES if facts.get(name)), None)
    tag = next((str(facts[name]) for name in _TAGS if facts.get(name)), None)
    time_ns = _nanoseconds(when)
    if tag is None:
        return time_ns
    digest = hashlib.sha256(tag.encode()).digest()
    return time_ns // SECOND * SECOND + int.from_bytes(digest[:8], "big") % SECOND


def _nanoseconds(when: object) -> int:
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            return 0
    if isinstance(when, datetime):
        when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        past = when - datetime(1970, 1, 1, tzinfo=UTC)
        return (past.days * 86400 + past.seconds) * SECOND + past.microseconds * 1000
    return int(when * SECOND) if isinstance(when, int | float) else 0


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the name of what it means there."""
    scheme = url.split("://", 1)[0].lower()
    kind = _kind(scheme)
    options = kind._get_kwargs_from_urls(url)
    with _worded(url):
        return _file_system(scheme, tuple(sorted(options.items())), os.getpid()), kind._strip_protocol(url)


@lru_cache(maxsize=16)
def _kind(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        wanted = "'interleave-index[remote]'" if package is None else f"'interleave-index[remote]' {package}"
        raise BackendMissing(
            f"{scheme}:// needs a package that is not installed ({error}); pip install {wanted}"
        ) from error


@lru_cache(maxsize=16)
def _file_system(scheme: str, options: tuple[tuple[str, Any], ...], process: int) -> Any:
    """A file system with connections of its own, which do not outlive a fork, and without a memory of listings."""
    return _kind(scheme)(**dict(options), use_listings_cache=False, skip_instance_cache=True)


@contextmanager
def _worded(url: str) -> Iterator[None]:
    """Let what goes wrong in a store be one of the errors that this module promises."""
    try:
        yield
    except (TimeoutError, ConnectionError) as error:  # of the kind OSError, but not of one object
        raise _unusable(url, error) from error
    except OSError:
        raise
    except Exception as error:  # libraries of stores have errors of their own
        raise _unusable(url, error) from error


def _unusable(url: str, error: Exception) -> RemoteError:
    scheme, _, rest = url.partition("://")
    store = f"{scheme}://{rest.split('/', 1)[0]}"
    words = " ".join(str(error).split())[:300] or type(error).__name__
    remedy = "see that it answers, and that its address and credentials are set (for S3 the variables of AWS)"
    return RemoteError(f"{store} cannot be used: {words}; {remedy}")
