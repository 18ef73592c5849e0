"""What `tiers` decides by, out of the catalog: files, what they hold that still holds, what came since. Reads only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from . import generations, text_reads, vectors
from .files import PHOTO_KINDS, Generation, Kind
from .tiers import Held, fold_after, is_due

RECHECK_SHARE = 0.1  # rows that came since the effort of a file was measured, by the rows of the file
TOGETHER: tuple[tuple[Kind, ...], ...] = (PHOTO_KINDS, ("text",))  # kinds whose files are made by one pass


def after(connection: Connection, space_id: int, kinds: Sequence[Kind], is_whole: Callable[[Generation], bool]) -> int:
    """The value of the counter after which a fold of kinds that are made together writes all anew.

    Args:
        is_whole: whether a file is as it was written.
    """
    files = {kind: _held(connection, space_id, kind, is_whole) for kind in kinds}
    came = {kind: _rows(connection, space_id, kind, _mark(files[kind])) for kind in kinds}
    return fold_after(files, came, generations.space_head(connection, space_id)[1])


def due(connection: Connection, space_id: int) -> tuple[Kind, ...]:
    """Kinds whose files are worth a fold after an ingest."""
    found: list[Kind] = []
    for kinds in TOGETHER:
        files = {kind: _held(connection, space_id, kind, lambda _: True) for kind in kinds}
        mark = min(map(_mark, files.values()))
        moved = text_reads.moved if kinds == ("text",) else generations.moved
        came, went = moved(connection, space_id, mark)
        if is_due(came, went, _rows(connection, space_id, kinds[0], 0), files):
            found += kinds
    return tuple(found)


def to_recheck(connection: Connection, space_id: int, made: Sequence[Generation]) -> list[Generation]:
    """Files with inverted lists that stay beside new ones, and whose effort was measured without much of what came."""
    found = []
    for new in made:
        for row in generations.live(connection, space_id):
            if row.kind == new.kind and row.mark <= new.after and row.recipe.coarse:
                came = _rows(connection, space_id, row.kind, max(row.mark, row.recipe.checked))
                found += [row] if came >= RECHECK_SHARE * row.rows else []
    return found


def _held(connection: Connection, space_id: int, kind: Kind, is_whole: Callable[[Generation], bool]) -> list[Held]:
    rows = [row for row in generations.live(connection, space_id) if row.kind == kind]
    later = [_rows(connection, space_id, kind, row.after) for row in rows]
    later.append(_rows(connection, space_id, kind, rows[-1].mark) if rows else 0)
    return [
        Held(row.after, row.mark, row.rows, later[place] - later[place + 1], is_whole(row))
        for place, row in enumerate(rows)
    ]


def _mark(files: Sequence[Held]) -> int:
    return files[-1].mark if files else 0


def _rows(connection: Connection, space_id: int, kind: Kind, after_seq: int) -> int:
    """Rows of a kind that were encoded with ``seq > after_seq``."""
    if kind == "text":
        return text_reads.count(connection, space_id, after_seq)
    photos, regions = vectors.count(connection, space_id, after_seq)
    return photos if kind == "image" else regions
