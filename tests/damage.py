"""Changes a byte of what an index has stored, by SQL, in whatever database its catalog is."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from interleave_index.storage.statements import raise_change, table
from interleave_index.storage.store import Store


def turn_over(store: Store, model: type[Any], column: str, *, at: int = 0, **key: int) -> None:
    """Turn over the bits of one byte of a blob, or raise a number by one, in the row with this key.

    As a disk does that fails: no version of anything is raised but the number of the catalog's last change.
    """
    rows, field = table(model), table(model).c[column]
    here = [rows.c[name] == value for name, value in key.items()]
    with store._session.writing("a test") as connection:
        held = connection.execute(select(field).where(*here)).scalar_one()
        if isinstance(held, int):
            held += 1
        else:
            data = bytearray(held)
            data[at] ^= 0xFF
            held = bytes(data)
        connection.execute(update(rows).where(*here).values({column: held}))
        raise_change(connection)
