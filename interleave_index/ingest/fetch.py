"""A picture by URL, for queries only: bounded in bytes and seconds. The only network code of this package."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException

from ..errors import InputError

CHUNK = 1 << 16
MOST_REDIRECTS = 5


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never away from http and https (such as to file://)."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """The request that follows a redirect."""
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise InputError(f"{req.full_url} redirects to {newurl}, expected http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, *, max_bytes: int, timeout: float) -> bytes:
    """Download one file.

    Args:
        url: http or https.
        max_bytes: of the body; more is an error as soon as it is known.
        timeout: seconds for the whole download.
    Raises:
        InputError: not http(s), refused, unreachable, too slow or too long.
    """
    if urllib.parse.urlsplit(url).scheme.lower() not in ("http", "https"):
        raise InputError(f"{url} cannot be fetched, expected an http or https address")
    request = urllib.request.Request(url, headers={"User-Agent": "interleave-index", "Accept": "image/*"})
    try:
        with urllib.request.build_opener(_WebOnly()).open(request, timeout=timeout) as answer:
            announced = answer.headers.get("Content-Length") or ""
            if announced.isdigit() and int(announced) > max_bytes:
                raise InputError(f"{url} has {announced} bytes, expected at most {max_bytes}")
            return _read(answer, url, max_bytes, time.monotonic() + timeout)
    except urllib.error.HTTPError as trouble:
        raise InputError(f"{url} cannot be fetched: the server answers {trouble.code} {trouble.reason}") from trouble
    except (OSError, HTTPException, ValueError) as trouble:
        if isinstance(trouble, InputError):
            raise
        raise InputError(f"{url} cannot be fetched: {trouble}; download it and give its path") from trouble


def _read(answer, url: str, max_bytes: int, deadline: float) -> bytes:  # type: ignore[no-untyped-def]
    parts, length = [], 0
    while part := answer.read1(CHUNK):
        parts.append(part)
        length += len(part)
        if length > max_bytes:
            raise InputError(f"{url} has more than {max_bytes} bytes, expected at most that")
        if time.monotonic() > deadline:
            raise InputError(f"{url} is too slow: {length} bytes when the time was up; download it and give its path")
    return b"".join(parts)
