"""`Store`: the one commit boundary of an index. All that is written goes through here, one transaction at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import IndexDamaged
from . import repair, status, verify
from .builder import Progress
from .encoding_store import EncodingStore
from .files import Generation, Kind
from .forget_store import ForgetStore
from .indexes import SpaceIndexes
from .intake_store import IntakeStore
from .photo_store import PhotoStore
from .published import Fetched
from .repair import RepairPlan
from .rows import Check, KnownLocation, ShaKnown, SpaceRow, StoredVectors, WriteBatch, WriteCounts

__all__ = ["Check", "KnownLocation", "ShaKnown", "SpaceRow", "Store", "StoredVectors", "WriteBatch", "WriteCounts"]


class Store(EncodingStore, PhotoStore, IntakeStore, ForgetStore):
    """Rows and vectors of one index; open it with `Store.open`.

    Each part of it stands in a module of its own, by subject; here is what concerns the whole.

    Any number of threads may read through one store, and any number of processes may have the folder open; one at a
    time writes. Processes with folders of their own may write to one catalog in PostgreSQL at once: their transactions
    follow each other. Every reading method sees one snapshot. Arrays that are returned may be shared: do not write to
    them.

    Attributes:
        folder: the index folder, absolute.
        texts: text sources beside the photos, and the words of file names.
    """

    def indexes(self, space_id: int) -> SpaceIndexes:
        """Both indexes of a space as of now; what was opened before is used again.

        A file that is gone or damaged is rebuilt from the catalog, when nobody else is writing; until then
        its rows are served from the catalog, exactly.

        Raises:
            NotInIndex: no such space.
            BackendMissing: faiss is not installed.
        """
        found = self._upkeep.indexes(space_id)
        if found.pending.damaged:
            self._met(space_id).update(found.pending.damaged)
        return found

    def compare_files(self, space_id: int) -> None:
        """Read the FAISS files of a space through; those that are not as they were written are not searched any more.

        The next `indexes` makes them anew, as it does with files that are gone.
        """
        self._upkeep.compare(space_id)

    def due(self, space_id: int) -> tuple[Kind, ...]:
        """Kinds of FAISS files to fold: 5 % of all, or 2,000, came since the last file, or a fifth of a file is dead.

        The files of images and regions are made together.
        """
        return self._upkeep.due(space_id)

    def optimize(
        self, space_id: int, progress: Progress | None = None, *, kinds: Sequence[Kind] | None = None
    ) -> list[Generation]:
        """Fold what came since into new FAISS files, beside the old ones or in the place of some; see `tiers`.

        Where nothing came, one new file of each kind is made of all.

        A crash at any moment leaves the old files in force; what it leaves behind is removed by the next open.

        Args:
            progress: called with photos done and photos in all.
            kinds: of the files that are made; None makes all.
        Raises:
            IndexBusy: another process writes.
            BackendMissing: faiss is not installed.
        """
        return self._upkeep.optimize(space_id, progress, kinds)

    def publish(self, place: str) -> int:
        """Copy the FAISS files of this machine to a folder or URL where others find them; see `published.publish`."""
        return self._upkeep.publish(place)

    def fetch(self, place: str, space_id: int) -> Fetched:
        """Take FAISS files that another machine published; see `published.fetch`."""
        return self._upkeep.fetch(place, space_id)

    def repair_plan(self) -> RepairPlan:
        """What is wrong and can be mended; changes nothing."""
        with self._session.reading() as connection:
            return repair.plan(connection, self.folder)

    def repair_files(self, plan: RepairPlan, progress: Progress | None = None) -> None:
        """Mend the files of the index: FAISS files are made anew, thumbnails that are damaged or of no photo go.

        Failed files are marked to be tried again, and encodings that are damaged are taken out, when a file of the
        photo is here; the rest is an ingest's work.

        Raises:
            IndexBusy: another process writes.
            BackendMissing: faiss is not installed.
        """
        with self._session.writer("repair"):
            for space_id, kinds in plan.rebuild:
                self._upkeep.optimize(space_id, progress, kinds, anew=True)
            repair.remove_files((*plan.orphans, *plan.damaged_thumbnails))
            if plan.damaged_photos or plan.damaged_passages or plan.calibrations:
                with self._session.writing("repair") as connection:
                    repair.take_out_damaged(connection, plan)
            if plan.failed:
                with self._session.writing("repair") as connection:
                    repair.try_failed_again(connection)

    def status(self) -> dict[str, Any]:
        """Counts of the catalog, the active space, and the FAISS files, as plain JSON values; see docs/cli.md."""
        return self._session.remembered("status", lambda connection: status.status(connection))

    def verify(self) -> list[Check]:
        """Prove that the catalog and its FAISS files agree, by named checks; nothing is changed."""
        checks: list[Check] = []
        try:
            with self._session.reading() as connection:
                checks = verify.checks(connection, self.folder)
        except IndexDamaged as error:  # SQLite says so again when the transaction ends
            return checks or [Check("database", False, str(error))]
        return checks
