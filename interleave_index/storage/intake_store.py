"""What an ingest writes: photos with their encodings, and where their files lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from ..records import Floats, PhotoFacts, Rle
from . import bulk, text_writes, writes
from .names import stored_path
from .open_store import OpenStore
from .rows import LocationWrite, WriteBatch, WriteCounts


class IntakeStore(OpenStore):
    """The part of a `Store` that takes photos in, one batch a transaction."""

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
        self,
        roots: Sequence[Path | str],
        seen: Set[str],
        unlisted: Sequence[Path | str] = (),
        known: Set[str] | None = None,
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

    def count_unseen(
        self, roots: Sequence[Path | str], seen: Set[str], unlisted: Sequence[Path | str] = ()
    ) -> tuple[int, int]:
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
