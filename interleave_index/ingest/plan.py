"""What each scanned file needs, and what it turns out to be. Knows rows of the store, not the store.

A content that was seen at a path which is not there any more has moved; one that is still there has a duplicate.
A failure that lies in the content is remembered with the file's time and size, so that only a change is worth
another try. Any other failure (no permission, a full memory, the model) is remembered with a time that no file
has, so that the next run tries again.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..storage.rows import KnownLocation, LocationWrite
from .scan import ScannedFile
from .tally import Kind

Need = Literal["nothing", "hash", "pixels", "facts", "thumbnail", "text", "failure"]
TRY_AGAIN = -1  # as time of a failed location; 0 is the time of many a file that came out of an archive


@dataclass(frozen=True, slots=True)
class Claim:
    """One file on its way: its path, what the catalog knew of it, and the file as it was when it was read."""

    path: str
    prior: KnownLocation | None = None
    bytes: int = 0
    mtime_ns: int = 0

    @property
    def unchanged(self) -> bool:
        """Whether the catalog has a photo at this path, with this size and time."""
        prior = self.prior
        return (
            prior is not None
            and prior.state == "present"
            and (prior.bytes, prior.mtime_ns) == (self.bytes, self.mtime_ns)
        )


@dataclass(slots=True)
class Plan:
    """Sorts scanned files into work, and finished files into rows.

    Args:
        known: locations of the catalog at or below the roots, by path.
        forgotten_places: where contents lay that were forgotten: these are hashed before anything else.
        texts: what is written inside the files is kept; those that were taken in before it was are read for it.
        retry: files that failed before are tried again though they did not change.
        reread: files are read again though neither their size nor their time changed.
    """

    known: Mapping[str, KnownLocation]
    forgotten_places: frozenset[str] = frozenset()
    texts: bool = True
    retry: bool = False
    reread: bool = False
    _sizes: set[int] = field(default_factory=set)
    _begun: set[int] = field(default_factory=set)
    _gone: dict[int, list[str]] = field(default_factory=dict)
    _found: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.learn(self.known)

    def learn(self, known: Mapping[str, KnownLocation]) -> None:
        """Take the sizes of further locations in, which `known` holds by now."""
        self._sizes.update(location.bytes for location in known.values() if location.photo_id is not None)

    def need(self, file: ScannedFile, *, has_thumbnail: bool) -> Need:
        """What is left to do for a file: most often nothing, when size and time are as they were.

        A new file whose size is that of another one is hashed before it is decoded: it may be a move or a copy.
        """
        prior = self.known.get(file.path)
        same = prior is not None and (prior.bytes, prior.mtime_ns) == (file.bytes, file.mtime_ns)
        if prior is not None and same and prior.state == "failed":
            return "pixels" if self.retry or self.reread else "failure"
        if prior is not None and same and prior.state == "present" and prior.photo_id is not None:
            if self.reread:
                return self._needed_again(prior.photo_id, encoded=prior.encoded)
            wants_text = self.texts and not prior.text_read
            if prior.encoded and has_thumbnail and not wants_text:
                return "nothing"
            if prior.photo_id in self._begun:  # under another path, in this run
                return "nothing"
            self._begun.add(prior.photo_id)
            if not prior.encoded:
                return "pixels"
            return "text" if has_thumbnail else "thumbnail"
        likely_known = file.bytes in self._sizes or file.path in self.forgotten_places
        self._sizes.add(file.bytes)
        return "hash" if likely_known else "pixels"

    def _needed_again(self, photo_id: int, *, encoded: bool) -> Need:
        """What a reread does for a photo: all once a run; of its further locations, only whether they still hold it."""
        if photo_id in self._begun:
            return "hash"
        self._begun.add(photo_id)
        return "facts" if encoded else "pixels"

    def scanned(self, seen: set[str], unlisted: Iterable[str]) -> None:
        """Once the listing is complete: remember which known paths are gone, and let the rest of the catalog go."""
        hidden = tuple(folder.rstrip(os.sep) + os.sep for folder in unlisted)
        gone: defaultdict[int, list[str]] = defaultdict(list)
        for path, location in self.known.items():
            if location.photo_id is not None and path not in seen and not path.startswith(hidden):
                gone[location.photo_id].append(path)
        for paths in gone.values():  # a path that was present until now moved rather than one lost before
            paths.sort(key=lambda path: (self.known[path].state == "present", path))
        self._gone = dict(gone)
        self.known = {}
        self._sizes, self._begun = set(), set()

    def settle(
        self, claim: Claim, sha256: str, photo_id: int | None, present_paths: int, first: bool
    ) -> tuple[Kind, LocationWrite]:
        """What a readable file is, and its row.

        Args:
            photo_id: of a photo that the catalog had before this file, or None for one that is new.
            present_paths: present locations of that photo, as far as they are written.
            first: the file is the first with this content in the batch.
        """
        prior = claim.prior
        moved_from = None
        again = photo_id in self._found  # in this run, perhaps in a transaction that is not written yet
        if photo_id is not None:
            self._found.add(photo_id)
        if prior is not None and prior.sha256 == sha256:
            kind: Kind = "present"
        else:
            lost = self._gone.get(photo_id) if photo_id is not None else None
            moved_from = lost.pop() if lost else None
            if prior is not None and prior.sha256 is not None:
                kind = "changed"
            elif photo_id is None:
                kind = "added" if first else "duplicate"
            else:
                kind = "moved" if moved_from or (not present_paths and not again) else "duplicate"
        return kind, LocationWrite(claim.path, sha256, claim.bytes, claim.mtime_ns, moved_from=moved_from)

    @staticmethod
    def failure(claim: Claim, reason: str, detail: str, *, lasting: bool) -> LocationWrite:
        """The row of a file that could not be taken in."""
        return LocationWrite(
            claim.path, None, claim.bytes, claim.mtime_ns if lasting else TRY_AGAIN, "failed", reason, detail
        )
