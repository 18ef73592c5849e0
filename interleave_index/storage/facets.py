"""What photos of a catalog can be filtered by: how many there are of each camera, folder, month and place."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from ..paths import parent, top_of
from . import text_reads
from .names import real_path
from .tables import LocationRow, PhotoRow

MOST = 500  # cameras, folders
MOST_PLACES = 5000  # points of a map


def facets(connection: Connection) -> dict[str, Any]:
    """Counts of the photos with a present location, as plain JSON values.

    Returns:
        cameras: ``[{"name", "photos"}]``, most photos first; folders: the same by path, the folders that hold photos
        and those above them, down from the deepest one that holds all; months: ``[{"month": "2024-07", "photos"}]``
        in order; places: ``[[latitude, longitude], ...]``, at most 5,000, and `placed`, how many photos have one;
        texts: ``[{"kind": "markdown", "passages": 12}]``, the kinds of texts beside the photos, most passages first.
    """
    here = _is_here()
    # The month by string functions of SQL differs between databases: dates are few bytes, so count them here.
    taken = connection.execute(select(PhotoRow.taken_at).where(here, PhotoRow.taken_at.is_not(None))).scalars()
    months = Counter(f"{moment:%Y-%m}" for moment in taken if moment is not None)
    placed = [here, PhotoRow.latitude.is_not(None), PhotoRow.longitude.is_not(None)]
    count = connection.execute(select(func.count()).select_from(PhotoRow).where(*placed)).scalar_one()
    every = max(1, count // MOST_PLACES)
    places = connection.execute(select(PhotoRow.latitude, PhotoRow.longitude).where(*placed).order_by(PhotoRow.id))
    kept = [[latitude, longitude] for n, (latitude, longitude) in enumerate(places) if n % every == 0]
    return {
        "cameras": [{"name": name, "photos": photos} for name, photos in cameras(connection)],
        "folders": _folders(connection),
        "months": [{"month": month, "photos": photos} for month, photos in sorted(months.items())],
        "places": kept[:MOST_PLACES],
        "placed": int(count),
        "texts": text_reads.kinds(connection),
    }


def _is_here() -> ColumnElement[bool]:
    """SQL condition: the photo has a present location."""
    there = select(LocationRow.photo_id).where(LocationRow.state == "present").distinct().subquery()
    return PhotoRow.id.in_(select(there.c.photo_id))


def cameras(connection: Connection) -> list[tuple[str, int]]:
    """Cameras of the photos with a present location and how many photos each took, most photos first."""
    rows = connection.execute(
        select(PhotoRow.camera, func.count())
        .where(_is_here(), PhotoRow.camera.is_not(None))
        .group_by(PhotoRow.camera)
        .order_by(func.count().desc(), PhotoRow.camera)
        .limit(MOST)
    )
    return [(str(name), int(photos)) for name, photos in rows]


def _folders(connection: Connection) -> list[dict[str, Any]]:
    paths = connection.execute(select(LocationRow.path).where(LocationRow.state == "present")).scalars()
    own = Counter(os.path.dirname(real_path(path)) for path in paths)
    if not own:
        return []
    top = top_of(list(own))
    total: Counter[str] = Counter()
    for folder, photos in own.items():
        while True:
            total[folder] += photos
            if folder in (top, parent(folder)):
                break
            folder = parent(folder)
    shown = sorted(sorted(total, key=lambda folder: (folder.count(os.sep), -total[folder]))[:MOST])
    return [{"name": folder, "photos": total[folder]} for folder in shown]
