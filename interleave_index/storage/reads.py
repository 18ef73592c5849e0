"""Everything that reads facts of photos, as functions on a connection. Knows no FAISS and writes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, Row, and_, bindparam, func, select

from ..errors import NotInIndex
from ..paths import absolute, lies_in, without_links
from ..records import FailedFile, Filters, Location, Photo
from .names import composed, is_copy, real_path, stored_path
from .rows import ExclusionKind, Ids, KnownLocation, LocationState, ShaKnown
from .statements import below_stored, chunks
from .tables import DocumentRow, EncodingRow, LocationRow, PhotoRow, PixelsRow, TextReadRow
from .writes import below

EARTH_KM = 6371.0088  # mean radius
LARGEST_ID = 2**63 - 1  # that SQL can be asked for
# Made once: every query asks these for its hits.
PHOTOS = select(PhotoRow.__table__).where(PhotoRow.id.in_(bindparam("photos", expanding=True)))
PATHS = select(LocationRow.photo_id, LocationRow.state, LocationRow.path).where(
    LocationRow.photo_id.in_(bindparam("photos", expanding=True))
)
PRESENT_FIRST = {"present": 0, "missing": 1, "failed": 2}


def known_locations(
    connection: Connection, roots: Sequence[Path | str], space_id: int | None
) -> dict[str, KnownLocation]:
    """Every location at or below the roots, by path; `encoded` is about the given space."""
    join = and_(EncodingRow.photo_id == LocationRow.photo_id, EncodingRow.space_id == (space_id or 0))
    rows = connection.execute(
        select(
            LocationRow.path,
            LocationRow.photo_id,
            LocationRow.bytes,
            LocationRow.mtime_ns,
            LocationRow.state,
            EncodingRow.seq,
            PhotoRow.sha256,
            LocationRow.reason,
            LocationRow.detail,
            PixelsRow.sha256,
            TextReadRow.photo_id,
        )
        .outerjoin(EncodingRow, join)
        .outerjoin(PhotoRow, PhotoRow.id == LocationRow.photo_id)
        .outerjoin(PixelsRow, PixelsRow.photo_id == LocationRow.photo_id)
        .outerjoin(TextReadRow, TextReadRow.photo_id == LocationRow.photo_id)
        .where(below(roots))
    )
    return {
        real_path(path): KnownLocation(
            photo_id,
            size,
            mtime,
            cast(LocationState, state),
            seq is not None,
            sha,
            reason,
            detail,
            pixels,
            read is not None,
        )
        for path, photo_id, size, mtime, state, seq, sha, reason, detail, pixels, read in rows
    }


def photos_by_sha(connection: Connection, shas: Sequence[str], space_id: int | None) -> dict[str, ShaKnown]:
    """Those of the contents that are photos of the catalog; `encoded` is about the given space."""
    found: dict[str, ShaKnown] = {}
    here = (
        select(func.count())
        .where(LocationRow.photo_id == PhotoRow.id, LocationRow.state == "present")
        .scalar_subquery()
    )
    join = and_(EncodingRow.photo_id == PhotoRow.id, EncodingRow.space_id == (space_id or 0))
    for some in chunks(shas):
        rows = connection.execute(
            select(PhotoRow.sha256, PhotoRow.id, EncodingRow.seq, here)
            .outerjoin(EncodingRow, join)
            .where(PhotoRow.sha256.in_(some))
        )
        found.update((sha, ShaKnown(photo_id, seq is not None, paths)) for sha, photo_id, seq, paths in rows)
    return found


def photos(connection: Connection, photo_ids: Sequence[int]) -> dict[int, Photo]:
    """Those of the ids that the catalog knows."""
    found: dict[int, Photo] = {}
    for some in chunks([int(photo_id) for photo_id in photo_ids if int(photo_id) <= LARGEST_ID]):
        paths = _paths(connection, some)
        rows = connection.execute(PHOTOS, {"photos": some})
        found.update((row.id, _photo(row, paths.get(row.id))) for row in rows)
    return found


def _paths(connection: Connection, photo_ids: Sequence[int]) -> dict[int, str]:
    """The path to show of each photo: present before missing, an original before a copy, then the first by name."""
    best: dict[int, tuple[int, bool, str]] = {}
    rows = connection.execute(PATHS, {"photos": photo_ids})
    for photo_id, state, path in rows:
        rank = (PRESENT_FIRST[state], is_copy(path), path)
        if photo_id is not None and (photo_id not in best or rank < best[photo_id]):
            best[photo_id] = rank
    return {photo_id: real_path(path) for photo_id, (_, _, path) in best.items()}


def locations(connection: Connection, photo_id: int) -> list[Location]:
    """Every path of a photo, the one that is shown first."""
    rows = connection.execute(PATHS, {"photos": [photo_id]})
    ranked = sorted((PRESENT_FIRST[state], is_copy(path), path) for _, state, path in rows)
    return [Location(real_path(path), rank == PRESENT_FIRST["present"]) for rank, _, path in ranked]


def count_locations(connection: Connection, photo_ids: Sequence[int]) -> int:
    """How many locations these photos have, in any state."""
    counts = (
        connection.execute(select(func.count()).where(LocationRow.photo_id.in_(some))).scalar_one()
        for some in chunks(photo_ids)
    )
    return sum(map(int, counts))


def failed(connection: Connection) -> list[FailedFile]:
    """Every file that could not be read, by path, with the reason of the last try."""
    rows = connection.execute(
        select(LocationRow.path, LocationRow.reason, LocationRow.detail)
        .where(LocationRow.state == "failed")
        .order_by(LocationRow.path)
    )
    return [FailedFile(real_path(path), reason or "", detail or "", new=False) for path, reason, detail in rows]


def _photo(row: Row[Any], path: str | None) -> Photo:
    return Photo(
        id=row.id,
        path=path,
        width=row.width,
        height=row.height,
        format=row.format,
        taken_at=row.taken_at,
        camera=row.camera,
        lens=row.lens,
        latitude=row.latitude,
        longitude=row.longitude,
        sha256=row.sha256,
        phash=None if row.phash is None else row.phash % (1 << 64),
    )


def photo_id_at(connection: Connection, path: Path | str) -> int | None:
    """Photo at a path, whatever the state of the location, or None; see `spellings`."""
    for name in spellings(connection, path):
        found = connection.execute(select(LocationRow.photo_id).where(LocationRow.path == name)).scalar()
        if found is not None:
            return int(found)
    return None


def ids_below(connection: Connection, folder: Path | str) -> list[int]:
    """Photos with a location at or below a path, in any state, ascending; see `spellings`."""
    here = below_stored(spellings(connection, folder))
    found = connection.execute(select(LocationRow.photo_id).where(here, LocationRow.photo_id.is_not(None)))
    return sorted({int(photo_id) for photo_id in found.scalars() if photo_id is not None})


def has_below(connection: Connection, folder: Path | str) -> bool:
    """Whether some photo has a location at or below a path, in any state; see `spellings`."""
    here = below_stored(spellings(connection, folder))
    found = connection.execute(select(LocationRow.path).where(here, LocationRow.photo_id.is_not(None)).limit(1))
    return found.first() is not None


def kinds_of(connection: Connection, path: Path | str) -> list[tuple[ExclusionKind, str, str | None]]:
    """Exclusions that a path stands for: a file of the catalog (photo or text source), or a folder with some below it.

    Raises:
        NotInIndex: the catalog knows neither.
    """
    found: list[tuple[ExclusionKind, str, str | None]] = []
    for name in spellings(connection, path):
        is_file = [
            connection.execute(select(row.path).where(row.path == name)).first() for row in (LocationRow, DocumentRow)
        ]
        inside = [
            connection.execute(select(row.path).where(below_stored([name], row)).limit(1)).first()
            for row in (LocationRow, DocumentRow)
        ]
        if any(is_file):
            found.append(("file", name, None))
        elif any(inside):
            found.append(("folder", name, None))
    if not found:
        raise NotInIndex(
            f"{absolute(path)} is not in the index, expected the path of a photo, a folder of photos, or an id"
        )
    return found


def spellings(connection: Connection, path: Path | str) -> list[str]:
    """Stored names of a path: as it was given, behind its links, and as the catalog spells its accents.

    A letter with an accent is one character or two, by the system that made the name. Only a name beyond ASCII can
    differ so; for one, the locations below its last ASCII folder are looked through.
    """
    given = absolute(path)
    names = dict.fromkeys((stored_path(given), stored_path(without_links(given))))
    for name in list(names):
        if name.isascii():
            continue
        wanted, depth = composed(name), name.count(os.sep)
        folder = name
        while not folder.isascii():
            folder = os.path.dirname(folder)
        for other in connection.execute(select(LocationRow.path).where(below_stored([folder]))).scalars():
            plain = composed(other)
            if lies_in(plain, wanted):
                names[os.sep.join(other.split(os.sep)[: depth + 1])] = None
    return list(names)


def eligible(connection: Connection, space_id: int, filters: Filters) -> Ids | None:
    """Sorted ids of the encoded photos that pass the filters; None when no encoded photo is left out."""
    encoded = _ids(connection, select(EncodingRow.photo_id).where(EncodingRow.space_id == space_id))
    left = encoded
    if not filters.include_missing or filters.folders:
        left = np.intersect1d(left, _located(connection, filters), assume_unique=True)
    facts = _fact_tests(connection, filters)
    if facts:
        left = np.intersect1d(left, _ids(connection, select(PhotoRow.id).where(*facts)), assume_unique=True)
    if filters.near is not None:
        left = np.intersect1d(left, _near(connection, filters.near), assume_unique=True)
    return None if len(left) == len(encoded) else left


def undated(connection: Connection, space_id: int, filters: Filters) -> int:
    """How many encoded photos pass all filters but those on the date, and have no date."""
    without = select(EncodingRow.photo_id).join(PhotoRow, PhotoRow.id == EncodingRow.photo_id)
    dateless = _ids(connection, without.where(EncodingRow.space_id == space_id, PhotoRow.taken_at.is_(None)))
    if not len(dateless):  # as in most libraries: then the other filters need not be asked
        return 0
    ids = eligible(connection, space_id, replace(filters, after=None, before=None))
    return len(dateless if ids is None else np.intersect1d(ids, dateless, assume_unique=True))


def _ids(connection: Connection, statement: Any) -> Ids:
    found = np.fromiter(connection.execute(statement).scalars(), np.int64)
    found.sort()
    return found


def _located(connection: Connection, filters: Filters) -> Ids:
    tests: list[Any] = [LocationRow.photo_id.is_not(None)]
    if not filters.include_missing:
        tests.append(LocationRow.state == "present")
    if filters.folders:
        names = [name for folder in filters.folders for name in spellings(connection, folder)]
        tests.append(below_stored(names))
    return np.unique(_ids(connection, select(LocationRow.photo_id).where(*tests)))


def _fact_tests(connection: Connection, filters: Filters) -> list[Any]:
    tests: list[Any] = []
    after, before = filters.bounds
    if after is not None:
        tests.append(PhotoRow.taken_at >= after)
    if before is not None:
        tests.append(PhotoRow.taken_at < before)
    if filters.within is not None:
        tests += _box_tests(filters.within)
    if filters.camera is not None:
        # Databases fold the case of ASCII only, or by their locale; there are few cameras, so fold them here.
        part = filters.camera.casefold()
        names = connection.execute(select(PhotoRow.camera).where(PhotoRow.camera.is_not(None)).distinct()).scalars()
        tests.append(PhotoRow.camera.in_([name for name in names if name is not None and part in name.casefold()]))
    return tests


def _box_tests(within: Sequence[float]) -> list[Any]:
    south, west, north, east = within
    left, right = PhotoRow.longitude >= west, PhotoRow.longitude <= east
    return [PhotoRow.latitude.between(south, north), left & right if west <= east else left | right]


def _near(connection: Connection, near: Sequence[float]) -> Ids:
    """Sorted ids of the photos within a great-circle distance of a place."""
    latitude, longitude, kilometres = near
    band = np.degrees(kilometres / EARTH_KM) + 1e-6
    rows = connection.execute(
        select(PhotoRow.id, PhotoRow.latitude, PhotoRow.longitude).where(
            PhotoRow.latitude.between(latitude - band, latitude + band), PhotoRow.longitude.is_not(None)
        )
    ).all()
    if not rows:
        return np.empty(0, np.int64)
    ids = np.array([row[0] for row in rows], np.int64)
    there = np.radians(np.array([(row[1], row[2]) for row in rows], np.float64))
    here = np.radians([latitude, longitude])
    half = (
        np.sin((there[:, 0] - here[0]) / 2) ** 2
        + np.cos(here[0]) * np.cos(there[:, 0]) * np.sin((there[:, 1] - here[1]) / 2) ** 2
    )
    distance = 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))
    return np.sort(ids[distance <= kilometres])
