"""Paths as people write them, and URLs of stores in their place. Knows no output, no index and no network."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from .errors import InputError

_FILE_URL = re.compile(r"file:", re.IGNORECASE)
_SHARE = re.compile(r"\\\\+(?P<windows>[^\\/]+)[\\/]|(?:smb|cifs|afp|nfs|sftp|ftp)://(?P<url>[^/]*)", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # a single letter before a colon is a drive
# Schemes of stores that keep objects under names with slashes, as fsspec calls them; and the one name of each.
_STORES = {name: name for name in ("abfs", "abfss", "az", "gs", "hdfs", "memory", "oss", "s3", "webdav")}
_STORES |= {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
_STORE_URL = re.compile(rf"({'|'.join(_STORES)})://", re.IGNORECASE)


def user_path(path: str | os.PathLike[str]) -> str:
    """The path that is meant by one which no shell has expanded.

    * ``~`` and ``~name`` at the beginning are home folders, unless a file of that very name is there;
    * ``file:///a%20b.jpg`` is ``/a b.jpg``;
    * ``a%20b.jpg`` is ``a b.jpg`` when there is a file of the second name and none of the first;
    * URLs of stores such as ``s3://bucket/folder/`` lose their last slashes, and have one name for each kind of store;
    * other URLs, and everything else, are given back as they are.

    Raises:
        InputError: no such home folder, a URL of a store without a name in it, a file URL of another machine, or a
            share that has to be mounted first, such as smb://nas/photos, or one with two backslashes, which Windows
            alone opens as it is.

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
    if is_url(text):
        return _store_url(text)
    if _URL.match(text):
        return text
    if text.startswith("~"):
        text = _below_home(text)
    if "%" in text:
        decoded = unquote(text, errors="surrogateescape")
        if not os.path.lexists(text) and os.path.lexists(decoded):
            return decoded
    return text


def is_url(path: object) -> bool:
    """Whether a path is the URL of something in a store such as S3; those of the web and of databases are not.

    >>> is_url("s3://bucket/a.jpg"), is_url("/photos/a.jpg"), is_url("https://host/a.jpg")
    (True, False, False)
    """
    return isinstance(path, str) and "://" in path and _STORE_URL.match(path) is not None


def absolute(path: str | os.PathLike[str]) -> str:
    """`os.path.abspath`, by which URLs stay as they are.

    >>> absolute("s3://bucket/a//b.jpg"), absolute("/photos/../a.jpg")
    ('s3://bucket/a//b.jpg', '/a.jpg')
    """
    text = os.fspath(path)
    return text if is_url(text) else os.path.abspath(text)


def without_links(path: str | os.PathLike[str]) -> str:
    """`os.path.realpath`, by which URLs stay as they are: stores have no links."""
    text = os.fspath(path)
    return text if is_url(text) else os.path.realpath(text)


def beside(path: str, reference: str) -> str:
    """The path of a file that is named relative to another one; ``..`` is resolved by names alone.

    >>> beside("/x/page.md", "../a.jpg"), beside("s3://bucket/x/page.md", "../a.jpg")
    ('/a.jpg', 's3://bucket/a.jpg')
    """
    scheme, mark, rest = path.partition("://") if is_url(path) else ("", "", path)
    return f"{scheme}{mark}{os.path.normpath(os.path.join(os.path.dirname(rest), reference))}"


def parent(path: str) -> str:
    """The folder above; of the root of a disk and of the first name in a store these themselves.

    >>> parent("/a/b"), parent("/"), parent("s3://bucket/a"), parent("s3://bucket")
    ('/a', '/', 's3://bucket', 's3://bucket')
    """
    above = os.path.dirname(path)
    return path if is_url(path) and not is_url(above) else above


def top_of(folders: Sequence[str]) -> str:
    """The deepest folder that holds all of these, which are absolute; empty where none does, as for two stores.

    >>> top_of(["/a/b", "/a/c"]), top_of(["s3://bucket/x", "s3://bucket/y"]), top_of(["s3://bucket/x", "/a"])
    ('/a', 's3://bucket', '')
    """
    if not any(map(is_url, folders)):
        return os.path.commonpath(folders)
    top = folders[0]
    while not all(lies_in(folder, top) for folder in folders):
        if parent(top) == top:
            return ""
        top = parent(top)
    return top


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is that of a folder or one below it, by their names alone: no link and no ``..`` is resolved.

    >>> lies_in("/photos/a.jpg", "/photos/"), lies_in("/photos", "/photos"), lies_in("/photos2", "/photos")
    (True, True, False)
    >>> lies_in("/photos", "/")
    True
    """
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _store_url(text: str) -> str:
    scheme, _, rest = text.partition("://")
    rest = rest.rstrip("/")
    if not rest.strip("/"):
        raise InputError(f"{text!r} names nothing in its store, expected {scheme}://BUCKET/FOLDER")
    return f"{_STORES[scheme.lower()]}://{rest}"


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
