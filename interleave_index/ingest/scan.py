"""Which files below some roots are photos, and which folders could not be listed. Knows the file system only.

What counts as a photo:

* a file with the name of a picture (`.jpg`, `.heic`, a raw suffix, ...), whatever is inside: if that cannot be
  decoded it becomes a failed location, because its owner believes it to be a photo;
* a file of any other name whose first bytes are those of a picture;
* a file that is itself a root.

Everything else is passed over in silence: sidecars, films, documents, sockets, broken links. So are hidden files and
folders (a leading dot) and folders that systems keep for themselves, unless they are named as roots, and the
thumbnails and FAISS files of an index, wherever it lies. Links are followed; a folder that is reached twice is listed
once, under its own name rather than a link's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .decode import os_words
from .sniff import HEAD, sniff

PICTURE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".tif",
        ".tiff",
        ".gif",
        ".bmp",
        ".dib",
        ".dng",
        ".nef",
        ".nrw",
        ".arw",
        ".srf",
        ".sr2",
        ".cr2",
        ".cr3",
        ".crw",
        ".raf",
        ".rw2",
        ".orf",
        ".pef",
        ".srw",
        ".3fr",
        ".iiq",
    )
)
SYSTEM_FOLDERS = frozenset(("@eadir", "__macosx", "$recycle.bin", "system volume information", "lost+found"))
CATALOG = "catalog.sqlite"  # a folder that holds one is an index
INDEX_FOLDERS = frozenset(("thumbnails", "faiss"))  # what an index keeps beside its catalog
GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))  # any other trouble does not say that a file is gone


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file that counts as a photo. `path` is absolute; a name that is not UTF-8 carries surrogate escapes."""

    path: str
    bytes: int
    mtime_ns: int


@dataclass(slots=True)
class Scanner:
    """Walks roots, and remembers what it could not list.

    Args:
        known: paths that need not be opened to see what they are.
    Attributes:
        unlisted: folders (and roots, and links) that could not be looked into, with the system's words; nothing
            below them may be called missing.
    """

    known: Container[str] = ()
    unlisted: dict[str, str] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)
    _broken: set[str] = field(default_factory=set)
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _links: list[str] = field(default_factory=list)
    _given: set[str] = field(default_factory=set)

    def files(self, roots: Sequence[Path | str]) -> Iterator[ScannedFile]:
        """Every photo below the roots, each path once; folders in no promised order, names within one sorted.

        Raises:
            InputError: a root does not exist; nothing was walked then.
        """
        paths = [os.path.abspath(root) for root in roots]
        for path in paths:
            if not os.path.lexists(path):
                raise InputError(f"{path!r} does not exist, expected a folder or a picture file")
        folders = dict.fromkeys(path for path in paths if os.path.isdir(path))
        for path in dict.fromkeys(paths):
            if path not in folders:
                yield from self._file(path)
        for path in folders:
            yield from self._walk(path)
        # Linked folders come last, so that a folder is listed under its own name whatever the order of names.
        while self._links:
            yield from self._walk(self._links.pop())

    def may_be_there(self, path: str) -> bool:
        """Whether a file that was not met may be there all the same, because its folder was not looked into.

        True for a file that still lies in a folder which is passed over, or was listed under another name, and for
        anything below a link that leads nowhere just now, as to a drive that is not mounted.
        """
        folder, name = os.path.split(path)
        if folder in self._listed and not name.startswith("."):
            return False
        try:
            return stat.S_ISREG(os.stat(path).st_mode)
        except OSError as trouble:
            return trouble.errno not in GONE or any(path.startswith(link + os.sep) for link in self._broken)

    def _file(self, path: str) -> Iterator[ScannedFile]:
        try:
            facts = os.stat(path)
        except OSError as trouble:
            self.unlisted[path] = os_words(trouble)
            return
        if not stat.S_ISREG(facts.st_mode):
            self.unlisted[path] = "neither a folder nor a regular file"
            return
        self._given.add(path)
        yield ScannedFile(path, facts.st_size, facts.st_mtime_ns)

    def _walk(self, top: str) -> Iterator[ScannedFile]:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            try:
                where = os.stat(folder)
                key = (where.st_dev, where.st_ino)
                if key in self._entered:
                    continue
                self._entered.add(key)
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as trouble:
                self.unlisted[folder] = os_words(trouble)
                continue
            self._listed.add(folder)
            passed = INDEX_FOLDERS if any(entry.name == CATALOG for entry in entries) else frozenset()
            deeper: list[str] = []
            for entry in entries:
                if entry.name in passed:
                    continue
                found = self._entry(entry, deeper)
                if found is not None and found.path not in self._given:
                    yield found
            waiting += reversed(deeper)

    def _entry(self, entry: os.DirEntry[str], deeper: list[str]) -> ScannedFile | None:
        if entry.name.startswith("."):
            return None
        try:
            if entry.is_dir(follow_symlinks=False):
                if entry.name.lower() not in SYSTEM_FOLDERS:
                    deeper.append(entry.path)
                return None
            if entry.is_symlink() and entry.is_dir():
                self._links.append(entry.path)
                return None
            facts = entry.stat()
        except OSError as trouble:
            self._out_of_reach(entry, trouble)
            return None
        if not stat.S_ISREG(facts.st_mode) or not self._is_photo(entry):
            return None
        return ScannedFile(entry.path, facts.st_size, facts.st_mtime_ns)

    def _out_of_reach(self, entry: os.DirEntry[str], trouble: OSError) -> None:
        if trouble.errno not in GONE:
            where = entry.path if entry.is_symlink() else os.path.dirname(entry.path)
            self.unlisted.setdefault(where, os_words(trouble))
        elif entry.is_symlink():
            self._broken.add(entry.path)

    def _is_photo(self, entry: os.DirEntry[str]) -> bool:
        if os.path.splitext(entry.name)[1].lower() in PICTURE_SUFFIXES or entry.path in self.known:
            return True
        try:
            with open(entry.path, "rb", buffering=0) as file:
                return sniff(file.read(HEAD)) is not None
        except OSError:
            return False
