"""Putting photos in, and taking them out of the catalog; files stay as they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config import keep_config
from ..errors import InputError
from ..paths import is_url, user_path
from ..records import IngestReport
from ..records.texts import TEXT_KINDS
from ..regular import worded
from .contents import Contents

if TYPE_CHECKING:
    from ..ingest.pipeline import OpenDecoders
    from ..ingest.tally import IngestProgress
    from ..storage.rows import Exclusion, Forgotten, Prunable


class Intake(Contents):
    """What photos an index holds is changed here, one process at a time."""

    def ingest(
        self,
        paths: Sequence[Path | str] | Path | str,
        *,
        progress: Callable[[IngestProgress], None] | None = None,
        stop: threading.Event | None = None,
        within: Sequence[Path] | None = None,
        retry: bool = False,
        reread: bool = False,
        really: bool = False,
        open_decoders: OpenDecoders | None = None,
    ) -> IngestReport:
        """Take in every picture in files and folders, in transactions of at most `config.ingest.batch` photos.

        Runs again for free: what is known by size and time, then by content, is skipped. A model other
        than that of the active space fills a new space beside it; see `activate`.

        Args:
            paths: files or folders, or their URLs in a store as s3://bucket/photos; folders are read with all in them.
            progress: called at most ten times a second.
            stop: set it from another thread to end the run as one Ctrl-C does.
            within: folders that links must stay in; None lets them lead anywhere.
            retry: try files again that failed before, though they did not change since.
            reread: read files again though neither their size nor their time changed; where the content is the same,
                vectors stay.
            really: call photos missing even where a folder looks like a disk that is not there (it is empty, or most of
                its photos are gone at once).
            open_decoders: gives what decodes and encodes elsewhere, as a cluster does; None decodes and encodes here.
        Returns:
            Counts of files by outcome; a file that cannot be read is in `failed` and never stops the run. One
            Ctrl-C finishes the batch in flight and gives the report of what was done, `interrupted`.
        Raises:
            InputError: no path was given, or one does not exist.
            RemoteError: a store cannot be used; what was taken in before is kept.
            IndexBusy: another process is writing.
        """
        from ..ingest.pipeline import IngestSettings, ingest

        given = [paths] if isinstance(paths, str | Path) else paths
        roots = [user_path(path) for path in given]
        if not roots:
            raise InputError("ingest was given no path, expected at least one file or folder")
        self._refuse_offline(roots)
        limits = self._config.ingest
        at_a_time = min(self.interface.capabilities.photos_at_a_time, limits.batch)
        settings = IngestSettings(
            limits.workers,
            limits.batch,
            model_batch=at_a_time,
            max_pixels=limits.max_pixels,
            thumbnail_side=limits.thumbnail_side,
            text_kinds=tuple(kind for kind in TEXT_KINDS if kind in limits.text),
            exclude=limits.exclude,
            retry=retry,
            reread=reread,
            really=really,
        )
        allowed = None if within is None else [os.path.realpath(folder) for folder in within]
        report = ingest(
            self._store,
            self.interface,
            roots,
            settings=settings,
            progress=progress,
            stop=stop,
            within=allowed,
            open_decoders=open_decoders,
        )
        self._keep_config()
        return report

    def _refuse_offline(self, places: Iterable[str]) -> None:
        """InputError for the first URL of a store, where no network connection may be opened."""
        far = next(filter(is_url, places), None)
        if far is not None and self._config.models.offline:
            raise InputError(f"{far} is on the network, but offline is set; --online or models.offline allows it")

    def forget(self, what: Sequence[Path | str | int], *, photo: bool = False) -> int:
        """Take photos out of the catalog for good, never off the disk: a later ingest leaves them out.

        A path means the file or the folder at that place. A photo that lies elsewhere too stays there; one that lies
        nowhere else is taken out. `undo_forget` brings them back.

        Args:
            what: photo ids, paths of photos, or folders (all below, and what is put there later).
            photo: paths mean their photos, wherever these lie, as ids always do.
        Returns:
            Number of photos taken out.
        Raises:
            NotInIndex: one of them is not there; then none is taken out.
        """
        return self.forget_all(what, photo=photo).photos

    def forget_all(self, what: Sequence[Path | str | int], *, photo: bool = False) -> Forgotten:
        """`forget`, with the number of locations that were taken out beside that of photos."""
        from ..storage.library import resolve_ids

        contents = [item for item in what if photo or isinstance(item, int | np.integer)]
        paths = [item for item in what if isinstance(item, str | Path) and not photo]
        ids = sorted({photo_id for item in contents for photo_id in resolve_ids(self._store, item)})
        return self._store.forget_for_good(paths, ids)

    def undo_forget(self, what: Sequence[Path | str]) -> list[Exclusion]:
        """Let what was forgotten at or below some paths be taken in again, by the next ingest.

        Returns:
            What is no longer left out.
        Raises:
            NotInIndex: nothing was forgotten there; a folder above it may have been.
        """
        return self._store.unforget(what)

    def forgotten(self) -> list[Exclusion]:
        """What was forgotten for good: files, folders and contents, by name."""
        return self._store.exclusions()

    def prune(self, grace_days: float = 0) -> int:
        """Forget every photo of which no file is left; gives their number.

        Args:
            grace_days: keep what was found to be missing within so many days.
        Raises:
            InputError: it is negative.
        """
        return self._store.prune(_days_ago(grace_days))

    def prunable(self, grace_days: float = 0) -> Prunable:
        """What `prune` would take out, and which folders are gone as a whole, such as a drive that is not mounted."""
        return self._store.prunable(_days_ago(grace_days))

    def _keep_config(self) -> None:
        active = self._store.active_space()
        for row in self._store.spaces():
            if row.space == self.interface.space:
                is_active = active is not None and active[0] == row.id
                with worded(f"settings cannot be kept in {self.folder}"):
                    keep_config(self.folder, self._config, row.id, active=is_active)


def _days_ago(days: float) -> datetime | None:
    """The moment so many days ago, in UTC without a zone; None for 0, which is no bound."""
    if not days >= 0:
        raise InputError(f"a grace of {days} days was given, expected 0 or more")
    try:
        return datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days) if days else None
    except OverflowError:
        return datetime.min
