"""Which photo a sidecar belongs to, by names alone. Knows no files.

Every picture is looked for under the spellings of its suffix that cameras and programs use, so that a name is answered
without listing the folder.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from functools import cached_property

from ..suffixes import PICTURE_SUFFIXES

_SPELLINGS = sorted({spelt for suffix in PICTURE_SUFFIXES for spelt in (suffix, suffix.upper(), suffix.title())})

# Google Takeout writes `NAME.json` or `NAME.supplemental-metadata.json`, cut so that all before `.json` has 46
# characters, and a counter of equal names as `NAME(1).jpg` beside `NAME.jpg(1).json`.
_TAKEOUT_ENDING = ".supplemental-metadata"
_TAKEOUT_LENGTH = 46
_COUNTER = re.compile(r"\((\d{1,5})\)$")
_EDITED = (
    "-edited",
    "-bearbeitet",
    "-modifié",
    "-editado",
    "-editada",
    "-modificato",
    "-bewerkt",
    "-edytowane",
    "-redigerad",
    "-редактировано",
    "-編集済み",
    "-已修改",
)  # what Google Photos appends to an edited copy, by the language of the account


class Siblings(Collection[str]):
    """The names in one folder, in a form that answers fast.

    Whoever asks about many names of one folder makes this once; any other collection is turned into one at each call.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    @classmethod
    def of(cls, names: Collection[str]) -> Siblings:
        """The names in this form; those that have it already are given back."""
        return names if isinstance(names, cls) else cls(names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def beginning(self, start: str) -> list[str]:
        """Names that begin with `start`, sorted."""
        first = bisect_left(self._sorted, start)
        found = []
        for name in self._sorted[first:]:
            if not name.startswith(start):
                break
            found.append(name)
        return found

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._names)


def is_picture(name: str) -> bool:
    """Whether a name is that of a picture, by its suffix."""
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES


def pictures_of_sidecar(name: str, siblings: Siblings) -> tuple[str, ...]:
    """The pictures that `a.jpg.xmp` or `a.xmp` (`.txt` likewise) belongs to, sorted.

    A whole name comes before a stem; a stem may be that of several, as of a raw file and its JPEG.

    >>> pictures_of_sidecar("a.xmp", Siblings({"a.jpg", "a.CR2", "b.jpg"}))
    ('a.CR2', 'a.jpg')
    >>> pictures_of_sidecar("a.jpg.xmp", Siblings({"a.jpg", "a.CR2"}))
    ('a.jpg',)
    """
    stem = os.path.splitext(name)[0]
    if is_picture(stem) and stem in siblings:
        return (stem,)
    return _with_stem(stem, siblings)


def pictures_of_takeout(name: str, siblings: Siblings) -> tuple[str, ...]:
    """The pictures that a JSON file of Google Takeout belongs to, if they are there: a photo, and its edited copy.

    >>> pictures_of_takeout("a.jpg(1).json", Siblings({"a.jpg", "a(1).jpg", "a-edited(1).jpg"}))
    ('a(1).jpg', 'a-edited(1).jpg')
    >>> pictures_of_takeout("a.jpg.supplemental-met.json", Siblings({"a.jpg"}))
    ('a.jpg',)
    """
    base = name[: -len(".json")]
    counter = ""
    counted = _COUNTER.search(base)
    if counted:
        base, counter = base[: counted.start()], counted[0]
    found: list[str] = []
    for plain in _plain_names(base, siblings, counter):
        stem, suffix = os.path.splitext(plain)
        copies = [f"{stem}{counter}{suffix}", *(f"{stem}{edited}{counter}{suffix}" for edited in _EDITED)]
        found += [copy for copy in copies if copy in siblings]
    return tuple(dict.fromkeys(found))


def _plain_names(base: str, siblings: Siblings, counter: str) -> Iterator[str]:
    """Names of pictures, without their counter, of which `base` may be what Takeout made."""
    if is_picture(base):
        yield base
    stem, ending = os.path.splitext(base)
    # The longest possible ending may have been cut anywhere, down to the dot alone.
    if base.endswith("."):
        stem, ending = base[:-1], "."
    if _TAKEOUT_ENDING.startswith(ending) and is_picture(stem):
        yield stem
    if len(base) < _TAKEOUT_LENGTH - 1:
        return
    # So long a name may have lost its own end: then the picture begins with it.
    for name in siblings.beginning(base):
        stem, suffix = os.path.splitext(name)
        if is_picture(name) and stem.endswith(counter):
            yield stem[: len(stem) - len(counter)] + suffix


def _with_stem(stem: str, siblings: Siblings) -> tuple[str, ...]:
    return tuple(sorted(stem + suffix for suffix in _SPELLINGS if stem + suffix in siblings))
