"""Which files below some roots are photos, and which folders could not be listed. Knows the file system only.

What counts as a photo:

* a file with the name of a picture (`.jpg`, `.heic`, a raw suffix, ...), whatever is inside: if that cannot be
  decoded it becomes a failed location, because its owner believes it to be a photo;
* a file of any other name whose first bytes are those of a picture;
* a file that is itself a root.

A raw file beside a JPEG or HEIF of the same name is the same photo, and only the latter is read. Everything else is
passed over, and counted where somebody may miss it: films, pictures of kinds that are not read, hidden pictures, and
folders that belong to systems and other programs (recycle bins, previews, snapshots). Sidecars, documents, sockets and
broken links are not counted; the thumbnails and FAISS files of an index are never photos.

Text sources (`text.sources.kind_of`) are gathered beside the photos: their names are enough to know them.

Every file has one path: that behind all links. A file or folder that is reached by several names is listed once.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..errors import InputError
from ..paths import lies_in
from ..records.texts import TextKind
from ..regular import os_words
from .ignore import Ignored
from .sniff import HEAD, sniff
from .suffixes import DEVELOPED_SUFFIXES, NOT_READ, PICTURE_SUFFIXES, RAW_SUFFIXES
from .text.sidecars import Siblings
from .text.sources import kind_of

SYSTEM_FOLDERS = frozenset(
    (
        "@eadir",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "@sharebin",
        "~snapshot",
        "__macosx",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "lost+found",
        "found.000",
        "captureone",  # previews and settings of Capture One beside the photos
    )
)
SYSTEM_FOLDER_NAMES = re.compile(r".*\.(lrdata|lrcat-data)|appdata_oc[a-z0-9]+", re.IGNORECASE)
# In a library of one of these programs only these folders hold photos; all else is made from them.
ORIGINALS = {
    ".photoslibrary": ("originals", "masters"),
    ".migratedphotolibrary": ("masters",),
    ".photolibrary": ("masters", "originals"),
    ".aplibrary": ("masters",),
}
IMMICH_MARKER, IMMICH_FOLDERS = ".immich", ("thumbs", "encoded-video")
CATALOGS = frozenset(("catalog.sqlite", "catalog.json"))  # a folder that holds one is that of an index
INDEX_FOLDERS = frozenset(("thumbnails", "faiss"))  # what an index keeps beside its catalog
GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP))  # any other error does not say that a file is gone
LARGEST_TIME = 2**63 - 1  # nanoseconds that a catalog can hold: the years 1677 to 2262


def file_time(facts: os.stat_result) -> int:
    """When a file was changed, in nanoseconds; times beyond what a catalog can hold are its first or last.

    >>> file_time(os.stat(__file__)) > 0
    True
    """
    return max(-LARGEST_TIME, min(LARGEST_TIME, facts.st_mtime_ns))


class Excluded(Protocol):
    """What is left out because it was forgotten."""

    def cover(self, path: str) -> bool:
        """Whether a file was forgotten."""

    def cover_folder(self, folder: str) -> bool:
        """Whether all below a folder was forgotten."""


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """One file that counts as a photo.

    `path` is absolute and without links; a name that is not UTF-8 carries surrogate escapes.
    """

    path: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ScannedText(ScannedFile):
    """One file that counts as a text source: its kind, and the names of all files in its folder."""

    kind: TextKind
    siblings: Siblings


@dataclass(slots=True)
class Scanner:
    """Lists the files below roots, and remembers what it could not list and what it passed over.

    Args:
        known: paths that need not be opened to see what they are.
        photos: those of them that are photos already; a raw file among them is read beside its JPEG.
        excluded: what was forgotten.
        on_outside: is called with a folder or file outside of the roots, before it is listed since a link leads there.
        within: folders, without links, that links must stay in; None lets them lead anywhere.
        text_kinds: kinds of text sources that are gathered.
        ignored: what the user wants left out.
    Attributes:
        unlisted: folders (and roots, and links) that could not be looked into, with the system's words; nothing
            below them may be called missing.
        not_read: how much was passed over, by kind.
        texts: text sources that were met, by path.
    """

    known: Container[str] = ()
    photos: Collection[str] = ()
    excluded: Excluded | None = None
    on_outside: Callable[[str], None] = lambda path: None
    within: Sequence[str] | None = None
    text_kinds: Collection[TextKind] = ()
    ignored: Ignored = field(default_factory=Ignored)
    unlisted: dict[str, str] = field(default_factory=dict)
    not_read: Counter[str] = field(default_factory=Counter)
    texts: dict[str, ScannedText] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)
    _broken: set[str] = field(default_factory=set)
    _entered: set[tuple[int, int]] = field(default_factory=set)
    _linked_folders: list[str] = field(default_factory=list)
    _linked_files: list[str] = field(default_factory=list)
    _met: set[str] = field(default_factory=set)
    _roots: list[str] = field(default_factory=list)
    _left_out: set[str] = field(default_factory=set)

    def files(self, roots: Sequence[Path | str]) -> Iterator[ScannedFile]:
        """Every photo below the roots, each file once; folders in no promised order, names within one sorted.

        Raises:
            InputError: a root does not exist; nothing was listed then.
        """
        paths = [os.path.abspath(root) for root in roots]
        for path in paths:
            if not os.path.lexists(path):
                raise InputError(f"{path!r} does not exist, expected a folder or a picture file")
        real = {path: os.path.realpath(path) for path in dict.fromkeys(paths)}
        self._roots += dict.fromkeys(real.values())
        for path, target in real.items():
            if not os.path.isdir(target):
                yield from self._given_file(path, target)
        for target in dict.fromkeys(real.values()):
            if os.path.isdir(target):
                yield from self._walk(target)
        # Links come last, since most of what they lead to was met by then under its own name.
        while self._linked_folders:
            target = self._linked_folders.pop()
            if target not in self._listed and self._may_follow(target):
                self._look_outside(target)
                yield from self._walk(target)
        for target in self._linked_files:
            if self._may_follow(target):
                yield from self._linked_file(target)

    def may_be_there(self, path: str) -> bool:
        """Whether a file that was not met may be there all the same, because its folder was not looked into.

        True for a file that still lies in a folder which is passed over, and for anything below a link that leads
        nowhere just now, as to a drive that is not mounted. False for another name of a file that was met.
        """
        folder, name = os.path.split(path)
        if folder in self._listed and not name.startswith(".") and path not in self._left_out:
            return False
        if self.is_alias(path):
            return False
        try:
            return stat.S_ISREG(os.stat(path).st_mode)
        except OSError as error:
            return error.errno not in GONE or any(path.startswith(link + os.sep) for link in self._broken)

    def is_alias(self, path: str) -> bool:
        """Whether a path is another name, by links, of a file that was met."""
        real = os.path.realpath(path)
        return real != path and real in self._met

    def _given_file(self, path: str, target: str) -> Iterator[ScannedFile]:
        try:
            facts = os.stat(target)
        except OSError as error:
            self.unlisted[path] = os_words(error)
            return
        if not stat.S_ISREG(facts.st_mode):
            self.unlisted[path] = "neither a folder nor a regular file"
        elif self.is_excluded(target):
            self.not_read["forgotten"] += 1
        elif not self._is_text(target, facts, _names_beside(target)):
            yield from self._met_once(target, facts)

    def _linked_file(self, target: str) -> Iterator[ScannedFile]:
        if target in self._met or self.is_excluded(target):
            return
        self._look_outside(target)
        try:
            facts = os.stat(target)
        except OSError as error:
            self.unlisted[target] = os_words(error)
            return
        if stat.S_ISREG(facts.st_mode) and self._is_photo(target):
            yield from self._met_once(target, facts)

    def _met_once(self, path: str, facts: os.stat_result) -> Iterator[ScannedFile]:
        if self.meet(path):
            yield ScannedFile(path, facts.st_size, file_time(facts))

    def meet(self, path: str) -> bool:
        """Remember that a file was met; whether that was the first time."""
        first = path not in self._met
        self._met.add(path)
        return first

    def _may_follow(self, target: str) -> bool:
        """Whether a link may be followed to its target; a link that leads out is counted."""
        if self.within is None or any(lies_in(target, folder) for folder in self.within):
            return True
        self.not_read["links_outside"] += 1
        return False

    def _look_outside(self, target: str) -> None:
        """Tell of a place that no root holds, once."""
        if not any(lies_in(target, root) for root in self._roots):
            self._roots.append(target)
            self.on_outside(target)

    def is_excluded(self, path: str) -> bool:
        """Whether a file was forgotten."""
        return self.excluded is not None and self.excluded.cover(path)

    def _walk(self, top: str) -> Iterator[ScannedFile]:
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if self.excluded is not None and self.excluded.cover_folder(folder):
                self.not_read["forgotten_folders"] += 1
                continue
            try:
                if folder in self._listed or self._was_entered(os.stat(folder)):
                    continue
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self.unlisted[folder] = os_words(error)
                continue
            self._listed.add(folder)
            self.ignored.enter(folder)
            names = {entry.name for entry in entries}
            siblings = Siblings.of(names)
            passed = frozenset() if CATALOGS.isdisjoint(names) else INDEX_FOLDERS
            developed = {stem.lower() for stem, suffix in map(os.path.splitext, names) if is_developed(suffix)}
            deeper: list[str] = []
            for entry in entries:
                if entry.name in passed or self.is_left_out(
                    entry.path, top, is_folder=entry.is_dir(follow_symlinks=False)
                ):
                    continue
                facts = self._file_facts(entry, developed, deeper)
                if facts is not None and not self._is_text(entry.path, facts, siblings) and self._is_photo(entry.path):
                    yield from self._met_once(entry.path, facts)
            waiting += reversed([path for path in deeper if not self._belongs_to_a_program(path, names)])

    def is_left_out(self, path: str, top: str, *, is_folder: bool) -> bool:
        """Whether the user wants a file or folder left out; it is counted then."""
        if not self.ignored.cover(path, top, folder=is_folder):
            return False
        self._left_out.add(path)
        self.not_read["left_out_folders" if is_folder else "left_out"] += 1
        return True

    def _was_entered(self, facts: os.stat_result) -> bool:
        """Whether a folder was listed before under another name, as by a bind mount.

        Some file systems number no files: then only the path tells, and links are resolved before.
        """
        if not facts.st_ino:
            return False
        key = (facts.st_dev, facts.st_ino)
        if key in self._entered:
            return True
        self._entered.add(key)
        return False

    def _belongs_to_a_program(self, path: str, siblings: set[str]) -> bool:
        """Whether a folder holds what systems or other programs made or threw away."""
        passed = made_by_a_program(path, lambda: os.path.exists(os.path.join(path, IMMICH_MARKER)))
        if passed:
            self.not_read["system_folders"] += 1
        return passed

    def _file_facts(self, entry: os.DirEntry[str], developed: set[str], deeper: list[str]) -> os.stat_result | None:
        """Facts of an entry that may be a photo or a text under its own name; folders and links are put aside."""
        try:
            if entry.name.startswith("."):
                self.count_hidden(entry.name, is_folder=entry.is_dir(follow_symlinks=False))
                return None
            if entry.is_symlink():
                links = self._linked_folders if stat.S_ISDIR(entry.stat().st_mode) else self._linked_files
                links.append(os.path.realpath(entry.path))
                return None
            if entry.is_dir(follow_symlinks=False):
                deeper.append(entry.path)
                return None
            facts = entry.stat()
        except OSError as error:
            self._out_of_reach(entry, error)
            return None
        if not stat.S_ISREG(facts.st_mode):
            return None
        if self.is_excluded(entry.path):
            self.not_read["forgotten"] += 1
            return None
        stem, suffix = os.path.splitext(entry.name.lower())
        if suffix in RAW_SUFFIXES and stem in developed and entry.path not in self.photos:
            self.not_read["raw_beside_jpeg"] += 1
            return None
        return facts

    def _is_text(self, path: str, facts: os.stat_result, siblings: Siblings) -> bool:
        """Whether a file is a text source that is wanted; it is gathered then."""
        kind = kind_of(os.path.basename(path), siblings) if self.text_kinds else None
        if kind is None or kind not in self.text_kinds:
            return False
        self.texts.setdefault(path, ScannedText(path, facts.st_size, file_time(facts), kind, siblings))
        return True

    def count_hidden(self, name: str, *, is_folder: bool) -> None:
        """Hidden pictures and folders, but not the twins (`._name`) that macOS leaves on other disks."""
        if is_folder:
            self.not_read["hidden_folders"] += 1
        elif os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES and not name.startswith("._"):
            self.not_read["hidden"] += 1

    def _out_of_reach(self, entry: os.DirEntry[str], error: OSError) -> None:
        if error.errno not in GONE:
            where = entry.path if entry.is_symlink() else os.path.dirname(entry.path)
            self.unlisted.setdefault(where, os_words(error))
        elif entry.is_symlink():
            self._broken.add(entry.path)

    def _is_photo(self, path: str) -> bool:
        suffix = os.path.splitext(path)[1].lower()
        if suffix in PICTURE_SUFFIXES or path in self.known:
            return True
        try:
            with open(path, "rb", buffering=0) as file:
                found = sniff(file.read(HEAD)) is not None
        except OSError:
            return False
        if not found and suffix in NOT_READ:
            self.not_read[NOT_READ[suffix]] += 1
        return found


def _names_beside(path: str) -> Siblings:
    """Names in the folder of a file that was given by itself."""
    try:
        return Siblings.of(os.listdir(os.path.dirname(path)))
    except OSError:
        return Siblings.of([os.path.basename(path)])


def made_by_a_program(folder: str, is_immich: Callable[[], bool]) -> bool:
    """Whether a folder holds what systems or other programs made or threw away.

    Args:
        is_immich: whether it has the marker of Immich; asked where its name makes that count.
    """
    above, name = os.path.split(folder)
    name = name.lower()
    library = os.path.splitext(above)[1].lower()
    return (
        name in SYSTEM_FOLDERS
        or SYSTEM_FOLDER_NAMES.fullmatch(name) is not None
        or (library in ORIGINALS and name not in ORIGINALS[library])
        or (name in IMMICH_FOLDERS and is_immich())
    )


def is_developed(suffix: str) -> bool:
    """Whether a file of this ending may be what a raw file beside it was developed to."""
    return suffix.lower() in DEVELOPED_SUFFIXES
