"""Stored vectors out of SQL, fast: raw rows and `np.frombuffer`. Knows no FAISS and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, bindparam, func, select

from ..errors import NotInIndex
from ..records import REGIONS_PER_PHOTO, Rle
from .blobs import floats, unpack_masks
from .rows import Ids, StoredVectors
from .statements import chunks
from .tables import EncodingRow, RegionMaskRow

ENCODING: Table = EncodingRow.__table__  # type: ignore[assignment]
E = ENCODING.c
# Made once: putting a statement together takes longer than running it.
VECTORS = select(E.photo_id, E.region_count, E.image, E.regions, E.boxes, E.areas, E.scores).where(
    E.space_id == bindparam("space"), E.photo_id.in_(bindparam("photos", expanding=True))
)
MASKS = select(RegionMaskRow.masks, RegionMaskRow.grounding).where(
    RegionMaskRow.space_id == bindparam("space"), RegionMaskRow.photo_id == bindparam("photo")
)
MANY_MASKS = select(RegionMaskRow.photo_id, RegionMaskRow.masks).where(
    RegionMaskRow.space_id == bindparam("space"), RegionMaskRow.photo_id.in_(bindparam("photos", expanding=True))
)


def fetch(connection: Connection, space_id: int, dim: int, photo_ids: Sequence[int] | Ids) -> StoredVectors:
    """Vectors of these photos, in the order asked for; an id may be asked for twice.

    Raises:
        NotInIndex: a photo has no encoding in this space.
    """
    wanted = [int(photo_id) for photo_id in photo_ids]
    found: dict[int, Any] = {}
    for some in chunks(sorted(set(wanted))):
        rows = connection.execute(VECTORS, {"space": space_id, "photos": some})
        found.update((row[0], row) for row in rows)
    for photo_id in wanted:
        if photo_id not in found:
            raise NotInIndex(f"photo {photo_id} has no vectors in space {space_id}; ingest it again")
    return _joined([found[photo_id] for photo_id in wanted], dim)


def _joined(rows: Sequence[Any], dim: int) -> StoredVectors:
    counts = np.array([row[1] for row in rows], np.int64)
    return StoredVectors(
        photo_ids=np.array([row[0] for row in rows], np.int64),
        image=floats([row[2] for row in rows], "<f2", dim),
        regions=floats([row[3] for row in rows], "<f2", dim),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=floats([row[4] for row in rows], "<f4", 4),
        areas=floats([row[5] for row in rows], "<f4", 0),
        scores=floats([row[6] for row in rows], "<f4", 0),
    )


class Halves:
    """Vectors of some photos as they are stored, sorted by photo id.

    Attributes:
        photo_ids, seqs: (N,) int64.
        counts: (N,) int64, regions of each photo.
        image: (N, D) fp16.
        regions: (sum counts, D) fp16.
    """

    def __init__(
        self, photo_ids: Ids, seqs: Ids, counts: Ids, image: NDArray[np.float16], regions: NDArray[np.float16]
    ) -> None:
        self.photo_ids, self.seqs, self.counts, self.image, self.regions = photo_ids, seqs, counts, image, regions

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
        )

    def merged(self, other: Halves) -> Halves:
        """Both together, sorted by photo id; no photo may be in both."""
        if not len(other.photo_ids):
            return self
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
    until_seq: int | None = None,
    photos: int = 2048,
) -> Iterator[Halves]:
    """Stored vectors with ``after_seq < seq <= until_seq``, sorted by photo id, in blocks of at most `photos`."""
    limits = [E.space_id == space_id, E.seq > after_seq]
    if until_seq is not None:
        limits.append(E.seq <= until_seq)
    ids = np.fromiter(connection.execute(select(E.photo_id).where(*limits)).scalars(), np.int64)
    ids.sort()
    for start in range(0, len(ids), photos):
        yield halves(connection, space_id, dim, ids[start : start + photos])


def halves(connection: Connection, space_id: int, dim: int, photo_ids: Ids) -> Halves:
    """Stored vectors of these photos (ascending ids); those without an encoding are left out."""
    rows: list[Any] = []
    for some in chunks(photo_ids.tolist()):
        rows += connection.execute(
            select(E.photo_id, E.seq, E.region_count, E.image, E.regions)
            .where(E.space_id == space_id, E.photo_id.in_(some))
            .order_by(E.photo_id)
        ).all()
    numbers = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    image = np.frombuffer(b"".join([row[3] for row in rows]), "<f2").reshape(-1, dim)
    regions = np.frombuffer(b"".join([row[4] for row in rows]), "<f2").reshape(-1, dim)
    return Halves(numbers[:, 0], numbers[:, 1], numbers[:, 2], image, regions)


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


def masks(connection: Connection, space_id: int, photo_id: int) -> tuple[tuple[Rle, ...], bytes | None]:
    """Masks of one photo's regions, best first, and its grounding record."""
    row = connection.execute(MASKS, {"space": space_id, "photo": photo_id}).one_or_none()
    if row is None:
        raise NotInIndex(f"photo {photo_id} has no masks in space {space_id}; ingest it again")
    return unpack_masks(row[0]), row[1]


def packed_masks(connection: Connection, space_id: int, photo_ids: Sequence[int]) -> dict[int, bytes]:
    """Masks of several photos by one statement, still packed; those without a row are left out."""
    found: dict[int, bytes] = {}
    for some in chunks(sorted(set(photo_ids))):
        rows = connection.execute(MANY_MASKS, {"space": space_id, "photos": some})
        found.update((int(row[0]), row[1]) for row in rows)
    return found
