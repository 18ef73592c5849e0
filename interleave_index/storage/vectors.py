"""Stored vectors out of SQL, fast: raw rows and `np.frombuffer`. Knows no FAISS and writes nothing.

All that is read is compared with its checksum (`checksums`), so that no answer is made of bytes that somebody changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, bindparam, func, select

from ..errors import EncodingDamaged, NotInIndex
from ..records import REGIONS_PER_PHOTO, Rle
from . import checksums
from .blobs import floats, unpack_masks
from .rows import Ids, StoredVectors
from .statements import chunks
from .tables import EncodingRow, PartChecksumRow, RegionMaskRow

ENCODING: Table = EncodingRow.__table__  # type: ignore[assignment]
E = ENCODING.c
MASK: Table = RegionMaskRow.__table__  # type: ignore[assignment]
M = MASK.c
CHECKSUM: Table = PartChecksumRow.__table__  # type: ignore[assignment]
C = CHECKSUM.c
THESE = (E.space_id == bindparam("space"), E.photo_id.in_(bindparam("photos", expanding=True)))
THEIR_MASKS = (M.space_id == bindparam("space"), M.photo_id.in_(bindparam("photos", expanding=True)))


def _both(columns: Sequence[Any], sums: Sequence[Any], owner: Table, on: Any, where: Sequence[Any]) -> tuple[Any, Any]:
    """A statement that reads columns with their checksums behind them, and one for a catalog that has none.

    Made once: putting a statement together takes longer than running it.
    """
    with_sums = select(*columns, *sums).select_from(owner.outerjoin(CHECKSUM, on)).where(*where)
    return with_sums, select(*columns).where(*where)


HALVES = _both(
    (E.photo_id, E.seq, E.region_count, E.image, E.regions), (C.vectors,), ENCODING, checksums.OF_ENCODING, THESE
)
VECTORS = _both(
    (E.photo_id, E.seq, E.region_count, E.image, E.regions, E.boxes, E.areas, E.scores),
    (C.vectors, C.boxes),
    ENCODING,
    checksums.OF_ENCODING,
    THESE,
)
MASKS = _both((M.photo_id, M.masks), (C.masks,), MASK, checksums.OF_MASKS, THEIR_MASKS)
GROUNDING = _both((M.photo_id, M.grounding), (C.grounding,), MASK, checksums.OF_MASKS, THEIR_MASKS)


def _read(
    connection: Connection, statements: tuple[Any, Any], space_id: int, photo_ids: Sequence[int]
) -> Iterator[Any]:
    """Rows of some photos by one of the pairs above."""
    statement = statements[0] if checksums.are_kept(connection) else statements[1]
    for some in chunks(photo_ids):
        yield from connection.execute(statement, {"space": space_id, "photos": some})


def _vectors_hold(space_id: int, row: Sequence[Any], found: int | None) -> bool:
    """Whether a row that begins as those of `HALVES` do has vectors with this checksum."""
    return checksums.of((row[0], space_id, row[1], row[2]), row[3], row[4]) == found


def fetch(
    connection: Connection, space_id: int, dim: int, photo_ids: Sequence[int] | Ids, *, leave_out: bool = False
) -> StoredVectors:
    """Vectors of these photos, in the order asked for; an id may be asked for twice.

    Args:
        leave_out: photos whose vectors or boxes are damaged are left out.
    Raises:
        NotInIndex: a photo has no encoding in this space.
        EncodingDamaged: vectors or boxes of a photo are not those that were written.
    """
    wanted = [int(photo_id) for photo_id in photo_ids]
    found: dict[int, Any] = {}
    damaged: set[int] = set()
    for row in _read(connection, VECTORS, space_id, sorted(set(wanted))):
        found[row[0]] = row
        if len(row) > 8 and not (
            _vectors_hold(space_id, row, row[8]) and checksums.of((row[0], space_id), *row[5:8]) == row[9]
        ):
            damaged.add(row[0])
    for photo_id in wanted:
        if photo_id not in found:
            raise NotInIndex(f"photo {photo_id} has no vectors in space {space_id}; ingest it again")
    if damaged and not leave_out:
        raise EncodingDamaged(damaged)
    return _joined([found[photo_id] for photo_id in wanted if photo_id not in damaged], dim)


def _joined(rows: Sequence[Any], dim: int) -> StoredVectors:
    counts = np.array([row[2] for row in rows], np.int64)
    return StoredVectors(
        photo_ids=np.array([row[0] for row in rows], np.int64),
        image=floats([row[3] for row in rows], "<f2", dim),
        regions=floats([row[4] for row in rows], "<f2", dim),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=floats([row[5] for row in rows], "<f4", 4),
        areas=floats([row[6] for row in rows], "<f4", 0),
        scores=floats([row[7] for row in rows], "<f4", 0),
    )


class Halves:
    """Vectors of some photos as they are stored, sorted by photo id.

    Attributes:
        photo_ids, seqs: (N,) int64.
        counts: (N,) int64, regions of each photo.
        image: (N, D) fp16.
        regions: (sum counts, D) fp16.
        damaged: ids of photos that were left out, since their vectors are not those that were written.
    """

    def __init__(
        self,
        photo_ids: Ids,
        seqs: Ids,
        counts: Ids,
        image: NDArray[np.float16],
        regions: NDArray[np.float16],
        damaged: frozenset[int] = frozenset(),
    ) -> None:
        self.photo_ids, self.seqs, self.counts, self.image, self.regions = photo_ids, seqs, counts, image, regions
        self.damaged = damaged

    @property
    def region_ids(self) -> Ids:
        """(sum counts,) int64: photo id * 256 + ordinal, ascending."""
        ordinals = np.arange(int(self.counts.sum())) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        return np.repeat(self.photo_ids * REGIONS_PER_PHOTO, self.counts) + ordinals

    def keep(self, rows: NDArray[np.bool_]) -> Halves:
        """Those photos for which `rows` is True."""
        return Halves(
            self.photo_ids[rows],
            self.seqs[rows],
            self.counts[rows],
            self.image[rows],
            self.regions[np.repeat(rows, self.counts)],
            self.damaged,
        )

    def merged(self, other: Halves) -> Halves:
        """Both together, sorted by photo id; no photo may be in both."""
        damaged = self.damaged | other.damaged
        if not len(other.photo_ids):
            return Halves(self.photo_ids, self.seqs, self.counts, self.image, self.regions, damaged)
        order = np.argsort(np.concatenate([self.photo_ids, other.photo_ids]), kind="stable")
        counts = np.concatenate([self.counts, other.counts])
        starts = np.cumsum(counts) - counts
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts[order]) - counts[order], counts[order])
        return Halves(
            np.concatenate([self.photo_ids, other.photo_ids])[order],
            np.concatenate([self.seqs, other.seqs])[order],
            counts[order],
            np.concatenate([self.image, other.image])[order],
            np.concatenate([self.regions, other.regions])[np.repeat(starts[order], counts[order]) + within],
            damaged,
        )

    @staticmethod
    def empty(dim: int) -> Halves:
        """No photos at all."""
        none = np.empty(0, np.int64)
        return Halves(none, none, none, np.empty((0, dim), np.float16), np.empty((0, dim), np.float16))


def stream(
    connection: Connection,
    space_id: int,
    dim: int,
    *,
    after_seq: int = 0,
    photos: int = 2048,
) -> Iterator[Halves]:
    """Stored vectors with ``seq > after_seq``, sorted by photo id, in blocks of at most `photos`."""
    ids = encoded_ids(connection, space_id, after_seq=after_seq)
    for start in range(0, len(ids), photos):
        yield halves(connection, space_id, dim, ids[start : start + photos])


def halves(connection: Connection, space_id: int, dim: int, photo_ids: Ids) -> Halves:
    """Stored vectors of these photos (ascending ids); those without an encoding, and damaged ones, are left out."""
    rows: list[Any] = []
    damaged: set[int] = set()
    for row in _read(connection, HALVES, space_id, photo_ids.tolist()):
        if len(row) > 5 and not _vectors_hold(space_id, row, row[5]):
            damaged.add(row[0])
        else:
            rows.append(row)
    rows.sort(key=lambda row: row[0])
    numbers = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    image = np.frombuffer(b"".join([row[3] for row in rows]), "<f2").reshape(-1, dim)
    regions = np.frombuffer(b"".join([row[4] for row in rows]), "<f2").reshape(-1, dim)
    return Halves(numbers[:, 0], numbers[:, 1], numbers[:, 2], image, regions, frozenset(damaged))


def encoded_ids(connection: Connection, space_id: int, *, after_seq: int = 0) -> Ids:
    """Sorted ids of every photo with an encoding in the space that was written with ``seq > after_seq``."""
    ids = np.fromiter(
        connection.execute(select(E.photo_id).where(E.space_id == space_id, E.seq > after_seq)).scalars(), np.int64
    )
    ids.sort()
    return ids


def count(connection: Connection, space_id: int, after_seq: int = 0) -> tuple[int, int]:
    """Photos and regions encoded in the space with ``seq > after_seq``."""
    found = connection.execute(
        select(func.count(), func.coalesce(func.sum(E.region_count), 0)).where(
            E.space_id == space_id, E.seq > after_seq
        )
    ).one()
    return int(found[0]), int(found[1])


def sample_ids(ids: Ids, n: int) -> Ids:
    """At most n of the ids, picked by a hash of the id, ascending: nearly the same photos as a library grows."""
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return np.sort(ids[np.argsort(mixed ^ (mixed >> np.uint64(32)), kind="stable")[:n]])


def masks(connection: Connection, space_id: int, photo_id: int) -> tuple[Rle, ...]:
    """Masks of one photo's regions, best first.

    Raises:
        NotInIndex: it has none in this space.
        EncodingDamaged: they are not those that were written.
    """
    found = packed_masks(connection, space_id, [photo_id])
    if photo_id not in found:
        raise NotInIndex(f"photo {photo_id} has no masks in space {space_id}; ingest it again")
    return unpacked(photo_id, found[photo_id])


def packed_masks(connection: Connection, space_id: int, photo_ids: Sequence[int]) -> dict[int, bytes | None]:
    """Masks of several photos by one statement, still packed; those without a row are left out.

    Of a photo whose masks are not those that were written there is None.
    """
    found: dict[int, bytes | None] = {}
    for row in _read(connection, MASKS, space_id, sorted(set(photo_ids))):
        holds = len(row) < 3 or checksums.of((row[0], space_id), row[1]) == row[2]
        found[int(row[0])] = row[1] if holds else None
    return found


def unpacked(photo_id: int, packed: bytes | None) -> tuple[Rle, ...]:
    """Masks out of what `packed_masks` gives of a photo; EncodingDamaged where they are not those that were written."""
    if packed is None:
        raise EncodingDamaged([photo_id], "masks")
    return unpack_masks(packed)


def grounding(connection: Connection, space_id: int, photo_id: int) -> bytes | None:
    """The grounding record of one photo; errors as those of `masks`. Of an older encoding it has no checksum."""
    row = next(_read(connection, GROUNDING, space_id, [photo_id]), None)
    if row is None:
        raise NotInIndex(f"photo {photo_id} has no masks in space {space_id}; ingest it again")
    record: bytes | None = row[1]
    if len(row) > 2 and row[2] is not None and (record is None or checksums.of((photo_id, space_id), record) != row[2]):
        raise EncodingDamaged([photo_id], "grounding record")
    return record
