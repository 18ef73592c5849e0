"""Full-text search over passages and over the names of photos' files: the words as they stand, without a model.

Two tables, `passage_words` (by passage id) and `photo_words` (by photo id: every file name and folder name of its
locations). Words are compared without case and accents and by their English stem, so that "mountains" meets
"mountain". How a database searches words is known to `words_fts5` (SQLite) and `words_tsvector` (PostgreSQL), which
find the same; nothing else of the package names these tables.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Literal

import numpy as np
from sqlalchemy import Connection, inspect, select

from . import words_fts5, words_tsvector
from .names import real_path
from .rows import Ids
from .statements import chunks
from .tables import LocationRow, PhotoRow

Source = Literal["passage", "photo"]
SOURCES: tuple[Source, ...] = ("passage", "photo")
NONE = np.empty(0, np.int64)
TABLES = {source: f"{source}_words" for source in SOURCES}


def _way(connection: Connection) -> ModuleType:
    """The functions for the database of a connection."""
    return words_fts5 if connection.dialect.name == "sqlite" else words_tsvector


def create(connection: Connection) -> None:
    """Make both tables, in the caller's transaction."""
    for name in TABLES.values():
        _way(connection).create(connection, name)


def are_there(connection: Connection) -> bool:
    """Whether the catalog has them: an older one that may only be read has none."""
    return inspect(connection).has_table(TABLES["photo"])


def put(connection: Connection, source: Source, rows: Mapping[int, str]) -> None:
    """Keep the words of some rows, in the place of those that these rows had."""
    remove(connection, source, list(rows))
    if rows:
        _way(connection).put(connection, TABLES[source], rows)


def remove(connection: Connection, source: Source, ids: Sequence[int]) -> None:
    """Take the words of some rows out; ids without words are passed over."""
    if ids:
        _way(connection).remove(connection, TABLES[source], ids)


def put_names(connection: Connection, photo_ids: Iterable[int]) -> None:
    """Keep the file and folder names of these photos as they are now; a photo without any location has no words."""
    wanted = sorted(set(photo_ids))
    names: defaultdict[int, list[str]] = defaultdict(list)
    for some in chunks(wanted):
        rows = connection.execute(select(LocationRow.photo_id, LocationRow.path).where(LocationRow.photo_id.in_(some)))
        for photo_id, path in rows:
            if photo_id is not None:
                names[photo_id].append(path_words(real_path(path)))
    remove(connection, "photo", wanted)
    put(connection, "photo", {photo_id: "\n".join(lines) for photo_id, lines in names.items()})


def put_all_names(connection: Connection) -> None:
    """`put_names` of every photo, a few at a time."""
    for some in chunks(list(connection.execute(select(PhotoRow.id).order_by(PhotoRow.id)).scalars())):
        put_names(connection, some)


def path_words(path: str) -> str:
    """The names in a path as words, bytes that are not UTF-8 left out.

    >>> path_words("/home/ann/Summer 2021/IMG_2043.jpg")
    'home ann Summer 2021 IMG_2043'
    """
    stem = os.path.splitext(path)[0]
    return " ".join(stem.encode("utf-8", "ignore").decode("utf-8").split(os.sep)).strip()


def count(connection: Connection, source: Source) -> int:
    """Rows that have words."""
    return int(_way(connection).count(connection, TABLES[source]))


def holding(connection: Connection, source: Source, phrase: str, limit: int) -> Ids | None:
    """Ids of the rows that hold a word, or all words of a phrase one after the other; ascending.

    Args:
        phrase: letters, digits and blanks; anything else only separates words.
        limit: with more rows than this the answer is None: such a word tells nothing.
    """
    composed = unicodedata.normalize("NFC", phrase)  # an accent of its own is no letter, and would part a word
    plain = "".join(character if character.isalnum() else " " for character in composed)
    if not plain.split():
        return NONE
    ids: Ids = _way(connection).holding(connection, TABLES[source], plain, limit + 1)
    ids.sort()
    return None if len(ids) > limit else ids
