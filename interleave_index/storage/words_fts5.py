"""Words in SQLite: two tables of FTS5, row ids are those of passages and photos. Asked by `words` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import Connection, text

from .rows import Ids

TOKENIZER = "porter unicode61 remove_diacritics 2"


def create(connection: Connection, name: str) -> None:
    """Make a table of words."""
    connection.execute(text(f"CREATE VIRTUAL TABLE {name} USING fts5(words, tokenize = '{TOKENIZER}')"))


def put(connection: Connection, name: str, rows: Mapping[int, str]) -> None:
    """Add the words of rows that have none."""
    values = [{"id": row_id, "words": words} for row_id, words in rows.items()]
    connection.execute(text(f"INSERT INTO {name} (rowid, words) VALUES (:id, :words)"), values)


def remove(connection: Connection, name: str, ids: Sequence[int]) -> None:
    """Take the words of some rows out."""
    connection.execute(text(f"DELETE FROM {name} WHERE rowid = :id"), [{"id": row_id} for row_id in ids])


def count(connection: Connection, name: str) -> int:
    """Rows that have words."""
    return int(connection.execute(text(f"SELECT count(*) FROM {name}_docsize")).scalar_one())


def holding(connection: Connection, name: str, phrase: str, limit: int) -> Ids:
    """At most `limit` rows that hold a phrase; it consists of letters, digits and blanks."""
    # Thousands of rows of one number: the driver's own cursor gives them several times faster.
    cursor = connection.connection.cursor()
    try:
        cursor.execute(f"SELECT rowid FROM {name} WHERE {name} MATCH ? LIMIT ?", (f'"{phrase}"', limit))
        return np.array(cursor.fetchall(), np.int64).ravel()
    finally:
        cursor.close()
