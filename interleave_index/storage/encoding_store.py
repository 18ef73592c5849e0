"""Stored vectors and masks of photos, which photos have them, and which of them are damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
from sqlalchemy import Connection

from ..errors import EncodingDamaged
from ..records import Filters, Rle
from . import checksums, reads, statements, vectors
from .rows import Ids, StoredVectors
from .space_store import SpaceStore


class EncodingStore(SpaceStore):
    """The part of a `Store` that reads encodings of a space."""

    def encoded(self, space_id: int) -> Ids:
        """Ids of every photo with an encoding in the space, ascending; without those of `damaged`."""
        ids = self._session.remembered(
            ("encoded", space_id), lambda connection: vectors.encoded_ids(connection, space_id)
        )
        damaged = self.damaged(space_id)
        return ids[~np.isin(ids, list(damaged))] if damaged else ids

    def eligible(self, space_id: int, filters: Filters) -> Ids | None:
        """Ids of the encoded photos that pass the filters, ascending; None when no encoded photo is left out.

        Unless `include_missing`, a photo must have a present location.
        """
        return self._session.remembered(
            ("eligible", space_id, filters), lambda connection: reads.eligible(connection, space_id, filters)
        )

    def undated(self, space_id: int, filters: Filters) -> int:
        """How many encoded photos pass all filters but those on the date, and have no date."""
        return self._session.remembered(
            ("undated", space_id, filters), lambda connection: reads.undated(connection, space_id, filters)
        )

    def count(self, space_id: int) -> tuple[int, int]:
        """Photos and regions encoded in the space."""
        return self._session.remembered(("count", space_id), lambda connection: vectors.count(connection, space_id))

    def vectors(self, space_id: int, photo_ids: Sequence[int] | Ids) -> StoredVectors:
        """Stored vectors of these photos, in the order asked for.

        Raises:
            NotInIndex: one has none.
            EncodingDamaged: some are not those that were written; `damaged` names these photos from now on.
        """
        dim = self.dim(space_id)
        try:
            with self._session.reading() as connection:
                return vectors.fetch(connection, space_id, dim, photo_ids)
        except EncodingDamaged as error:
            self._met(space_id).update(error.photo_ids)
            raise

    def masks(self, space_id: int, photo_id: int) -> tuple[Rle, ...]:
        """Masks of one photo's regions, best first; empty when none were given.

        Raises:
            NotInIndex: the photo has no encoding in the space.
            EncodingDamaged: they are not those that were written.
        """
        with self._session.reading() as connection:
            return vectors.masks(connection, space_id, photo_id)

    def many_masks(self, space_id: int, photo_ids: Sequence[int]) -> dict[int, Callable[[], tuple[Rle, ...]]]:
        """By photo, what gives the masks of its regions, best first; fetched at once, unpacked when they are called.

        A photo without masks of its own is left out; of one whose masks are damaged the call is an error, as `masks`.
        """
        with self._session.reading() as connection:
            packed = vectors.packed_masks(connection, space_id, photo_ids)
        return {photo_id: partial(vectors.unpacked, photo_id, data) for photo_id, data in packed.items()}

    def grounding(self, space_id: int, photo_id: int) -> bytes | None:
        """What the interface wanted kept to ground this photo again, or None."""
        with self._session.reading() as connection:
            return vectors.grounding(connection, space_id, photo_id)

    def null_sample(self, space_id: int, n: int = 1000) -> StoredVectors:
        """At most n photos picked by a hash of their id: what a query is held against to see what is usual.

        Those whose vectors are damaged are left out.
        """
        dim = self.dim(space_id)

        def fetch(connection: Connection) -> StoredVectors:
            ids = vectors.sample_ids(vectors.encoded_ids(connection, space_id), n)
            return vectors.fetch(connection, space_id, dim, ids, leave_out=True)

        return self._session.remembered(("null", space_id, n), fetch)

    def damaged(self, space_id: int) -> frozenset[int]:
        """Photos whose stored vectors are known not to be those that were written: they are left out of answers.

        Known is what an optimize came upon, and what this store came upon since the catalog changed last; `repair_plan`
        looks at all of them.
        """
        marked = self._session.remembered(
            ("damaged", space_id), lambda connection: checksums.marked(connection, space_id)
        )
        return marked | self._met(space_id)

    def keep_damaged(self, space_id: int, photo_ids: Iterable[int]) -> None:
        """Keep in the catalog that the stored vectors of some photos are damaged, for every other store to know."""
        with self._session.writing("damage") as connection:
            checksums.mark(connection, space_id, photo_ids)
            statements.raise_change(connection)

    def _met(self, space_id: int) -> set[int]:
        """Damaged photos that this store came upon; emptied when the catalog changes."""
        return self._session.remembered(("met", space_id), lambda _: set[int]())
