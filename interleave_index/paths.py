"""Paths as people write them. Knows no output and no index."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from .errors import InputError

_FILE_URL = re.compile(r"file:", re.IGNORECASE)
_SHARE = re.compile(r"\\\\+(?P<windows>[^\\/]+)[\\/]|(?:smb|cifs|afp|nfs|sftp|ftp)://(?P<url>[^/]*)", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # a single letter before a colon is a drive


def user_path(path: str | os.PathLike[str]) -> str:
    """The path that is meant by one which no shell has expanded.

    * ``~`` and ``~name`` at the beginning are home folders, unless a file of that very name is there;
    * ``file:///a%20b.jpg`` is ``/a b.jpg``;
    * ``a%20b.jpg`` is ``a b.jpg`` when there is a file of the second name and none of the first;
    * other URLs, and everything else, are given back as they are.

    Raises:
        InputError: no such home folder, a file URL of another machine, or a share that has to be mounted first, such as
            smb://nas/photos, or one with two backslashes, which Windows alone opens as it is.

    >>> user_path("file:///photos/a%20b.jpg"), user_path("https://host/a%20b.jpg")
    ('/photos/a b.jpg', 'https://host/a%20b.jpg')
    """
    text = os.fspath(path)
    if _FILE_URL.match(text):
        return _of_file_url(text)
    if os.path.lexists(text):
        return text
    share = _SHARE.match(text)
    if share and not (share["windows"] and os.name == "nt"):
        raise InputError(
            f"{text!r} names a share of the machine {share['windows'] or share['url']!r}, "
            "expected the path of the folder where it is mounted"
        )
    if _URL.match(text):
        return text
    if text.startswith("~"):
        text = _below_home(text)
    if "%" in text:
        decoded = unquote(text, errors="surrogateescape")
        if not os.path.lexists(text) and os.path.lexists(decoded):
            return decoded
    return text


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is that of a folder or one below it, by their names alone: no link and no ``..`` is resolved.

    >>> lies_in("/photos/a.jpg", "/photos/"), lies_in("/photos", "/photos"), lies_in("/photos2", "/photos")
    (True, True, False)
    >>> lies_in("/photos", "/")
    True
    """
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _of_file_url(text: str) -> str:
    parts = urlsplit(text)
    path = unquote(parts.path, errors="surrogateescape")
    if parts.netloc.lower() in ("", "localhost"):
        if os.name == "nt":  # file:///C:/photos has a slash before the drive
            return path.lstrip("/").replace("/", "\\")
        return path
    if os.name == "nt":
        return f"\\\\{parts.netloc}{path}".replace("/", "\\")
    raise InputError(
        f"{text!r} names the machine {parts.netloc!r}, expected file:///PATH or the path of a mounted folder"
    )


def _below_home(text: str) -> str:
    expanded = os.path.expanduser(text)
    if expanded.startswith("~") and os.path.dirname(text):  # `~$draft.jpg` in this folder is a usual name
        name = text.split("/")[0]
        raise InputError(f"home folder {name!r} is not known, expected ~, ~USER, or ./{name} for a folder of that name")
    return expanded
