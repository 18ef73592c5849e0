"""Checksums of what answers are made of, with which all of it is compared whenever it is read: nothing else tells a
vector of which a byte was changed from one that was written so.

Each is a CRC-32 over the ids of its row, as little-endian 64-bit numbers, and the blobs that are read together:

    vectors     photo, space, seq, region count; image, regions
    boxes       photo, space; boxes, areas, scores
    masks       photo, space; masks
    grounding   photo, space; the grounding record, where there is one
    passage     passage, space, seq; the vector of the whole
    phrases     passage, space; the vectors of the phrases
    calibration space; its bytes

Catalogs of older schemas that may only be read have none, and are read as they are.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, and_, delete, func, insert, inspect, null, select, update

from .blobs import CHECKED, checksum
from .statements import chunks, table
from .tables import (
    CalibrationChecksumRow,
    CalibrationRow,
    ChecksumRow,
    EncodingRow,
    PartChecksumRow,
    PassageChecksumRow,
    PassageEncodingRow,
    RegionMaskRow,
    SpaceTable,
)

E, M, C = table(EncodingRow).c, table(RegionMaskRow).c, table(PartChecksumRow).c
WHOLE = table(ChecksumRow).c
P, PC = table(PassageEncodingRow).c, table(PassageChecksumRow).c
OF_ENCODING = and_(C.photo_id == E.photo_id, C.space_id == E.space_id)
OF_MASKS = and_(C.photo_id == M.photo_id, C.space_id == M.space_id)
OF_WHOLE = and_(WHOLE.photo_id == E.photo_id, WHOLE.space_id == E.space_id)
OF_PASSAGE = and_(PC.passage_id == P.passage_id, PC.space_id == P.space_id)
MASKS_OF_ENCODING = and_(M.photo_id == E.photo_id, M.space_id == E.space_id)
Columns = Mapping[str, Any] | RowMapping
PARTS = ("vectors", "boxes", "masks", "grounding")
PASSAGE_PARTS = ("passage", "phrases")
FOUND = "found_"  # before the name of a checksum that stands beside what it is about
WHOLE_FOUND = "found_crc32"
AT_A_TIME = 64  # photos of which everything is held
DAMAGED, IMPOSSIBLE = -1, -2  # no bytes have these checksums; the second is never kept
KEPT = "interleave_checksums"


def of(names: Sequence[int], *blobs: bytes) -> int:
    """The checksum of some blobs that belong to a row of these ids; `IMPOSSIBLE` where they are no numbers and bytes.

    >>> of([7, 1], b"ab") != of([8, 1], b"ab") != of([8, 1], b"aB")
    True
    """
    try:
        crc = zlib.crc32(struct.pack(f"<{len(names)}q", *names))
        for blob in blobs:
            crc = zlib.crc32(blob, crc)
    except (struct.error, TypeError):  # SQLite gives a text or nothing where the byte that tells the type was changed
        return IMPOSSIBLE
    return crc


def of_parts(row: Columns) -> dict[str, int | None]:
    """The checksums of the parts of one photo's encoding in one space, by column of `part_checksum`.

    Args:
        row: columns of `encoding` and `region_mask`, by name.
    """
    key = (row["photo_id"], row["space_id"])
    return {
        "vectors": of((*key, row["seq"], row["region_count"]), row["image"], row["regions"]),
        "boxes": of(key, row["boxes"], row["areas"], row["scores"]),
        "masks": of(key, row["masks"]),
        "grounding": None if row["grounding"] is None else of(key, row["grounding"]),
    }


def of_whole(row: Columns) -> int:
    """The checksum over all blobs of an encoding that stands in `checksum`; `row` as above."""
    try:
        return checksum(row[name] for name in CHECKED)
    except TypeError:  # as in `of`
        return IMPOSSIBLE


def of_passage(row: Columns) -> dict[str, int]:
    """The checksums of the vectors of one passage in one space, by column; `row` has those of `passage_encoding`."""
    key = (row["passage_id"], row["space_id"])
    return {"passage": of((*key, row["seq"]), row["passage"]), "phrases": of(key, row["phrases"])}


def are_kept(connection: Connection) -> bool:
    """Whether the catalog keeps checksums of what is read: an older one that may only be read does not."""
    if not connection.info.get(KEPT):
        connection.info[KEPT] = inspect(connection).has_table(table(PassageChecksumRow).name)
    return bool(connection.info[KEPT])


def marked(connection: Connection, space_id: int) -> frozenset[int]:
    """Photos of a space whose stored vectors were found to be damaged by something that wrote to the catalog."""
    if not are_kept(connection):
        return frozenset()
    rows = connection.execute(select(C.photo_id).where(C.space_id == space_id, C.vectors == DAMAGED))
    return frozenset(rows.scalars())


def mark(connection: Connection, space_id: int, photo_ids: Iterable[int]) -> None:
    """Keep that the vectors of some photos are damaged: they are left out of searches from the first look on."""
    for some in chunks(sorted(photo_ids)):
        chosen = (C.space_id == space_id, C.photo_id.in_(some))
        there = set(connection.execute(select(C.photo_id).where(*chosen)).scalars())
        connection.execute(update(table(PartChecksumRow)).where(*chosen).values(vectors=DAMAGED))
        damaged = {"space_id": space_id, "vectors": DAMAGED, "boxes": DAMAGED, "masks": DAMAGED}
        lost = [{"photo_id": photo_id, **damaged} for photo_id in some if photo_id not in there]
        if lost:
            connection.execute(insert(table(PartChecksumRow)), lost)


# --- looking through everything --------------------------------------------------------------


class Compared(NamedTuple):
    """What came of comparing all encodings of a space: how many agree, have no checksum, and the photos that differ."""

    agreed: int
    without: int
    wrong: list[int]


def compared(connection: Connection, space_id: int) -> Compared:
    """All that is stored of the photos of a space held against its checksums, by reading all of it.

    In a catalog of an older schema that may only be read there is one checksum of the whole, or none.
    """
    parts, ids = are_kept(connection), _ids(connection, E.photo_id, space_id)
    if not inspect(connection).has_table(table(ChecksumRow).name):
        return Compared(0, len(ids), [])
    agreed, without, wrong = 0, 0, []
    for some in chunks(ids, AT_A_TIME):
        for row in _encodings(connection, space_id, some, parts=parts):
            if not parts and row[WHOLE_FOUND] is None:
                without += 1
            elif row[WHOLE_FOUND] in (None, of_whole(row)) and (not parts or _parts_agree(row)):
                agreed += 1
            else:
                wrong.append(int(row["photo_id"]))
    return Compared(agreed, without, wrong)


def _parts_agree(row: Columns) -> bool:
    computed, record = of_parts(row), row[FOUND + "grounding"]
    if record is None:  # that of an older encoding has no checksum
        computed["grounding"] = None
    return all(row[FOUND + name] == computed[name] for name in PARTS)


def damaged_passages(connection: Connection, space_id: int) -> list[int]:
    """Passages of a space whose vectors are not those that were written, ascending; all of them are read."""
    if not are_kept(connection):
        return []
    query = select(*table(PassageEncodingRow).c, *(PC[name].label(FOUND + name) for name in PASSAGE_PARTS))
    query = query.outerjoin(table(PassageChecksumRow), OF_PASSAGE)
    wrong = []
    for some in chunks(_ids(connection, P.passage_id, space_id)):
        rows = connection.execute(query.where(P.space_id == space_id, P.passage_id.in_(some))).mappings()
        for row in rows:
            computed = of_passage(row)
            if any(row[FOUND + name] != computed[name] for name in PASSAGE_PARTS):
                wrong.append(int(row["passage_id"]))
    return sorted(wrong)


def calibration_holds(connection: Connection, space_id: int) -> bool:
    """Whether the calibration of a space is the one that was kept; True where there is none."""
    data = connection.execute(select(CalibrationRow.data).where(CalibrationRow.space_id == space_id)).scalar()
    if data is None or not are_kept(connection):
        return True
    kept = select(CalibrationChecksumRow.crc32).where(CalibrationChecksumRow.space_id == space_id)
    return connection.execute(kept).scalar() == of([space_id], data)


def _ids(connection: Connection, column: Any, space_id: int) -> Sequence[int]:
    return (
        connection.execute(select(column).where(column.table.c.space_id == space_id).order_by(column)).scalars().all()
    )


def _encodings(connection: Connection, space_id: int, photo_ids: Sequence[int], *, parts: bool) -> Sequence[Columns]:
    """All that is stored of some photos in a space, by column, and its checksums, with `FOUND` before their names.

    Without the checksums of the parts grounding records, which may be large, are not read.
    """
    masks = func.coalesce(M.masks, b"").label("masks")
    columns = [*table(EncodingRow).c, masks, WHOLE.crc32.label(WHOLE_FOUND)]
    columns += [M.grounding, *(C[name].label(FOUND + name) for name in PARTS)] if parts else [null().label("grounding")]
    query = (
        select(*columns)
        .select_from(table(EncodingRow).outerjoin(table(RegionMaskRow), MASKS_OF_ENCODING))
        .outerjoin(table(ChecksumRow), OF_WHOLE)
        .where(E.space_id == space_id, E.photo_id.in_(photo_ids))
    )
    if parts:
        query = query.outerjoin(table(PartChecksumRow), OF_ENCODING)
    return connection.execute(query).mappings().all()


# --- catalogs that have none -----------------------------------------------------------------


def put_all(connection: Connection) -> None:
    """Fill in the checksums of a catalog that was brought up to date just now, from what is stored in it.

    Encodings that have a checksum of the whole are compared with it first: where it differs, all parts are `DAMAGED`.
    What never had one is believed; so are grounding records, which stay without.
    """
    for space_id in connection.execute(select(table(SpaceTable).c.id)).scalars().all():
        for some in chunks(_ids(connection, E.photo_id, space_id), AT_A_TIME):
            rows = [_first_row(row) for row in _encodings(connection, space_id, some, parts=False)]
            connection.execute(insert(table(PartChecksumRow)), rows)
        _put_passages(connection, space_id)
    for space_id, data in connection.execute(select(CalibrationRow.space_id, CalibrationRow.data)).all():
        put_calibration(connection, space_id, data)


def _first_row(row: Columns) -> dict[str, Any]:
    """The row of `part_checksum` of an encoding that has none."""
    made: dict[str, Any] = of_parts(row)
    if row[WHOLE_FOUND] not in (None, of_whole(row)):
        made |= {"vectors": DAMAGED, "boxes": DAMAGED, "masks": DAMAGED}
    return {"photo_id": row["photo_id"], "space_id": row["space_id"], **made}


def _put_passages(connection: Connection, space_id: int) -> None:
    query = select(*table(PassageEncodingRow).c).where(P.space_id == space_id)
    for some in chunks(_ids(connection, P.passage_id, space_id)):
        rows = connection.execute(query.where(P.passage_id.in_(some))).mappings().all()
        connection.execute(insert(table(PassageChecksumRow)), [passage_row(row) for row in rows])


def passage_row(row: Columns) -> dict[str, int]:
    """The row of `passage_checksum` that belongs to one of `passage_encoding`."""
    return {"passage_id": row["passage_id"], "space_id": row["space_id"], **of_passage(row)}


def put_calibration(connection: Connection, space_id: int, data: bytes) -> None:
    """Keep the checksum of the calibration of a space."""
    connection.execute(delete(CalibrationChecksumRow).where(CalibrationChecksumRow.space_id == space_id))
    values = {"space_id": space_id, "crc32": of([space_id], data)}
    connection.execute(insert(table(CalibrationChecksumRow)).values(values))
