"""The checks of `verify`: that the catalog holds together and that every FAISS file agrees with it. Reads only."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import Connection, and_, func, or_, select, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import StorageError
from ..records import REGIONS_PER_PHOTO
from . import generations, vectors
from .blobs import unpack_masks
from .files import Generation, open_file, sha256_of
from .fp16 import widen
from .rows import Check, SpaceRow
from .spaces import all_spaces
from .tables import EncodingRow, LocationRow, PhotoRow, RegionMaskRow, SpaceTable

SAMPLE = 256  # photos whose vectors or masks are looked at one by one
Outcome = tuple[bool, str]


def checks(connection: Connection, folder: Path) -> list[Check]:
    """Run every check on one snapshot; a check that cannot be run has failed.

    Args:
        folder: where the FAISS files lie.
    """
    found = [_run("database", partial(_database, connection))]
    if not found[0].ok:
        return found
    found += [_run("locations", partial(_locations, connection)), _run("references", partial(_references, connection))]
    for space in all_spaces(connection):
        if space.state == "active":
            found.append(_run("encodings", partial(_complete, connection, space)))
        for name, check in (("vectors", _vectors), ("masks", _masks), ("sequence", _sequence)):
            found.append(_run(f"{name} of space {space.id}", partial(check, connection, space)))
    for row in generations.live(connection):
        found.append(_run(f"{row.kind} file of space {row.space_id}", partial(_file, folder, row)))
        if found[-1].ok:
            found.append(_run(f"{row.kind} ids of space {row.space_id}", partial(_ids, connection, folder, row)))
            found.append(_run(f"{row.kind} vectors of space {row.space_id}", partial(_same, connection, folder, row)))
    return found


def _run(name: str, check: Callable[[], Outcome]) -> Check:
    try:
        return Check(name, *check())
    except (SQLAlchemyError, StorageError, OSError, ValueError, zlib.error) as error:
        return Check(name, False, f"{type(error).__name__}: {error}")


def _database(connection: Connection) -> Outcome:
    if connection.dialect.name != "sqlite":
        return True, f"{connection.dialect.name} looks after itself"
    said = connection.execute(text("PRAGMA quick_check(5)")).scalars().all()
    return list(said) == ["ok"], "; ".join(map(str, said))


def _count(connection: Connection, *tests: object) -> int:
    return int(connection.execute(select(func.count()).where(*tests)).scalar_one())  # type: ignore[arg-type]


def _locations(connection: Connection) -> Outcome:
    states = {
        str(row[0]): int(row[1])
        for row in connection.execute(select(LocationRow.state, func.count()).group_by(LocationRow.state))
    }
    present, missing, failed = (states.pop(name, 0) for name in ("present", "missing", "failed"))
    wrong = sum(states.values()) + _count(
        connection,
        or_(
            and_(LocationRow.state == "present", LocationRow.photo_id.is_(None)),
            and_(LocationRow.state == "failed", or_(LocationRow.photo_id.is_not(None), LocationRow.reason.is_(None))),
        ),
    )
    return wrong == 0, f"{present} present, {missing} missing, {failed} failed, {wrong} in no proper state"


def _references(connection: Connection) -> Outcome:
    lost = 0
    for model in (LocationRow, EncodingRow, RegionMaskRow):
        there = select(PhotoRow.id).where(PhotoRow.id == model.photo_id).exists()
        lost += _count(connection, model.photo_id.is_not(None), ~there)
    return lost == 0, f"{lost} rows name a photo that is not there"


def _complete(connection: Connection, space: SpaceRow) -> Outcome:
    there = select(EncodingRow.seq).where(EncodingRow.photo_id == PhotoRow.id, EncodingRow.space_id == space.id)
    lacking = connection.execute(select(PhotoRow.id).where(~there.exists()).order_by(PhotoRow.id)).scalars().all()
    photos = _count(connection, PhotoRow.id.is_not(None))
    detail = f"{photos} photos, {space.encodings} encodings"
    return not lacking, detail + (f"; without: {', '.join(map(str, lacking[:10]))}" if lacking else "")


def _vectors(connection: Connection, space: SpaceRow) -> Outcome:
    dim, regions = space.space.dim, EncodingRow.region_count
    wrong = _count(
        connection,
        EncodingRow.space_id == space.id,
        or_(
            func.length(EncodingRow.image) != 2 * dim,
            func.length(EncodingRow.regions) != 2 * dim * regions,
            func.length(EncodingRow.boxes) != 16 * regions,
            func.length(EncodingRow.areas) != 4 * regions,
            func.length(EncodingRow.scores) != 4 * regions,
        ),
    )
    if wrong:
        return False, f"{wrong} encodings have arrays of a wrong length"
    ids = vectors.sample_ids(vectors.encoded_ids(connection, space.id), SAMPLE)
    found = vectors.fetch(connection, space.id, dim, ids)
    longest = max((float(np.square(part).sum(-1).max(initial=0.0)) for part in (found.image, found.regions)), default=0)
    return longest < 1.05, f"{space.encodings} encodings, {len(ids)} looked at, longest vector {longest**0.5:.4f}"


def _masks(connection: Connection, space: SpaceRow) -> Outcome:
    key = (RegionMaskRow.photo_id == EncodingRow.photo_id, RegionMaskRow.space_id == EncodingRow.space_id)
    lost = _count(connection, EncodingRow.space_id == space.id, ~select(RegionMaskRow.photo_id).where(*key).exists())
    loose = _count(connection, RegionMaskRow.space_id == space.id, ~select(EncodingRow.photo_id).where(*key).exists())
    if lost or loose:
        return False, f"{lost} encodings without a row of masks, {loose} rows of masks without an encoding"
    ids = vectors.sample_ids(vectors.encoded_ids(connection, space.id), SAMPLE).tolist()
    rows = connection.execute(
        select(EncodingRow.photo_id, EncodingRow.region_count, RegionMaskRow.masks)
        .join(RegionMaskRow, and_(*key))
        .where(EncodingRow.space_id == space.id, EncodingRow.photo_id.in_(ids))
    ).all()
    wrong = [row[0] for row in rows if len(unpack_masks(row[2])) not in (0, row[1])]
    return not wrong, f"{len(rows)} photos looked at, {len(wrong)} with another number of masks than regions"


def _sequence(connection: Connection, space: SpaceRow) -> Outcome:
    head = int(connection.execute(select(SpaceTable.seq).where(SpaceTable.id == space.id)).scalar_one())
    rows, distinct, last = connection.execute(
        select(func.count(), func.count(EncodingRow.seq.distinct()), func.coalesce(func.max(EncodingRow.seq), 0)).where(
            EncodingRow.space_id == space.id
        )
    ).one()
    return rows == distinct and last <= head, f"counter at {head}, last used {last}, {rows - distinct} used twice"


def _file(folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row)
    found = sha256_of(folder / row.file)
    if found != row.sha256:
        return False, f"{row.file} has checksum {found[:12]}, expected {row.sha256[:12]}; optimize rebuilds it"
    return True, f"{row.file}, {len(segment)} rows, checksum agrees"


def _ids(connection: Connection, folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row)
    ascending = bool((np.diff(segment.ids) > 0).all())
    dead = generations.removed(connection, row.space_id, row.mark)
    photos = segment.ids // REGIONS_PER_PHOTO if segment.regions else segment.ids
    counts = np.array(
        connection.execute(
            select(EncodingRow.photo_id, EncodingRow.region_count).where(
                EncodingRow.space_id == row.space_id, EncodingRow.seq <= row.mark
            )
        ).all(),
        np.int64,
    ).reshape(-1, 2)
    expected = counts[:, 0]
    if segment.regions:
        ordinals = np.arange(counts[:, 1].max(initial=0))
        every = expected[:, None] * REGIONS_PER_PHOTO + ordinals
        expected = every[ordinals < counts[:, 1:]]
    wrong = np.setxor1d(segment.ids[~np.isin(photos, dead)], expected)
    return ascending and not len(wrong), f"{len(segment)} ids, {len(dead)} removed since, {len(wrong)} do not agree"


def _same(connection: Connection, folder: Path, row: Generation) -> Outcome:
    segment = open_file(folder, row)
    living = np.setdiff1d(segment.photo_ids, generations.removed(connection, row.space_id, row.mark))
    ids = vectors.sample_ids(living, SAMPLE)
    stored = vectors.fetch(connection, row.space_id, row.dim, ids)
    rows = segment.select(ids, np.empty(0, np.int64)).rows
    held = widen(segment.codes[rows], np.empty((len(rows), row.dim), np.float32))
    wanted = stored.regions if segment.regions else stored.image
    same = held.shape == wanted.shape and bool((held == wanted).all())
    return same, f"{len(rows)} vectors of {len(ids)} photos compared with the catalog"
