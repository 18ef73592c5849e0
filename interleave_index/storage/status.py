"""The counts of `status`, by SQL alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from . import checksums, generations, spaces, text_reads, vectors
from .files import Generation
from .tables import LocationRow, PhotoRow


def status(connection: Connection) -> dict[str, Any]:
    """Counts, the active space (None before the first ingest) and one entry per live FAISS file."""
    states = {
        str(row[0]): int(row[1])
        for row in connection.execute(select(LocationRow.state, func.count()).group_by(LocationRow.state))
    }
    active = next((row for row in spaces.all_spaces(connection) if row.state == "active"), None)
    encodings, regions = vectors.count(connection, active.id) if active else (0, 0)
    return {
        "photos": int(connection.execute(select(func.count()).select_from(PhotoRow)).scalar_one()),
        "locations": sum(states.values()),
        "missing": states.get("missing", 0),
        "failed": states.get("failed", 0),
        "encodings": encodings,
        "damaged": len(checksums.marked(connection, active.id)) if active else 0,
        "regions": regions,
        "texts": text_reads.counts(connection) | {"encoded": text_reads.count(connection, active.id) if active else 0},
        "space": None
        if active is None
        else {
            "id": active.id,
            "interface": active.space.interface,
            "checkpoint": active.space.checkpoint,
            "preprocessing": active.space.preprocessing,
            "dim": active.space.dim,
        },
        "generations": _generations(connection),
    }


def _generations(connection: Connection) -> list[dict[str, Any]]:
    rows = generations.live(connection)
    newest = {(row.space_id, row.kind): row.id for row in rows}
    return [_generation(connection, row, newest[row.space_id, row.kind] == row.id) for row in rows]


def _generation(connection: Connection, row: Generation, is_newest: bool) -> dict[str, Any]:
    """What is said of a file; what came since is said of the newest of its kind."""
    find = text_reads.moved if row.kind == "text" else generations.moved
    came, went = find(connection, row.space_id, row.mark)
    return {
        "space": row.space_id,
        "kind": row.kind,
        "file": row.file,
        "rows": row.rows,
        "bytes": row.bytes,
        "mark": row.mark,
        "delta": came + went if is_newest else went,
        "recipe": row.recipe.factory,
        "recall": {str(k): share for k, share in row.recipe.recall.items()},
    }
