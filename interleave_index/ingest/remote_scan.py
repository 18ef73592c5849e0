"""Which objects below URLs of stores are photos and texts, by the rules of `scan`. Knows names; opens next to nothing.

What differs from files, since every look costs a request:

* what an object is, its name says; only one whose name has no ending is looked into;
* there are no links, and a folder is not there any more when nothing lies in it;
* folders are listed some at a time, each by one request for every thousand names.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from .. import remote
from ..errors import InputError, RemoteError
from ..paths import lies_in, parent
from ..regular import os_words
from .ignore import IGNORE_FILE
from .scan import (
    CATALOGS,
    IMMICH_MARKER,
    INDEX_FOLDERS,
    ScannedFile,
    ScannedText,
    Scanner,
    is_developed,
    made_by_a_program,
)
from .sniff import HEAD, sniff
from .suffixes import NOT_READ, PICTURE_SUFFIXES, RAW_SUFFIXES
from .text.sidecars import Siblings
from .text.sources import kind_of

AT_ONCE = 16  # requests: a store answers many as fast as one


@dataclass(slots=True)
class RemoteScanner:
    """Lists what lies below URLs, with the settings of a scanner, which also keeps the books: see `Scanner`."""

    scanner: Scanner
    _listed: set[str] = field(default_factory=set)
    _passed: set[str] = field(default_factory=set)

    def files(self, roots: Sequence[str]) -> Iterator[ScannedFile]:
        """Every photo below the roots, each once.

        Raises:
            InputError: nothing lies at a root, and nothing of the catalog did; nothing was listed then.
            RemoteError: a store cannot be used, at the beginning or later: what was not listed is not known to be gone.
        """
        distinct = list(dict.fromkeys(roots))
        with ThreadPoolExecutor(AT_ONCE, "list") as pool:
            try:
                first = list(pool.map(self._root, distinct))
                for root, entries in zip(distinct, first, strict=True):
                    if [entry.url for entry in entries] == [root]:
                        yield from self._given_object(entries[0])
                    else:
                        yield from self._walk(root, entries, pool)
            finally:
                pool.shutdown(cancel_futures=True)

    def may_be_there(self, url: str) -> bool:
        """Whether an object that was not met may be there all the same, since its folder was passed over."""
        passed = url in self._passed or any(lies_in(url, folder) for folder in self._passed)
        return passed and remote.is_there(url)

    def _root(self, root: str) -> list[remote.Entry]:
        try:
            if _has_a_pictures_name(root):
                entry = remote.facts_of(root)  # one request, where a listing asks for all beside it
                return remote.listed(root) if entry.is_folder else [entry]
            return remote.listed(root)
        except FileNotFoundError as error:
            is_plain = str(error).strip("/") in root  # the name alone: the bucket is there
            if is_plain and any(lies_in(path, root) for path in self.scanner.photos):
                return []  # a folder that was emptied is none
            reason = "" if is_plain else f" ({error})"
            raise InputError(f"{root!r} does not exist{reason}, expected a folder or a picture in a store") from error
        except OSError as error:
            raise RemoteError(
                f"{root} may not be listed: {os_words(error)}; see that the credentials allow that"
            ) from error

    def _given_object(self, entry: remote.Entry) -> Iterator[ScannedFile]:
        names = [os.path.basename(entry.url)]
        if not _has_a_pictures_name(entry.url):  # it may be the sidecar of one
            with suppress(OSError):  # credentials may be for this object alone
                names = [os.path.basename(other.url) for other in remote.listed(parent(entry.url))]
        if self.scanner.is_excluded(entry.url):
            self.scanner.not_read["forgotten"] += 1
        elif not self._is_text(entry, Siblings.of(names)):
            yield from self._met_once(entry)

    def _walk(self, top: str, entries: list[remote.Entry], pool: ThreadPoolExecutor) -> Iterator[ScannedFile]:
        waiting: deque[str] = deque()
        under_way: deque[tuple[str, Future[list[remote.Entry]]]] = deque()
        yield from self._folder(top, top, entries, waiting, pool)
        while waiting or under_way:
            while waiting and len(under_way) < AT_ONCE:
                folder = waiting.popleft()
                under_way.append((folder, pool.submit(remote.listed, folder)))
            folder, listing = under_way.popleft()
            try:
                yield from self._folder(folder, top, listing.result(), waiting, pool)
            except FileNotFoundError:
                continue  # it was emptied just now
            except OSError as error:
                self.scanner.unlisted[folder] = os_words(error)

    def _folder(
        self, folder: str, top: str, entries: list[remote.Entry], waiting: deque[str], pool: ThreadPoolExecutor
    ) -> Iterator[ScannedFile]:
        """Photos of one folder; those below it are put to what is waiting."""
        scanner = self.scanner
        if folder in self._listed:
            return
        if scanner.excluded is not None and scanner.excluded.cover_folder(folder):
            scanner.not_read["forgotten_folders"] += 1
            self._passed.add(folder)
            return
        self._listed.add(folder)
        names = {os.path.basename(entry.url) for entry in entries}
        if IGNORE_FILE in names:
            scanner.ignored.enter(folder)
        passed = frozenset() if CATALOGS.isdisjoint(names) else INDEX_FOLDERS
        wanted: list[remote.Entry] = []
        for entry in entries:
            name = os.path.basename(entry.url)
            if name in passed or scanner.is_left_out(entry.url, top, is_folder=entry.is_folder):
                self._passed.add(entry.url)
            elif name.startswith("."):
                self._passed.add(entry.url)
                scanner.count_hidden(name, is_folder=entry.is_folder)
            elif not entry.is_folder:
                wanted.append(entry)
            elif made_by_a_program(entry.url, lambda path=entry.url: self._is_immich(path)):  # type: ignore[misc]
                self._passed.add(entry.url)
                scanner.not_read["system_folders"] += 1
            else:
                waiting.append(entry.url)
        yield from self._photos(wanted, names, pool)

    def _photos(self, entries: list[remote.Entry], names: set[str], pool: ThreadPoolExecutor) -> Iterator[ScannedFile]:
        """Those objects of one folder that are photos; texts are gathered."""
        siblings = Siblings.of(names)
        developed = {stem.lower() for stem, suffix in map(os.path.splitext, names) if is_developed(suffix)}
        unclear: list[remote.Entry] = []
        for entry in entries:
            stem, suffix = os.path.splitext(os.path.basename(entry.url).lower())
            if self.scanner.is_excluded(entry.url):
                self.scanner.not_read["forgotten"] += 1
            elif suffix in RAW_SUFFIXES and stem in developed and entry.url not in self.scanner.photos:
                self.scanner.not_read["raw_beside_jpeg"] += 1
            elif self._is_text(entry, siblings):
                continue
            elif suffix in PICTURE_SUFFIXES or entry.url in self.scanner.known:
                yield from self._met_once(entry)
            elif suffix in NOT_READ:
                self.scanner.not_read[NOT_READ[suffix]] += 1
            elif not suffix and entry.bytes:
                unclear.append(entry)
        for entry, is_photo in zip(unclear, pool.map(_begins_as_a_picture, unclear), strict=True):
            if is_photo:
                yield from self._met_once(entry)

    def _met_once(self, entry: remote.Entry) -> Iterator[ScannedFile]:
        if self.scanner.meet(entry.url):
            yield ScannedFile(entry.url, entry.bytes, entry.mtime_ns)

    def _is_text(self, entry: remote.Entry, siblings: Siblings) -> bool:
        kind = kind_of(os.path.basename(entry.url), siblings) if self.scanner.text_kinds else None
        if kind is None or kind not in self.scanner.text_kinds:
            return False
        self.scanner.texts.setdefault(entry.url, ScannedText(entry.url, entry.bytes, entry.mtime_ns, kind, siblings))
        return True

    @staticmethod
    def _is_immich(folder: str) -> bool:
        return remote.is_there(f"{folder}/{IMMICH_MARKER}")


def _has_a_pictures_name(url: str) -> bool:
    return os.path.splitext(url)[1].lower() in PICTURE_SUFFIXES


def _begins_as_a_picture(entry: remote.Entry) -> bool:
    with suppress(OSError):
        return sniff(remote.read(entry.url, most=min(HEAD, entry.bytes))) is not None
    return False
