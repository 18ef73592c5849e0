"""`Store`: the one commit boundary of an index. All that is written goes through here, one transaction at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, insert, select

from ..errors import EncodingDamaged, IndexDamaged, NotInIndex
from ..paths import lies_in
from ..records import FailedFile, Filters, Floats, Location, Photo, PhotoFacts, Rle, Space
from . import (
    bulk,
    checksums,
    copies,
    exclusions,
    facets,
    reads,
    repair,
    spaces,
    statements,
    status,
    text_reads,
    text_writes,
    vectors,
    verify,
    writes,
)
from .builder import Progress
from .copies import PhotoCopies
from .files import Generation, Kind
from .indexes import SpaceIndexes
from .names import composed, gone_folders, real_path, stored_path, thumbnail_file
from .repair import RepairPlan
from .rows import (
    Check,
    Exclusion,
    ExclusionKind,
    Forgotten,
    Ids,
    KnownLocation,
    LocationWrite,
    Prunable,
    ShaKnown,
    SpaceRow,
    StoredVectors,
    WriteBatch,
    WriteCounts,
    now,
)
from .session import Session
from .tables import CalibrationRow
from .text_store import TextStore
from .upkeep import Upkeep

__all__ = ["Check", "KnownLocation", "ShaKnown", "SpaceRow", "Store", "StoredVectors", "WriteBatch", "WriteCounts"]


class Store:
    """Rows and vectors of one index; open it with `Store.open`.

    Any number of threads may read through one store, and any number of processes may have the folder open; one at a
    time writes. Processes with folders of their own may write to one catalog in PostgreSQL at once: their transactions
    follow each other. Every reading method sees one snapshot. Arrays that are returned may be shared: do not write to
    them.

    Attributes:
        folder: the index folder, absolute.
        texts: text sources beside the photos, and the words of file names.
    """

    def __init__(self, name: Path | str) -> None:
        self._session = Session(name)
        self.folder = self._session.folder
        self._upkeep = Upkeep(self._session)
        self.texts = TextStore(self._session)

    @classmethod
    def open(cls, name: Path | str, *, create: bool = False) -> Store:
        """Open an index, bringing an older catalog up to date and rebuilding FAISS files that are gone.

        Args:
            name: a folder, ``sqlite:///`` and a folder, or ``postgresql+psycopg://user@host/database?folder=`` and the
                folder of FAISS files and thumbnails on this machine.
            create: make the folder and an empty catalog when there is none.
        A folder or catalog that may not be written is opened for reading: it can be searched, and a method that writes
        is a StorageError.

        Raises:
            IndexNotFound: there is no catalog in the folder or database.
            SchemaTooNew: it was written by a newer version.
            ConfigError: a database that is not supported, a folder of another index, or a network file system.
            IndexDamaged: the file is no catalog.
            StorageError: the database cannot be reached.
        """
        store = cls(name)
        try:
            store._session.find(create)
            store._session.bring_up_to_date()
            if not store.read_only:
                store._upkeep.restore()
                store._upkeep.sweep()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def read_only(self) -> bool:
        """Whether the folder or its catalog may not be written."""
        return self._session.read_only

    @property
    def is_shared(self) -> bool:
        """Whether other machines may write to the catalog, each with an index folder of its own."""
        return not self._session.is_in_folder

    @property
    def name(self) -> str:
        """What opens the same index again; of a database its URL with the password: never show it."""
        return self._session.name

    def copy_catalog(self, target: Path) -> None:
        """Write the catalog as of one moment to a new file, as a catalog of SQLite, while others may go on writing."""
        self._session.copy_to(target)

    def database(self) -> str:
        """Name and version of the catalog's database, and where it is, in words."""
        return self._session.version()

    def close(self) -> None:
        """Give back every connection and mapped file; the store must not be used afterwards."""
        self._upkeep.close()
        self._session.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def writer(self, purpose: str, wait: float = 2.0) -> AbstractContextManager[None]:
        """Hold the write lock; the same thread may hold it more than once, and every writing method takes it itself.

        Raises:
            IndexBusy: another process still writes after `wait` seconds; the message names it.
        """
        return self._session.writer(purpose, wait)

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection on one snapshot of the catalog, for questions that no method answers; never write by it."""
        return self._session.reading()

    def one_moment(self) -> AbstractContextManager[None]:
        """Let all that this thread reads inside come from one snapshot, by one connection: faster, and consistent.

        What it writes inside is not seen before the end.
        """
        return self._session.one_moment()

    # --- spaces ------------------------------------------------------------------------------

    def ensure_space(self, space: Space) -> int:
        """Id of this space, made when it is new: the first of a catalog is active, a later one `building`."""
        with self._session.reading() as connection:
            found = spaces.find(connection, space)
        if found is None:
            with self._session.writing("a new space") as connection:
                found = spaces.ensure(connection, space)
        return found

    def active_space(self) -> tuple[int, Space] | None:
        """The space that searches use, or None before the first ingest."""
        return next(((row.id, row.space) for row in self.spaces() if row.state == "active"), None)

    def activate(self, space_id: int) -> None:
        """Let searches use another space, in one transaction; the one before is retired and can be activated again."""
        with self._session.writing("activate") as connection:
            spaces.activate(connection, space_id)

    def drop_space(self, space_id: int) -> None:
        """Take a space out with its vectors and FAISS files; never the active one.

        Raises:
            NotInIndex: there is no such space.
            StorageError: it is the active one.
        """
        with self._session.writing("spaces drop") as connection:
            spaces.drop(connection, space_id)
        self._upkeep.forget(space_id)
        self._upkeep.sweep()

    def spaces(self) -> list[SpaceRow]:
        """Every space, oldest first."""
        return list(self._session.remembered("spaces", spaces.all_spaces))

    def dim(self, space_id: int) -> int:
        """D of a space."""
        for row in self.spaces():
            if row.id == space_id:
                return row.space.dim
        raise NotInIndex(f"space {space_id} is not in the catalog; ensure_space makes one")

    def save_calibration(self, space_id: int, data: bytes) -> None:
        """Keep how the scores of a space are made comparable; only its writer knows what the bytes say."""
        with self._session.writing("calibration") as connection:
            connection.execute(delete(CalibrationRow).where(CalibrationRow.space_id == space_id))
            connection.execute(insert(CalibrationRow).values(space_id=space_id, made_at=now(), data=data))
            checksums.put_calibration(connection, space_id, data)
            statements.raise_change(connection)

    def load_calibration(self, space_id: int) -> bytes | None:
        """What `save_calibration` was given last, or None; None where it is damaged: the next ingest keeps it anew."""

        def read(connection: Connection) -> bytes | None:
            kept = select(CalibrationRow.data).where(CalibrationRow.space_id == space_id)
            return connection.execute(kept).scalar() if checksums.calibration_holds(connection, space_id) else None

        return self._session.remembered(("calibration", space_id), read)

    # --- what ingest needs -------------------------------------------------------------------

    def known_locations(self, roots: Sequence[Path], *, space_id: int | None = None) -> dict[str, KnownLocation]:
        """Every location at or below the roots, by path as `os.fsdecode` makes it.

        Args:
            space_id: the space that `encoded` is about; None is the active one.
        """
        with self._session.reading() as connection:
            return reads.known_locations(connection, roots, space_id or spaces.active_id(connection))

    def photos_by_sha(self, shas: Sequence[str], *, space_id: int | None = None) -> dict[str, ShaKnown]:
        """Those of these contents that are photos of the catalog; `encoded` is about the space, None the active one."""
        with self._session.reading() as connection:
            return reads.photos_by_sha(connection, shas, space_id or spaces.active_id(connection))

    def write(self, batch: WriteBatch) -> WriteCounts:
        """Write a batch in one transaction: all of it or, after a crash, nothing.

        A content that is known never makes a second photo, nor a second encoding in the same space, so that the same
        batch may be written again. A path is moved to the state given, whatever it was before.

        Raises:
            ShapeError, InputError: an encoding does not fit its space, or a location names an unknown content.
            NotInIndex: no such space.
            IndexBusy: another process writes.
        """
        with self._session.writing("ingest") as connection:
            counts = writes.write_batch(connection, batch)
            texts = {write.facts.sha256: write.facts.text for write in batch.photos if write.facts.text is not None}
            ids = writes.photo_ids_by_sha(connection, list(texts))
            text_writes.write_embedded(connection, {ids[sha]: source for sha, source in texts.items()})
        return counts

    def write_encodings(
        self,
        space_id: int,
        facts: Sequence[PhotoFacts],
        image: Floats,
        regions: Floats | Sequence[Floats],
        boxes: Sequence[Floats] | Floats,
        areas: Sequence[Floats] | Floats,
        scores: Sequence[Floats] | Floats,
        masks: Sequence[Sequence[Rle]] | None = None,
        paths: Sequence[str] | None = None,
    ) -> list[int]:
        """Bulk writer for encodings made elsewhere, in transactions of 1,000 photos.

        Args:
            facts: N photos, distinct by sha256.
            image: (N, D) float32.
            regions, boxes, areas, scores: per photo (R, D), (R, 4), (R,), (R,); R may differ between photos.
            masks: per photo R masks, or None for none.
            paths: one present location per photo; None makes ``/unlocated/<sha256>``.
        Returns:
            N photo ids, in order.
        """
        ids: list[int] = []
        for batch in bulk.batches(space_id, facts, image, regions, boxes, areas, scores, masks, paths):
            with self._session.writing("bulk write") as connection:
                writes.write_batch(connection, batch)
                shas = [write.facts.sha256 for write in batch.photos]
                known = writes.photo_ids_by_sha(connection, shas)
            ids += [known[sha] for sha in shas]
        return ids

    def mark_missing(
        self, roots: Sequence[Path], seen: Set[str], unlisted: Sequence[Path] = (), known: Set[str] | None = None
    ) -> int:
        """Call locations below fully listed roots missing when they were not seen; returns how many.

        Args:
            seen: paths that were met, as `os.fsdecode` makes them, absolute.
            unlisted: folders that could not be listed; what lies below keeps its state.
            known: paths that the catalog had when the roots were listed: others came since, from another machine, and
                keep their state. None where no other machine writes.
        """
        with self._session.writing("ingest") as connection:
            return writes.mark_missing(connection, roots, seen, unlisted, known)

    def count_unseen(self, roots: Sequence[Path], seen: Set[str], unlisted: Sequence[Path] = ()) -> tuple[int, int]:
        """How many photos `mark_missing` would call missing, and how many are present below these roots."""
        with self._session.reading() as connection:
            return writes.count_unseen(connection, roots, seen, unlisted)

    def drop_locations(self, paths: Iterable[str]) -> None:
        """Delete locations that are other names of files which have a location of their own; photos stay."""
        with self._session.writing("ingest") as connection:
            writes.drop_locations(connection, [stored_path(path) for path in paths])

    def edit_photo(self, photo_id: int, facts: PhotoFacts, location: LocationWrite) -> bool:
        """Give a photo the content and facts of its one file, which was written anew with the same pixels.

        Returns:
            Whether that was done; False, with nothing changed, when the photo has another present location, or another
            photo has the new content.
        """
        with self._session.writing("ingest") as connection:
            before = writes.edit_photo(connection, photo_id, facts, location)
            if before is not None and facts.text is not None:
                text_writes.write_embedded(connection, {photo_id: facts.text})
        if before is not None and before != facts.sha256:
            self._gone([before])
        return before is not None

    def refresh_facts(self, photo_id: int, facts: PhotoFacts) -> bool:
        """Give a photo the facts that its file was read to have now; its content is the same.

        Returns:
            Whether any of them differs from what was known.
        """
        with self._session.writing("ingest") as connection:
            return writes.refresh_facts(connection, photo_id, facts)

    def forget_placeless(self) -> int:
        """Take photos out that no location in any state belongs to, since their file now holds another picture."""
        with self._session.writing("ingest") as connection:
            shas = writes.forget_placeless(connection)
        return self._gone(shas)

    def exclusions(self) -> list[Exclusion]:
        """What was forgotten for good, by kind and name."""
        return self._session.remembered("exclusions", exclusions.read)

    def forgotten_pixels(self) -> frozenset[str]:
        """Hashes of the pixels of the contents that were forgotten for good."""
        return self._session.remembered("forgotten pixels", exclusions.forgotten_pixels)

    def forget_for_good(self, paths: Sequence[Path | str], photo_ids: Sequence[int]) -> Forgotten:
        """Take locations and photos out, never off the disk, and keep that they are not to be taken in again.

        Args:
            paths: of files and folders; what is taken out is these locations, and photos that lie nowhere else.
            photo_ids: of photos that are taken out with all their locations, wherever their content turns up.
        Raises:
            NotInIndex: a path or an id is unknown; nothing is changed then.
        """
        with self._session.writing("forget") as connection:
            known = reads.photos(connection, photo_ids)
            unknown = [photo_id for photo_id in photo_ids if photo_id not in known]
            if unknown:
                raise NotInIndex(f"photo {unknown[0]} is not in the catalog; nothing was forgotten")
            counted = reads.count_locations(connection, list(known))
            kept: list[tuple[ExclusionKind, str, str | None]] = [
                ("content", photo.sha256, None if photo.path is None else stored_path(photo.path))
                for photo in known.values()
            ]
            exclusions.keep_pixels(connection, list(known))
            named: list[tuple[ExclusionKind, str, str | None]] = []
            for path in paths:
                named += reads.kinds_of(connection, path)
            names = [name for _, name, _ in named]
            sidecars = writes.drop_sidecars(connection, photo_ids, names)
            shas = writes.forget(connection, photo_ids)
            locations, placeless = writes.forget_locations(connection, names)
            exclusions.add(connection, [*kept, *named])
        return Forgotten(self._gone([*shas, *placeless]), counted + locations + sidecars)

    def unforget(self, paths: Sequence[Path | str]) -> list[Exclusion]:
        """Lift what was forgotten at or below some paths; the next ingest takes it in again. Returns what was lifted.

        Raises:
            NotInIndex: nothing was forgotten at one of them; nothing is changed then.
        """
        lifted: dict[tuple[str, str], Exclusion] = {}
        with self._session.writing("forget --undo") as connection:
            every = exclusions.read(connection)
            for path in paths:
                names = [composed(real_path(name)) for name in reads.spellings(connection, path)]
                here = [row for row in every if any(lies_in(composed(row.shown), name) for name in names)]
                if not here:
                    raise NotInIndex(_nothing_forgotten(path, every))
                lifted.update({(row.kind, row.name): row for row in here})
            exclusions.remove(
                connection,
                [(row.kind, row.name if row.kind == "content" else stored_path(row.name)) for row in lifted.values()],
            )
        return list(lifted.values())

    def forget(self, photo_ids: Sequence[int]) -> int:
        """Take photos out of the catalog, never off the disk; returns how many. Their thumbnails go too.

        Raises:
            NotInIndex: an id is unknown; nothing is changed then.
        """
        with self._session.writing("forget") as connection:
            shas = writes.forget(connection, photo_ids)
        return self._gone(shas)

    def prune(self, before: datetime | None = None) -> int:
        """Forget every photo of which nothing is left and every missing location; returns how many photos.

        Args:
            before: only what was found to be missing before this moment, in UTC without a zone.
        """
        with self._session.writing("prune") as connection:
            shas = writes.prune(connection, before)
        return self._gone(shas)

    def prunable(self, before: datetime | None = None) -> Prunable:
        """What `prune` would take out, and which folders are gone as a whole."""
        with self._session.reading() as connection:
            photos, missing, others = writes.prunable(connection, before)
            texts = len(text_writes.lost_documents(connection, before))
            every = len(writes.prunable(connection, None)[1]) + len(text_writes.lost_documents(connection, None))
        return Prunable(photos, len(missing), gone_folders(missing, others), texts, every - len(missing) - texts)

    def _gone(self, shas: Sequence[str]) -> int:
        for sha in shas:
            with suppress(OSError):  # the catalog is right already; a thumbnail that stays does no harm
                self.thumbnail_path(sha).unlink(missing_ok=True)
        return len(shas)

    # --- what a query needs ------------------------------------------------------------------

    def photo(self, photo_id: int) -> Photo:
        """One photo by id; NotInIndex when there is none."""
        found = self.photos([photo_id])
        if photo_id not in found:
            raise NotInIndex(
                f"photo {photo_id} is not in the catalog, expected the id of a photo of this index; "
                "`interleave-index search --json` prints the ids of hits"
            )
        return found[photo_id]

    def photos(self, photo_ids: Sequence[int]) -> dict[int, Photo]:
        """Those of the ids that the catalog knows."""
        with self._session.reading() as connection:
            return reads.photos(connection, photo_ids)

    def copies(self) -> list[PhotoCopies]:
        """Every photo with a present file, by id, with all its present files."""
        with self._session.reading() as connection:
            return copies.present(connection)

    def photo_by_path(self, path: Path | str) -> Photo | None:
        """The photo at a path, present or missing, or None."""
        with self._session.reading() as connection:
            photo_id = reads.photo_id_at(connection, path)
            return None if photo_id is None else reads.photos(connection, [photo_id]).get(photo_id)

    def photo_by_sha(self, sha256: str) -> Photo | None:
        """The photo with this content, or None."""
        with self._session.reading() as connection:
            photo_id = writes.photo_ids_by_sha(connection, [sha256]).get(sha256)
            return None if photo_id is None else reads.photos(connection, [photo_id]).get(photo_id)

    def locations(self, photo_id: int) -> list[Location]:
        """Every path of a photo, the one that `Photo.path` shows first."""
        with self._session.reading() as connection:
            return reads.locations(connection, photo_id)

    def failed(self) -> list[FailedFile]:
        """Every file that could not be read, by path, with the reason of the last try."""
        with self._session.reading() as connection:
            texts = text_reads.failed(connection) if text_reads.are_there(connection) else []
            return sorted([*reads.failed(connection), *texts], key=lambda failed: failed.path)

    def below(self, folder: Path | str) -> list[int]:
        """Ids of the photos with a location at or below a path, present or missing, ascending."""
        with self._session.reading() as connection:
            return reads.ids_below(connection, folder)

    def has_below(self, folder: Path | str) -> bool:
        """Whether some photo has a location at or below a path, present or missing."""
        with self._session.reading() as connection:
            return reads.has_below(connection, folder)

    def cameras(self) -> list[str]:
        """Names of the cameras that `facets` counts, most photos first."""
        rows = self._session.remembered("cameras", facets.cameras)
        return [name for name, _ in rows]

    def encoded(self, space_id: int) -> Ids:
        """Ids of every photo with an encoding in the space, ascending; without those of `damaged`."""
        ids = self._session.remembered(
            ("encoded", space_id), lambda connection: vectors.encoded_ids(connection, space_id)
        )
        damaged = self.damaged(space_id)
        return ids[~np.isin(ids, list(damaged))] if damaged else ids

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

    def thumbnail_path(self, sha256: str) -> Path:
        """Where the thumbnail of a content lies, whether it is there or not."""
        return thumbnail_file(self.folder / "thumbnails", sha256)

    # --- FAISS -------------------------------------------------------------------------------

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

    # --- mending -----------------------------------------------------------------------------

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

    # --- the whole ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Counts of the catalog, the active space, and the FAISS files, as plain JSON values; see docs/cli.md."""
        return self._session.remembered("status", lambda connection: status.status(connection))

    def facets(self) -> dict[str, Any]:
        """What photos can be filtered by, with counts; see `storage.facets`."""
        return self._session.remembered("facets", facets.facets)

    def verify(self) -> list[Check]:
        """Prove that the catalog and its FAISS files agree, by named checks; nothing is changed."""
        checks: list[Check] = []
        try:
            with self._session.reading() as connection:
                checks = verify.checks(connection, self.folder)
        except IndexDamaged as error:  # SQLite says so again when the transaction ends
            return checks or [Check("database", False, str(error))]
        return checks


def _nothing_forgotten(path: Path | str, every: Sequence[Exclusion]) -> str:
    """Words for a path at which nothing was forgotten, with the folder above it that was, if there is one."""
    named = os.path.abspath(path)
    above = [row.shown for row in every if row.kind == "folder" and lies_in(named, row.shown)]
    if above:
        return f"{named} was forgotten with its folder {above[0]}; undo that"
    return f"nothing was forgotten at {named}; `interleave-index forget --list` names all that was"
