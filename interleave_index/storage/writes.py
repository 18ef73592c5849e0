"""Everything that changes rows, as functions on a connection inside the store's transaction. Knows no FAISS."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, delete, func, insert, or_, select, update

from ..errors import InputError, NotInIndex
from ..records import PhotoFacts
from . import checksums, text_writes, words
from .blobs import encoding_columns, pack_masks
from .names import folder_range, real_path, stored_path
from .rows import LocationWrite, PhotoWrite, WriteBatch, WriteCounts, now
from .statements import below_stored, chunks, raise_change, raise_seq, table
from .tables import (
    ChecksumRow,
    EncodingRow,
    LocationRow,
    PartChecksumRow,
    PhotoRow,
    PixelsRow,
    RegionMaskRow,
    RemovalRow,
    SpaceTable,
)

# --- photos and encodings --------------------------------------------------------------------


def write_batch(connection: Connection, batch: WriteBatch) -> WriteCounts:
    """Write photos, encodings and locations; what is known already by content is left as it is."""
    dim = connection.execute(select(SpaceTable.dim).where(SpaceTable.id == batch.space_id)).scalar()
    if dim is None:
        raise NotInIndex(f"space {batch.space_id} is not in the catalog; ensure_space makes one")
    wanted = _distinct(batch.photos)
    shas = list(wanted) + [loc.sha256 for loc in batch.locations if loc.sha256 and loc.sha256 not in wanted]
    ids = photo_ids_by_sha(connection, shas)
    new = [write.facts for sha, write in wanted.items() if sha not in ids]
    if new:
        connection.execute(insert(table(PhotoRow)), [_photo_columns(facts) for facts in new])
        ids.update(photo_ids_by_sha(connection, [facts.sha256 for facts in new]))
    _write_pixels(connection, {ids[sha]: write.facts.pixels for sha, write in wanted.items() if write.facts.pixels})
    encodings = _write_encodings(connection, batch.space_id, int(dim), [(ids[s], w) for s, w in wanted.items()])
    added, updated = _write_locations(connection, batch.locations, ids)
    raise_change(connection)
    return WriteCounts(len(new), encodings, added, updated)


def _distinct(photos: Sequence[PhotoWrite]) -> dict[str, PhotoWrite]:
    """One write per content; of two the first that has an encoding."""
    wanted: dict[str, PhotoWrite] = {}
    for write in photos:
        kept = wanted.get(write.facts.sha256)
        if kept is None or (kept.encoding is None and write.encoding is not None):
            wanted[write.facts.sha256] = write
    return wanted


def photo_ids_by_sha(connection: Connection, shas: Sequence[str]) -> dict[str, int]:
    """Photo ids of those contents that the catalog knows."""
    found: dict[str, int] = {}
    for some in chunks(shas):
        rows = connection.execute(select(PhotoRow.sha256, PhotoRow.id).where(PhotoRow.sha256.in_(some)))
        found.update((sha, photo_id) for sha, photo_id in rows)
    return found


def _write_pixels(connection: Connection, pixels: Mapping[int, str | None]) -> None:
    """Keep hashes of pixels for photos that have none yet."""
    known: set[int] = set()
    for some in chunks(list(pixels)):
        known.update(connection.execute(select(PixelsRow.photo_id).where(PixelsRow.photo_id.in_(some))).scalars())
    rows = [{"photo_id": photo_id, "sha256": sha} for photo_id, sha in pixels.items() if photo_id not in known]
    if rows:
        connection.execute(insert(table(PixelsRow)), rows)


def _lost_locations(before: datetime | None) -> Select[str]:
    """Stored names of locations that are missing, since before a moment."""
    lost = select(LocationRow.path).where(LocationRow.state == "missing")
    return lost if before is None else lost.where(LocationRow.seen_at < before)


def _lost_photos(before: datetime | None) -> Select[int]:
    """Photos that have no location but those of `_lost_locations`."""
    present = LocationRow.state == "present"
    kept = present if before is None else or_(present, LocationRow.seen_at >= before)
    here = select(LocationRow.photo_id).where(kept, LocationRow.photo_id == PhotoRow.id)
    return select(PhotoRow.id).where(~here.exists())


def edit_photo(connection: Connection, photo_id: int, facts: PhotoFacts, location: LocationWrite) -> str | None:
    """Give a photo the content and facts of its one file, which was written anew with the same pixels.

    Returns:
        The sha256 that the photo had until now; None, with nothing changed, when the photo also lies elsewhere or
        another photo has the new content.
    """
    here = select(LocationRow.path).where(LocationRow.photo_id == photo_id, LocationRow.state == "present")
    paths = connection.execute(here).scalars().all()
    before = connection.execute(select(PhotoRow.sha256).where(PhotoRow.id == photo_id)).scalar()
    elsewhere = [path for path in paths if path != stored_path(location.path)]
    if before is None or elsewhere or photo_ids_by_sha(connection, [facts.sha256]):
        return None
    columns = _photo_columns(facts)
    del columns["added_at"]
    connection.execute(update(PhotoRow).where(PhotoRow.id == photo_id).values(columns))
    _write_locations(connection, [location], {facts.sha256: photo_id})
    raise_change(connection)
    return str(before)


def refresh_facts(connection: Connection, photo_id: int, facts: PhotoFacts) -> bool:
    """Write the facts of a photo where they are others than those known; the content stays. Gives whether they were."""
    columns = _photo_columns(facts)
    del columns["added_at"], columns["sha256"]
    names = list(columns)
    held = connection.execute(
        select(*(getattr(PhotoRow, name) for name in names)).where(PhotoRow.id == photo_id)
    ).first()
    if held is None or tuple(held) == tuple(columns.values()):
        return False
    connection.execute(update(PhotoRow).where(PhotoRow.id == photo_id).values(columns))
    raise_change(connection)
    return True


def _photo_columns(facts: PhotoFacts) -> dict[str, Any]:
    phash = facts.phash
    return {
        "sha256": facts.sha256,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
        # The camera's wall clock is what people filter by; EXIF seldom knows a time zone.
        "taken_at": None if facts.taken_at is None else facts.taken_at.replace(tzinfo=None),
        "camera": facts.camera,
        "lens": facts.lens,
        "latitude": facts.latitude,
        "longitude": facts.longitude,
        "phash": phash - (1 << 64) if phash is not None and phash >= 1 << 63 else phash,
        "added_at": now(),
    }


def _write_encodings(connection: Connection, space_id: int, dim: int, writes: Sequence[tuple[int, PhotoWrite]]) -> int:
    given = [(photo_id, write) for photo_id, write in writes if write.encoding is not None]
    known: set[int] = set()
    for some in chunks([photo_id for photo_id, _ in given]):
        known.update(
            connection.execute(
                select(EncodingRow.photo_id).where(EncodingRow.space_id == space_id, EncodingRow.photo_id.in_(some))
            ).scalars()
        )
    again = [photo_id for photo_id, write in given if photo_id in known and write.replace]
    if again:
        take_out(connection, space_id, again)
    due = [(photo_id, write) for photo_id, write in given if photo_id not in known or write.replace]
    if not due:
        return 0
    first = raise_seq(connection, space_id, len(due))
    rows, masks, wholes, parts = [], [], [], []
    for seq, (photo_id, write) in enumerate(due, first):
        if write.encoding is not None:
            key = {"photo_id": photo_id, "space_id": space_id}
            rows.append({**key, "seq": seq, **encoding_columns(write.encoding, dim)})
            masks.append({**key, "masks": pack_masks(write.encoding.masks), "grounding": write.encoding.grounding})
            stored = rows[-1] | masks[-1]
            wholes.append({**key, "crc32": checksums.of_whole(stored)})
            parts.append({**key, **checksums.of_parts(stored)})
    connection.execute(insert(table(EncodingRow)), rows)
    connection.execute(insert(table(RegionMaskRow)), masks)
    connection.execute(insert(table(ChecksumRow)), wholes)
    connection.execute(insert(table(PartChecksumRow)), parts)
    return len(rows)


def take_out(connection: Connection, space_id: int, photo_ids: Sequence[int]) -> None:
    """Delete encodings of these photos in one space and leave a removal row for each."""
    if not photo_ids:
        return
    for some in chunks(photo_ids):
        for model in (PartChecksumRow, ChecksumRow, RegionMaskRow, EncodingRow):
            connection.execute(delete(model).where(model.space_id == space_id, model.photo_id.in_(some)))
    first = raise_seq(connection, space_id, len(photo_ids))
    connection.execute(
        insert(table(RemovalRow)),
        [{"space_id": space_id, "seq": seq, "photo_id": photo_id} for seq, photo_id in enumerate(photo_ids, first)],
    )


# --- locations -------------------------------------------------------------------------------


def _write_locations(
    connection: Connection, locations: Sequence[LocationWrite], ids: dict[str, int]
) -> tuple[int, int]:
    rows = {row["path"]: row for row in (_location_columns(location, ids) for location in locations)}
    left = [stored_path(location.moved_from) for location in locations if location.moved_from]
    renamed = _photos_at(connection, [*rows, *left]) | {row["photo_id"] for row in rows.values()}
    for some in chunks([path for path in left if path not in rows]):
        connection.execute(delete(LocationRow).where(LocationRow.path.in_(some)))
    known: set[str] = set()
    for some in chunks(list(rows)):
        known.update(connection.execute(select(LocationRow.path).where(LocationRow.path.in_(some))).scalars())
    new = [row for path, row in rows.items() if path not in known]
    old = [{f"new_{name}": value for name, value in row.items()} for path, row in rows.items() if path in known]
    if new:
        connection.execute(insert(table(LocationRow)), new)
    if old:
        names = [name.removeprefix("new_") for name in old[0] if name != "new_path"]
        connection.execute(
            update(table(LocationRow))
            .where(table(LocationRow).c.path == bindparam("new_path"))
            .values({name: bindparam(f"new_{name}") for name in names}),
            old,
        )
    words.put_names(connection, [photo_id for photo_id in renamed if photo_id is not None])
    return len(new), len(old)


def _photos_at(connection: Connection, names: Sequence[str]) -> set[int | None]:
    """Photos that lie at these stored paths; None for a location without a photo."""
    found: set[int | None] = set()
    for some in chunks(names):
        found.update(connection.execute(select(LocationRow.photo_id).where(LocationRow.path.in_(some))).scalars())
    return found


def _location_columns(location: LocationWrite, ids: dict[str, int]) -> dict[str, Any]:
    photo_id = None
    if location.state != "failed" and location.sha256 is not None:
        photo_id = ids.get(location.sha256)
    if location.state == "present" and photo_id is None:
        raise InputError(
            f"location {location.path!r} is present with content {location.sha256}, which no photo of "
            "the catalog or of this batch has; write its photo in the same batch"
        )
    if location.state == "failed" and not location.reason:
        raise InputError(f"location {location.path!r} failed without a reason, expected the name of an error class")
    return {
        "path": stored_path(location.path),
        "photo_id": photo_id,
        "bytes": location.bytes,
        "mtime_ns": location.mtime_ns,
        "state": location.state,
        "reason": location.reason,
        "detail": location.detail,
        "seen_at": now(),
    }


def below(roots: Iterable[str | Path]) -> Any:
    """SQL condition: the location is one of these paths or lies below one."""
    return below_stored(stored_path(root) for root in roots)


def mark_missing(
    connection: Connection,
    roots: Sequence[Path | str],
    seen: Set[str],
    unlisted: Sequence[Path | str],
    known: Set[str] | None,
) -> int:
    """Call every location below the roots missing that was not seen, but for those below unlisted folders.

    A file that had failed and is not met any more leaves nothing worth keeping: its row goes. `seen_at` of a missing
    location is when it was found to be missing. With `known`, other locations than these stay as they are.

    Returns:
        How many became missing.
    """
    gone: list[str] = []
    failed: list[str] = []
    for path, state in _unseen(connection, roots, seen, unlisted):
        if known is not None and real_path(path) not in known:
            continue
        (failed if state == "failed" else gone).append(path)
    missing = {"state": "missing", "reason": None, "detail": None, "seen_at": now()}
    for some in chunks(gone):
        connection.execute(update(LocationRow).where(LocationRow.path.in_(some)).values(missing))
    drop_locations(connection, failed)
    if gone:
        raise_change(connection)
    return len(gone)


def count_unseen(
    connection: Connection, roots: Sequence[Path | str], seen: Set[str], unlisted: Sequence[Path | str]
) -> tuple[int, int]:
    """How many photos `mark_missing` would call missing, and how many present ones there are below the roots."""
    present = select(func.count()).where(below(roots), LocationRow.state == "present")
    gone = sum(state == "present" for _, state in _unseen(connection, roots, seen, unlisted))
    return gone, int(connection.execute(present).scalar_one())


def _unseen(
    connection: Connection, roots: Sequence[Path | str], seen: Set[str], unlisted: Sequence[Path | str]
) -> Iterator[tuple[str, str]]:
    """Stored name and state of every location below the roots that was not seen, missing ones left out."""
    rows = connection.execute(
        select(LocationRow.path, LocationRow.state).where(below(roots), LocationRow.state != "missing")
    )
    skipped = [stored_path(folder) for folder in unlisted]
    for path, state in rows:
        hidden = any(path == folder or path.startswith(folder_range(folder)[0]) for folder in skipped)
        if not hidden and real_path(path) not in seen:
            yield path, state


def drop_locations(connection: Connection, names: Sequence[str]) -> None:
    """Delete these locations by stored name; their photos stay."""
    renamed = _photos_at(connection, names)
    for some in chunks(names):
        connection.execute(delete(LocationRow).where(LocationRow.path.in_(some)))
    words.put_names(connection, [photo_id for photo_id in renamed if photo_id is not None])
    if names:
        raise_change(connection)


# --- taking photos out -----------------------------------------------------------------------


def forget(connection: Connection, photo_ids: Sequence[int]) -> list[str]:
    """Take photos out of every table and return their sha256; files on disk stay.

    Raises:
        NotInIndex: an id is not in the catalog; nothing is changed then.
    """
    wanted = list(dict.fromkeys(int(photo_id) for photo_id in photo_ids))
    known: dict[int, str] = {}
    for some in chunks(wanted):
        rows = connection.execute(select(PhotoRow.id, PhotoRow.sha256).where(PhotoRow.id.in_(some)))
        known.update((photo_id, sha) for photo_id, sha in rows)
    unknown = [photo_id for photo_id in wanted if photo_id not in known]
    if unknown:
        raise NotInIndex(f"photo {unknown[0]} is not in the catalog; nothing was forgotten")
    for space_id in connection.execute(select(SpaceTable.id)).scalars().all():
        encoded: list[int] = []
        for some in chunks(wanted):
            encoded += connection.execute(
                select(EncodingRow.photo_id).where(EncodingRow.space_id == space_id, EncodingRow.photo_id.in_(some))
            ).scalars()
        take_out(connection, space_id, encoded)
    text_writes.forget_photos(connection, wanted)
    words.remove(connection, "photo", wanted)
    for some in chunks(wanted):
        connection.execute(delete(LocationRow).where(LocationRow.photo_id.in_(some)))
        connection.execute(delete(PixelsRow).where(PixelsRow.photo_id.in_(some)))
        connection.execute(delete(PhotoRow).where(PhotoRow.id.in_(some)))
    if wanted:
        raise_change(connection)
    return list(known.values())


def forget_locations(connection: Connection, names: Sequence[str]) -> tuple[int, list[str]]:
    """Take locations at or below these stored names out, and every photo that has no other one; text sources too.

    Returns:
        How many locations, those of text sources included, and the sha256 of the photos.
    """
    documents = text_writes.forget_below(connection, names)
    rows = connection.execute(select(LocationRow.path, LocationRow.photo_id).where(below_stored(names))).all()
    drop_locations(connection, [path for path, _ in rows])
    return len(rows) + documents, forget_placeless(
        connection, [photo_id for _, photo_id in rows if photo_id is not None]
    )


def drop_sidecars(connection: Connection, photo_ids: Sequence[int], names: Sequence[str]) -> int:
    """Take out what sidecars say of these photos, and of those at or below stored names, and of no other one.

    Returns:
        How many sidecars.
    """
    at = set(connection.execute(select(LocationRow.path).where(below_stored(names))).scalars()) if names else set()
    for some in chunks(photo_ids):
        at.update(connection.execute(select(LocationRow.path).where(LocationRow.photo_id.in_(some))).scalars())
    ids = text_writes.sidecars_of(connection, at)
    text_writes.drop_documents(connection, ids)
    return len(ids)


def forget_placeless(connection: Connection, photo_ids: Sequence[int] | None = None) -> list[str]:
    """Take photos out that have no location in any state: of some ids, or of all; returns their sha256."""
    somewhere = select(LocationRow.path).where(LocationRow.photo_id == PhotoRow.id)
    query = select(PhotoRow.id).where(~somewhere.exists())
    if photo_ids is None:
        return forget(connection, connection.execute(query).scalars().all())
    placeless: list[int] = []
    for some in chunks(sorted(set(photo_ids))):
        placeless += connection.execute(query.where(PhotoRow.id.in_(some))).scalars()
    return forget(connection, placeless)


def prunable(connection: Connection, before: datetime | None) -> tuple[int, list[str], list[str]]:
    """What `prune` would take out: how many photos, the missing locations, and all other ones beside."""
    photos = connection.execute(select(func.count()).select_from(_lost_photos(before).subquery())).scalar_one()
    due = set(connection.execute(_lost_locations(before)).scalars())
    missing: list[str] = []
    others: list[str] = []
    for path in connection.execute(select(LocationRow.path)).scalars():
        (missing if path in due else others).append(real_path(path))
    return int(photos), missing, others


def prune(connection: Connection, before: datetime | None) -> list[str]:
    """Forget photos of which nothing is left, missing locations and text sources; returns sha256 of the photos.

    Args:
        before: only what was found to be missing before this moment, in UTC; None takes all that is missing.
    """
    shas = forget(connection, connection.execute(_lost_photos(before)).scalars().all())
    drop_locations(connection, connection.execute(_lost_locations(before)).scalars().all())
    text_writes.prune(connection, before)
    raise_change(connection)
    return shas
