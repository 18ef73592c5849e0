"""Words in PostgreSQL: two tables of tsvector. Asked by `words` alone.

PostgreSQL's own text search parses, stems and folds by other rules than SQLite's, and by the server's locale. Both
databases must find the same, so that words are split and stemmed by FTS5 in both cases: here in an empty database in
memory, and what it found is stored as a tsvector of ready lexemes.

A tsvector keeps at most 255 places of a word, so that long texts are kept in parts of so many words. Each part begins
with the last words of the one before: a phrase that is not longer stands whole in one of them.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
from sqlalchemy import Connection, text

from .rows import Ids
from .words_fts5 import TOKENIZER

PART, SHARED = 255, 63  # words of one part; those that the next part begins with
LONGEST_LEXEME = 1000  # bytes; PostgreSQL takes 2046. A text without blanks, such as Chinese, is one word.
_local = threading.local()


def create(connection: Connection, name: str) -> None:
    """Make a table of words."""
    connection.execute(
        text(
            f"CREATE TABLE {name} (id BIGINT NOT NULL, part INTEGER NOT NULL, words TSVECTOR NOT NULL, "
            f"CONSTRAINT pk_{name} PRIMARY KEY (id, part))"
        )
    )
    connection.execute(text(f"CREATE INDEX ix_{name}_words ON {name} USING gin (words)"))


def put(connection: Connection, name: str, rows: Mapping[int, str]) -> None:
    """Add the words of rows that have none."""
    lexemes = _lexemes(list(rows.values()))
    values = [
        {"id": row_id, "part": number, "words": _tsvector(part)}
        for row_id, found in zip(rows, lexemes, strict=True)
        for number, part in enumerate(_parts(found))
    ]
    statement = f"INSERT INTO {name} (id, part, words) VALUES (:id, :part, CAST(:words AS tsvector))"
    connection.execute(text(statement), values)


def remove(connection: Connection, name: str, ids: Sequence[int]) -> None:
    """Take the words of some rows out."""
    connection.execute(text(f"DELETE FROM {name} WHERE id = ANY(:ids)"), {"ids": list(ids)})


def count(connection: Connection, name: str) -> int:
    """Rows that have words."""
    return int(connection.execute(text(f"SELECT count(*) FROM {name} WHERE part = 0")).scalar_one())


def holding(connection: Connection, name: str, phrase: str, limit: int) -> Ids:
    """At most `limit` rows that hold a phrase; it consists of letters, digits and blanks.

    Of a phrase of more than 64 words, every run of 64 must stand in the row.
    """
    (lexemes,) = _lexemes([phrase])
    if not lexemes:
        return np.empty(0, np.int64)
    runs = [lexemes[start : start + SHARED + 1] for start in range(max(1, len(lexemes) - SHARED))]
    if len(runs) == 1:
        return _rows_with(connection, name, runs[0], limit)
    found = [_rows_with(connection, name, run, None) for run in runs]
    return reduce(np.intersect1d, found)[:limit]


def _rows_with(connection: Connection, name: str, lexemes: Sequence[str], limit: int | None) -> Ids:
    asked = " <-> ".join(map(_quoted, lexemes))
    # Thousands of rows of one number: the driver's own cursor gives them several times faster.
    cursor = connection.connection.cursor()
    try:
        statement = f"SELECT DISTINCT id FROM {name} WHERE words @@ %s::tsquery LIMIT %s"
        cursor.execute(statement, (asked, limit))
        return np.array(cursor.fetchall(), np.int64).ravel()
    finally:
        cursor.close()


def _lexemes(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text in their order, split, folded and stemmed by SQLite's FTS5."""
    connection = _splitter()
    connection.execute("BEGIN")
    try:
        connection.executemany("INSERT INTO given (rowid, words) VALUES (?, ?)", enumerate(texts))
        rows = connection.execute("SELECT doc, offset, term FROM found ORDER BY doc, offset").fetchall()
    finally:
        connection.execute("ROLLBACK")
    words: defaultdict[int, list[str]] = defaultdict(list)
    for number, _, term in rows:
        words[number].append(term if len(term.encode()) <= LONGEST_LEXEME else _digest(term))
    return [words[number] for number in range(len(texts))]


def _splitter() -> sqlite3.Connection:
    """An empty database of this thread whose full-text search splits texts."""
    connection: sqlite3.Connection | None = getattr(_local, "connection", None)
    if connection is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        options = f"tokenize = '{TOKENIZER}', content = '', columnsize = 0"
        connection.execute(f"CREATE VIRTUAL TABLE given USING fts5(words, {options})")
        connection.execute("CREATE VIRTUAL TABLE found USING fts5vocab(given, instance)")
        _local.connection = connection
    return connection


def _digest(term: str) -> str:
    return "#" + hashlib.sha256(term.encode()).hexdigest()  # no word begins so


def _parts(lexemes: Sequence[str]) -> Iterator[Sequence[str]]:
    """The words in runs of `PART`; a text without words has one empty part.

    >>> [len(part) for part in _parts(["a"] * 300)], [len(part) for part in _parts([])]
    ([255, 108], [0])
    """
    yield lexemes[:PART]
    for start in range(PART - SHARED, len(lexemes) - SHARED, PART - SHARED):
        yield lexemes[start : start + PART]


def _tsvector(lexemes: Sequence[str]) -> str:
    """A tsvector as text.

    >>> _tsvector(["a", "b", "a"])
    "'a':1,3 'b':2"
    """
    places: defaultdict[str, list[str]] = defaultdict(list)
    for place, lexeme in enumerate(lexemes, 1):
        places[lexeme].append(str(place))
    return " ".join(f"{_quoted(lexeme)}:{','.join(found)}" for lexeme, found in places.items())


def _quoted(lexeme: str) -> str:
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
