"""Tending an index: its FAISS files, checks, duplicates, spaces and kept models, backup and repair."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..config import Config, activate_config, keep_config, kept_config
from ..errors import InputError, StorageError
from ..paths import user_path
from ..records import Filters, IngestReport
from ..records.duplicates import Duplicates
from ..regular import os_words, worded
from ..wording import number_of
from .intake import Intake

if TYPE_CHECKING:
    from ..ingest.tally import IngestProgress
    from ..storage.backup import Backup
    from ..storage.repair import RepairPlan
    from ..storage.store import Check, SpaceRow


class Upkeep(Intake):
    """What keeps an index whole and fast. Files of photos are never touched."""

    def optimize(
        self,
        progress: Callable[[int, int], None] | None = None,
        *,
        fetch: Path | str | None = None,
        publish: Path | str | None = None,
    ) -> list[str]:
        """Fold what was written since into the next generation of the FAISS files; does nothing to an empty index.

        Args:
            progress: called with photos done and photos in all.
            fetch: a folder or URL where another machine with the same catalog published its files: those that hold more
                than the files here are copied, and only what is worth it is folded then.
            publish: a folder or URL to which the files are copied afterwards.
        Returns:
            What was copied, and what could not be, in words.
        Raises:
            IndexBusy: another process is writing.
            BackendMissing: faiss is not installed.
            ConfigError: `fetch` for a catalog in a folder, which has the files of one machine.
            RemoteError, StorageError: what is copied cannot be read or written there.
        """
        active = self._store.active_space()
        if active is None:
            return []
        self._refuse_offline(os.fspath(place) for place in (fetch, publish) if place is not None)
        done = []
        if fetch is None:
            self._store.optimize(active[0], progress=progress)
        else:
            taken = self._store.fetch(os.fspath(fetch), active[0])
            done.append(f"{number_of(len(taken.files), 'FAISS file')} taken from {fetch}")
            done += [f"{name} is not what the catalog says, and was not taken" for name in taken.refused]
            due = self._store.due(active[0])
            if due:
                self._store.optimize(active[0], progress=progress, kinds=due)
        if publish is not None:
            copied = self._store.publish(os.fspath(publish))
            done.append(f"{number_of(copied, 'FAISS file')} copied to {publish}")
        return done

    def status(self) -> dict[str, Any]:
        """Counts of photos, locations, missing, failed, encodings and regions; the active space; the generations."""
        return self._store.status()

    def verify(self) -> list[Check]:
        """Every check by name, with whether it holds; changes nothing, runs no model."""
        return self._store.verify()

    def verify_recall(self, promise: float = 0.99, queries: int = 100) -> list[Check]:
        """Measure how many of the ten best photos searches find, against scoring every photo; runs no model.

        Args:
            promise: share of them that every kind of query must find, 0 to 1.
            queries: of each kind, made of stored photos and regions.
        Raises:
            InputError: `promise` is not within 0 and 1.
        """
        from ..query.recall import recall_checks

        return recall_checks(self._store, promise, queries)

    def duplicates(
        self,
        kind: Literal["exact", "near", "both"] = "both",
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Duplicates]:
        """Files that show the same, with the one to keep; nothing is deleted.

        Args:
            kind: files of one content (`exact`), photos that look the same (`near`), or both, in this order.
            progress: called with photos compared and photos in all.
        Returns:
            Groups by the path of the file to keep.
        """
        from ..query.duplicates import exact, near

        photos = self._store.copies()
        found = exact(photos) if kind in ("exact", "both") else []
        return found + near(photos, progress) if kind in ("near", "both") else found

    def spaces(self) -> list[SpaceRow]:
        """The embedding spaces: one a model that photos were taken in with; one of them is active."""
        return self._store.spaces()

    def activate(self, space_id: int) -> None:
        """Search another space from now on, in one transaction; activating the old one goes back.

        Raises:
            StorageError: there is no such space.
        """
        self._store.activate(int(space_id))
        with worded(f"settings cannot be kept in {self.folder}"):
            activate_config(self.folder, int(space_id))

    def drop_space(self, space_id: int) -> None:
        """Take out a space that is not searched, with its vectors; photos stay.

        Raises:
            StorageError: it is the active one, or there is none of this id.
        """
        self._store.drop_space(int(space_id))

    def keep_models(self, models: Mapping[str, str]) -> bool:
        """Write models into the settings that the index keeps, for every command from then on.

        What it holds can be searched only with the encoder that made it. An index with photos of another encoder
        therefore keeps that, and its proposals; only grounders and reranker change.

        Args:
            models: names by the settings `interface`, `proposals`, `grounders`, `reranker`; empty ones change nothing.
        Returns:
            Whether encoder and proposals are in force now, too.
        """
        kept = kept_config(self.folder) or Config()
        own = {name: getattr(kept.models, name) for name in ("interface", "proposals")}
        photos = len(self.ids(Filters(include_missing=True)))
        fits = not photos or all(models.get(name) == own[name] for name in own)
        chosen = {f"models_{key}": name for key, name in models.items() if name and (fits or key not in own)}
        active = self._store.active_space()
        space_id = active[0] if active is not None and photos else None
        with worded(f"settings cannot be kept in {self.folder}"):
            keep_config(self.folder, kept.with_flags(**chosen), space_id, active=True)
        return fits

    def backup(self, file: Path | str, progress: Callable[[int, int], None] | None = None) -> Backup:
        """Write the whole index into one new file, while others may go on searching and writing.

        Args:
            file: a path where nothing lies yet; it appears when it is complete.
            progress: called with thumbnails done and in all.
        Raises:
            InputError: something lies there, or its folder does not.
            IndexDamaged: the catalog is damaged.
            StorageError: it cannot be written.
        """
        from ..storage.backup import write_backup
        from ..whole_files import replaced

        target = Path(user_path(file))
        if os.path.lexists(target) or not target.parent.is_dir():
            raise InputError(f"backup {target}: expected a name where nothing lies, in a folder that is there")
        try:
            with replaced(target) as draft:
                return write_backup(self.folder, draft, self._store.copy_catalog, progress)
        except OSError as error:
            raise StorageError(f"backup {target} cannot be written: {os_words(error)}") from error

    def repair_plan(self) -> RepairPlan:
        """What is wrong with the index and can be mended: lost files, photos without vectors, failed files."""
        return self._store.repair_plan()

    def repair(
        self,
        plan: RepairPlan | None = None,
        *,
        progress: Callable[[IngestProgress], None] | None = None,
        stop: threading.Event | None = None,
    ) -> IngestReport | None:
        """Do what a plan says; photos are never touched, and nothing is forgotten.

        Args:
            plan: None makes one.
            progress, stop: of the ingest of files that are taken in again.
        Returns:
            The report of that ingest; None where no file has to be.
        Raises:
            IndexBusy: another process is writing.
        """
        plan = self._store.repair_plan() if plan is None else plan
        self._store.repair_files(plan)
        if plan.again:
            return self.ingest(plan.again, progress=progress, stop=stop)
        active = self._store.active_space()
        if active is not None and active[0] in plan.calibrations:
            self._store.save_calibration(active[0], self.interface.calibration.to_bytes())
        return None
