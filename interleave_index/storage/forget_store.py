"""Taking photos out of the catalog, for good or because their files are gone; never off the disk."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..errors import NotInIndex
from ..paths import absolute, lies_in
from . import exclusions, reads, text_writes, writes
from .names import composed, gone_folders, real_path, stored_path
from .open_store import OpenStore
from .rows import Exclusion, ExclusionKind, Forgotten, Prunable


class ForgetStore(OpenStore):
    """The part of a `Store` that forgets, and keeps what was forgotten for good."""

    def forget(self, photo_ids: Sequence[int]) -> int:
        """Take photos out of the catalog, never off the disk; returns how many. Their thumbnails go too.

        Raises:
            NotInIndex: an id is unknown; nothing is changed then.
        """
        with self._session.writing("forget") as connection:
            shas = writes.forget(connection, photo_ids)
        return self._gone(shas)

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

    def exclusions(self) -> list[Exclusion]:
        """What was forgotten for good, by kind and name."""
        return self._session.remembered("exclusions", exclusions.read)

    def forgotten_pixels(self) -> frozenset[str]:
        """Hashes of the pixels of the contents that were forgotten for good."""
        return self._session.remembered("forgotten pixels", exclusions.forgotten_pixels)

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


def _nothing_forgotten(path: Path | str, every: Sequence[Exclusion]) -> str:
    """Words for a path at which nothing was forgotten, with the folder above it that was, if there is one."""
    named = absolute(path)
    above = [row.shown for row in every if row.kind == "folder" and lies_in(named, row.shown)]
    if above:
        return f"{named} was forgotten with its folder {above[0]}; undo that"
    return f"nothing was forgotten at {named}; `interleave-index forget --list` names all that was"
