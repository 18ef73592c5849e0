"""`Index`: all that the command line, the page and the evaluation may ask of an index.

It joins the packages below (storage, interface, ingest, query) and holds the settings. Packages are imported when a
method needs them, and the model is built when the first query or photo needs it: status, verify, forget and queries
made of what is indexed already run without torch.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .building import build_interface, build_reranker, check_reranker, expand_set
from .config import Config, activate_config, keep_config, kept_config
from .errors import ConfigError, ImageUnreadable, InputError, NotInIndex, StorageError, errors_of_query
from .grammar import Query
from .paths import user_path
from .records import RGB, Answer, FailedFile, Filters, Hit, IngestReport, Location, Photo, Region
from .records.duplicates import Duplicates
from .records.texts import TEXT_KINDS, Passage, TextKind
from .regular import os_words, sha256_of, worded

if TYPE_CHECKING:
    from .ingest.pipeline import OpenDecoders
    from .ingest.tally import IngestProgress
    from .interface.protocol import Interface
    from .query.library import OpenLibrary
    from .query.pixels import PixelCache
    from .query.rerank import RememberingReranker, SecondStage
    from .storage.backup import Backup
    from .storage.repair import RepairPlan
    from .storage.rows import Exclusion, Forgotten, Prunable
    from .storage.store import Check, SpaceRow, Store

Mode = Literal["auto", "exact", "ann"]
Depth = Literal["stored", "named", "exact"]
Target = Literal["photos", "texts", "both"]


class Index:
    """A collection of photos that can be asked. Made by `Index.open`.

    Several threads may ask at once, if the interface allows it; one at a time ingests, forgets or optimizes.

    Boxes are (x0, y0, x1, y1), half-open, in pixels of the upright photo; sizes are (height, width);
    pictures are (H, W, 3) uint8 RGB, upright. Whatever goes wrong is an `InterleaveError`.
    """

    def __init__(self, store: Store, config: Config, interface: Interface | None = None) -> None:
        self._store, self._config, self._interface = store, config, interface
        self._pixels: PixelCache | None = None
        self._library: OpenLibrary | None = None
        self._reranker: RememberingReranker | None = None

    @classmethod
    def open(
        cls, path: Path | str, *, config: Config | None = None, interface: Interface | None = None, create: bool = False
    ) -> Index:
        """Open the index in a folder, or in a database.

        Args:
            path: the folder; made with `create` when there is none. Or ``postgresql+psycopg://`` with user, host and
                database, ending with ``?folder=`` and the folder of FAISS files and thumbnails.
            config: settings in force; None takes those that the index keeps, else the defaults.
            interface: used instead of the one that the settings name.
            create: make an empty index when there is none.
        Raises:
            IndexNotFound: there is no index at `path` and `create` is False.
            IndexDamaged, SchemaTooNew: it cannot be read.
            StorageError: its database cannot be reached.
            ConfigError: the settings that it keeps do not parse, or the URL cannot be used.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, Index.open(folder, create=True) as index:
        ...     index.status()["photos"]
        0
        """
        from .storage.store import Store

        store = Store.open(user_path(path), create=create)
        try:
            return cls(store, expand_set(config or kept_config(store.folder) or Config()), interface)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Give back files and connections; a closed index answers nothing more."""
        self._store.close()

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where the index lies; of one in a database, where its FAISS files and thumbnails lie on this machine."""
        return self._store.folder

    @property
    def name(self) -> str:
        """What opens the same index again: its folder, or the URL of its database, with the password that it has."""
        return self._store.name

    def database(self) -> str:
        """Name and version of the catalog's database, and where it is, in words; nothing of it is secret."""
        return self._store.database()

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._config

    @property
    def interface(self) -> Interface:
        """The model that the settings name, built on first use.

        Raises:
            WeightsMissing, BackendMissing: it cannot be built.
        """
        if self._interface is None:
            self._interface = build_interface(self._config)
        return self._interface

    # --- putting photos in ---------------------------------------------------------------------

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
            paths: files or folders; folders are read with all folders in them.
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
            IndexBusy: another process is writing.
        """
        from .ingest.pipeline import IngestSettings, ingest

        given = [paths] if isinstance(paths, str | Path) else paths
        roots = [Path(user_path(path)) for path in given]
        if not roots:
            raise InputError("ingest was given no path, expected at least one file or folder")
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
        from .storage.library import resolve_ids

        contents = [item for item in what if photo or isinstance(item, int | np.integer)]
        paths = [item for item in what if isinstance(item, str | Path) and not photo]
        ids = sorted({photo_id for item in contents for photo_id in resolve_ids(self._store, item)})
        return self._store.forget_for_good(paths, ids)

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

    def optimize(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Fold what was written since into the next generation of the FAISS files; does nothing to an empty index.

        Args:
            progress: called with photos done and photos in all.
        Raises:
            IndexBusy: another process is writing.
            BackendMissing: faiss is not installed.
        """
        active = self._store.active_space()
        if active is not None:
            self._store.optimize(active[0], progress=progress)

    # --- asking --------------------------------------------------------------------------------

    def search_through(self, library: OpenLibrary | None) -> None:
        """Let photos be searched in a library that holds their vectors elsewhere, as a cluster does; None: here."""
        self._library = library

    def search(
        self,
        query: Query | str,
        top_k: int | None = None,
        *,
        filters: Filters | None = None,
        ground: Depth | None = "stored",
        mode: Mode = "auto",
        skip: int = 0,
        exclude_self: bool = False,
        left_out: Collection[int] = (),
        target: Target = "photos",
        text_kinds: Collection[TextKind] = (),
        like: Collection[int] = (),
        unlike: Collection[int] = (),
        stacks: bool = False,
        rerank: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Answer:
        """Rank the photos of the active space for one query, the texts beside them, or both.

        Args:
            query: parts, or their string form.
            top_k: at most this many hits; None takes `config.query.top_k`.
            filters: facts that a hit must have.
            ground: `stored` ties each entity to its best stored region, `named` does so without its mask (see
                `regions`), `exact` looks at every hit again, None leaves regions out.
            mode: `exact` scores every eligible photo, `ann` candidates of FAISS, `auto` chooses.
            skip: leave out so many of the best hits, which a page before has shown; ranks count from the best.
            exclude_self: leave out the photos that the query names by `[photo:]` and `[region:]`.
            left_out: ids of further photos that are no hits.
            target: `photos`, `texts` (passages, and no photos), or `both`.
            text_kinds: kinds of sources that passages may come from; none of them takes every kind.
            like, unlike: ids of photos that are right, or wrong: the query moves towards them, or away. Wrong ones are
                no hits.
            stacks: fold photos that look the same as a better hit into its `stack`; `top_k` counts what is left.
            rerank: have so many of the best photos looked at together with the query by `config.models.reranker`, whose
                word is then their order and relevance; None takes `config.query.rerank`, 0 has none looked at.
            progress: called with photos reranked and photos to be reranked.
        Returns:
            Hits, best first, ties by photo id; empty when nothing is indexed or the filters leave nothing.
        Raises:
            QueryError, EmptyQuery, ImageUnreadable, ImageTooLarge: the query, or a picture in it.
            NotInIndex: it names a photo or region that is not there, or `like` or `unlike` does.
            SpaceMismatch: the active space was made by another model than the settings name.
            ConfigError, WeightsMissing, ModelError: photos are to be reranked, and the reranker cannot be had.
        """
        from .query.engine import search
        from .query.library import OneMachine
        from .query.resolve import named_photos
        from .query.stacks import stacked

        asked, settings = _parsed(query), self._config.query
        for photo_id in (*like, *unlike):
            self._store.photo(int(photo_id))
        second_stage = None if target == "texts" else self._second_stage(rerank, progress)

        def ask(count: int, skip: int) -> Answer:
            return search(
                self._store,
                lambda: self.interface,
                asked,
                filters=filters,
                mode=mode,
                ground=ground,
                top_k=count,
                load_picture=self.load_picture,
                settings=settings,
                cache=self._cache,
                skip=skip,
                left_out={*left_out, *named_photos(asked)} if exclude_self else left_out,
                target=target,
                text_kinds=text_kinds,
                liked=[int(photo_id) for photo_id in like],
                unliked=[int(photo_id) for photo_id in unlike],
                second_stage=second_stage,
                library=self._library or OneMachine.of,
            )

        wanted = settings.top_k if top_k is None else top_k
        answer = stacked(ask, wanted, skip) if stacks else ask(wanted, skip)
        if not answer.hits and self.ids().size == 0 and (photos := self._store.status()["photos"]):
            answer = replace(answer, notes=(*answer.notes, _all_missing(photos)))
        active = self._store.active_space()
        if filters is not None and active is not None:
            from .query.filter_notes import filter_notes

            answer = replace(answer, notes=(*answer.notes, *filter_notes(self._store, active[0], filters)))
        return answer

    def search_many(
        self,
        queries: Sequence[Query | str],
        top_k: int | None = None,
        *,
        filters: Filters | None = None,
        ground: Depth | None = "stored",
        mode: Mode = "auto",
    ) -> list[Answer]:
        """Rank the photos of the active space for many queries. Where all photos are scored, one pass serves several.

        Args:
            queries: parts, or their string form.
            top_k, filters, mode: as for `search`.
            ground: as for `search`, but not `exact`.
        Returns:
            For each query what `search` answers without `stacks` and without a reranker.
        Raises:
            what `search` raises, for the first query that fails, as the error's `query_number` says; nothing is
            answered then.
        """
        from .query.engine import search_many

        parsed = []
        for number, query in enumerate(queries):
            with errors_of_query(number):
                parsed.append(_parsed(query))
        if self._library is not None:  # parts of a cluster are asked one query at a time
            return self._search_each(parsed, top_k, filters=filters, ground=ground, mode=mode, rerank=0)
        return search_many(
            self._store,
            lambda: self.interface,
            parsed,
            top_k=self._config.query.top_k if top_k is None else top_k,
            filters=filters,
            load_picture=self.load_picture,
            mode=mode,
            ground=ground,
            settings=self._config.query,
            cache=self._cache,
        )

    def _search_each(self, queries: Sequence[Query], top_k: int | None, **options: Any) -> list[Answer]:
        answers: list[Answer] = []
        for number, query in enumerate(queries):
            with errors_of_query(number):
                answers.append(self.search(query, top_k, **options))
        return answers

    def verify_recall(self, promise: float = 0.99, queries: int = 100) -> list[Check]:
        """Measure how many of the ten best photos searches find, against scoring every photo; runs no model.

        Args:
            promise: share of them that every kind of query must find, 0 to 1.
            queries: of each kind, made of stored photos and regions.
        Raises:
            InputError: `promise` is not within 0 and 1.
        """
        from .query.recall import recall_checks

        return recall_checks(self._store, promise, queries)

    def ground(self, photo: Path | str | int | RGB, query: Query | str) -> Hit:
        """Look at one photo, indexed or not, and mask what each entity of the query means in it.

        Args:
            photo: path or URL, photo id, or an upright (H, W, 3) uint8 array.
            query: parts, or their string form; plain text alone is grounded as one entity. Marks on a picture that is
                this very photo mean what lies under them.
        Returns:
            One hit of rank 1; photo id 0 when the photo is not in the index.
        Raises:
            ImageUnreadable, ImageTooLarge, NotInIndex, QueryError, EmptyQuery.
        """
        from .query.engine import ground

        if isinstance(photo, int | np.integer):
            known = self._store.photo(int(photo))
            rgb = self.pixels(known)
        else:
            rgb = self.load_picture(photo)
            known = self._indexed(photo) or _stranger(photo, rgb)
        asked = _parsed(query)
        return ground(
            self.interface,
            rgb,
            asked,
            load_picture=self.load_picture,
            photo=known,
            store=self._store,
            settings=self._config.query,
            cache=self._cache,
        )

    def load_picture(self, source: Path | str | RGB) -> RGB:
        """A picture from a path, an http(s) URL (not when offline) or an array, upright (H, W, 3) uint8.

        Raises:
            ImageUnreadable, ImageTooLarge.
        """
        return load_picture(source, self._config)

    def photo(self, photo_id: int) -> Photo:
        """Facts of one photo.

        Raises:
            NotInIndex: no photo has this id.
        """
        return self._store.photo(int(photo_id))

    def photos(self, photo_ids: Sequence[int]) -> dict[int, Photo]:
        """Facts of several photos, by id, read at once; ids that are not in the catalog are left out."""
        return self._store.photos(photo_ids)

    def pixels(self, photo: Photo | int) -> RGB:
        """Upright (H, W, 3) uint8 pixels of an indexed photo: the original while it is unchanged, else the thumbnail.

        Raises:
            NotInIndex: no photo has this id.
            ImageUnreadable: neither the original nor the thumbnail is left.
        """
        from .query.pixels import indexed_pixels

        known = self._store.photo(int(photo)) if isinstance(photo, int | np.integer) else photo
        if not known.id and known.path is not None:
            return self.load_picture(known.path)  # a picture that was only grounded
        found = indexed_pixels(self._store, known, self.load_picture, self._cache)
        if found is None:
            raise ImageUnreadable(
                f"neither the original nor the thumbnail of photo {known.id} is left "
                f"(last seen at {known.path}); put the file back and ingest again"
            )
        return found

    def owns(self, path: Path) -> bool:
        """Whether a path is that of an indexed photo or text, or lies in the folder of the index.

        No output may go there.
        """
        if path.is_relative_to(os.path.realpath(self.folder)) or self._store.photo_by_path(path) is not None:
            return True
        return os.fspath(path) in self._store.texts.known([path])

    def texts(self, about: Photo | int | Path | str | None = None) -> list[Passage]:
        """Passages of the index by source and place in it: all of them, or those of one photo or source.

        Args:
            about: a photo, its id, its path, or the path of a sidecar or page.
        Raises:
            NotInIndex: neither a photo nor a text of the index lies at the path.
        """
        if isinstance(about, str | Path):
            photo = self._store.photo_by_path(os.path.abspath(user_path(about)))
            return self._texts_at(about) if photo is None else self._store.texts.of_photo(photo.id)
        if about is not None:
            return self._store.texts.of_photo(int(about.id if isinstance(about, Photo) else about))
        ids = self._store.texts.every()
        known = self._store.texts.passages(ids)
        return [known[passage_id] for passage_id in ids if passage_id in known]

    def _texts_at(self, path: Path | str) -> list[Passage]:
        place = os.path.realpath(user_path(path))
        found = self._store.texts.at(place)
        if not found:
            raise NotInIndex(f"no photo and no text at {place} is in the index; check the path, or ingest it")
        return found

    def library(self, filters: Filters | None = None) -> Iterator[tuple[Photo, tuple[Region, ...]]]:
        """Every photo of the active space that passes the filters, by id, with its stored regions, best first.

        Masks have a long side of at most 512; boxes are in pixels of the upright photo. A few hundred photos
        are held at a time.
        """
        from .storage.library import library

        active = self._store.active_space()
        if active is not None:
            yield from library(self._store, active[0], self.ids(filters).tolist())

    def ids(self, filters: Filters | None = None) -> NDArray[np.int64]:
        """Ids of the photos of the active space that pass the filters, ascending; shared: do not write to it."""
        active = self._store.active_space()
        if active is None:
            return np.zeros(0, np.int64)
        wanted = self._store.eligible(active[0], filters or Filters())
        return self._store.encoded(active[0]) if wanted is None else wanted  # None: the filters leave nothing out

    def regions(self, photo_id: int) -> tuple[Region, ...]:
        """Stored regions of one photo in the active space, best first, masks as in `library`.

        Raises:
            NotInIndex: no photo has this id, or it has no encoding in the active space.
        """
        from .storage.library import regions

        active = self._store.active_space()
        known = self._store.photo(int(photo_id))
        return regions(self._store, active[0], known.id) if active else ()

    def thumbnail(self, photo: Photo | int) -> Path:
        """Where the thumbnail of an indexed photo lies, a JPEG; it may be gone, the next ingest makes it again."""
        known = self._store.photo(int(photo)) if isinstance(photo, int | np.integer) else photo
        return self._store.thumbnail_path(known.sha256)

    def facets(self) -> dict[str, Any]:
        """What photos can be filtered by, with counts: `cameras`, `folders`, `months`, `places`, `placed`, `texts`."""
        return self._store.facets()

    # --- tending -------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Counts of photos, locations, missing, failed, encodings and regions; the active space; the generations."""
        return self._store.status()

    def failed(self) -> list[FailedFile]:
        """Every file that could not be read when it was last tried, by path, with the reason."""
        return self._store.failed()

    def locations(self, photo: Photo | int) -> list[Location]:
        """Every path of an indexed photo, that of `Photo.path` first; last the files of the same shot beside them.

        Those are raw files beside a JPEG or HEIF and films of live photos, as long as they are no photos of their own.
        """
        from .ingest.companions import companions

        known = self._store.locations(int(photo) if isinstance(photo, int | np.integer) else photo.id)
        beside = {path: kind for place in known if place.present for path, kind in companions(place.path)}
        own = [path for path in beside if self._store.photo_by_path(path) is None]
        return known + [Location(path, True, beside[path]) for path in own]

    def verify(self) -> list[Check]:
        """Every check by name, with whether it holds; changes nothing, runs no model."""
        return self._store.verify()

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
        from .query.duplicates import exact, near

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
        from .storage.backup import write_backup
        from .whole_files import replaced

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

    # --- inside --------------------------------------------------------------------------------

    @property
    def _cache(self) -> PixelCache:
        """Indexed photos that queries looked at last."""
        from .query.pixels import PixelCache

        if self._pixels is None:
            self._pixels = PixelCache()
        return self._pixels

    def _second_stage(self, count: int | None, progress: Callable[[int, int], None] | None) -> SecondStage | None:
        """What reranks so many of the best photos; None where none are to be."""
        count = self._config.query.rerank if count is None else count
        if not count:
            return None
        from .query.rerank import RememberingReranker, SecondStage

        if not 0 < count <= 1000:
            raise InputError(f"rerank is {count}, expected 0 to 1000 photos")
        if not self._config.models.reranker:
            raise ConfigError(
                f"{count} of the best photos are to be reranked, but models.reranker names no model; "
                "name one such as Qwen/Qwen3-VL-Reranker-2B there, or by --reranker"
            )
        if self._reranker is None:
            check_reranker(self._config)  # before the first stage builds its model and searches
            self._reranker = RememberingReranker(lambda: build_reranker(self._config))
        return SecondStage(self._reranker, count, progress)

    def _indexed(self, source: Path | str | RGB) -> Photo | None:
        """The photo of the catalog that a path shows, if its content is still the one that was taken in."""
        if not isinstance(source, str | Path):
            return None
        path = Path(os.path.abspath(user_path(source)))
        known = self._store.photo_by_path(path)
        if known is None or not path.is_file():
            return None
        return replace(known, path=str(path)) if sha256_of(path) == known.sha256 else None

    def _keep_config(self) -> None:
        active = self._store.active_space()
        for row in self._store.spaces():
            if row.space == self.interface.space:
                is_active = active is not None and active[0] == row.id
                with worded(f"settings cannot be kept in {self.folder}"):
                    keep_config(self.folder, self._config, row.id, active=is_active)


def load_picture(source: Path | str | RGB, config: Config) -> RGB:
    """A picture from a path, an http(s) URL (not when offline) or an array, upright (H, W, 3) uint8.

    Raises:
        ImageUnreadable, ImageTooLarge.
    """
    from .ingest import decode

    most = config.ingest.max_pixels
    if not isinstance(source, str | Path):
        return decode.load_picture(source, max_pixels=most)
    path = user_path(source)
    data = _stream_bytes(path)
    if data is not None:
        return decode.decode(data, max_pixels=most).rgb
    return decode.load_picture(path, offline=config.models.offline, max_pixels=most)


@cache
def _stream_bytes(path: str) -> bytes | None:
    """What an open stream of this process holds, such as ``/dev/stdin`` behind a pipe; None for every other path.

    A stream can be read once, so its bytes are kept.
    """
    if not path.startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")) or os.path.isfile(path):
        return None
    from .ingest.decode import read_stream

    try:
        with open(path, "rb") as stream:
            return read_stream(stream)
    except OSError as error:
        raise ImageUnreadable(f"picture {path!r} cannot be read: {error.strerror or error}") from error
    except InputError as error:
        raise type(error)(f"picture {path!r}: {error}") from error


def ground_picture(
    photo: Path | str | RGB, query: Query | str, *, config: Config, build: Callable[[], Interface] | None = None
) -> Hit:
    """`Index.ground` for a picture where there is no index: the query cannot name indexed photos.

    Args:
        build: gives the interface, instead of the one that the settings name; called when the picture is loaded.
    """
    from .query.engine import ground

    rgb, asked = load_picture(photo, config), _parsed(query)
    return ground(
        build_interface(config) if build is None else build(),
        rgb,
        asked,
        photo=_stranger(photo, rgb),
        load_picture=lambda source: load_picture(source, config),
        settings=config.query,
    )


def check_pictures(query: Query, load_picture: Callable[[Path | str | RGB], RGB]) -> None:
    """Load the pictures of a query and their marks, for the errors of these; builds no model.

    Raises:
        ImageUnreadable, ImageTooLarge, InputError, ShapeError: one cannot be had, or does not fit its picture.
    """
    from .query.resolve import check_pictures

    check_pictures(query, load_picture)


def _parsed(query: Query | str) -> Query:
    return Query.parse(query) if isinstance(query, str) else query


def _days_ago(days: float) -> datetime | None:
    """The moment so many days ago, in UTC without a zone; None for 0, which is no bound."""
    if not days >= 0:
        raise InputError(f"a grace of {days} days was given, expected 0 or more")
    try:
        return datetime.now(UTC).replace(tzinfo=None) - timedelta(days=days) if days else None
    except OverflowError:
        return datetime.min


def _all_missing(photos: int) -> str:
    """Words for an index whose photos are all gone from the disk."""
    missing = "the only photo of the index is" if photos == 1 else f"all {photos} photos of the index are"
    return (
        f"{missing} missing; if the disk is not connected, connect it and ingest again; "
        "--include-missing searches what is missing as it is"
    )


def _stranger(source: Path | str | RGB, rgb: RGB) -> Photo:
    """Facts of a picture that is not in the index: id 0."""
    path = os.fspath(source) if isinstance(source, str | Path) else None
    return Photo(id=0, path=path, width=int(rgb.shape[1]), height=int(rgb.shape[0]))
