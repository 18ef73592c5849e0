"""scan -> decode -> encode -> write: the way of a photo into the index. Joins the stages; knows no format and no SQL.

The model and the database live in this process; files are read in others (`decode_pool.py`). Memory is bounded by the
number of decoded pictures that may wait, whatever the number of files; only paths are kept for all of them.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ..errors import BackendMissing, ConfigError
from ..interface.protocol import Interface
from ..paths import absolute, is_url, without_links
from ..records import IngestReport
from ..records.ingested import Unmounted
from ..records.texts import TEXT_KINDS, TextKind
from ..storage.exclusions import Exclusions
from ..storage.store import Store
from ..threads import return_freed_memory
from .decode import MAX_PIXELS
from .decode_pool import Decoders, InProcess, WorkerPool
from .decode_task import Recipe
from .ignore import Ignored
from .plan import Claim, Plan
from .remote_scan import RemoteScanner
from .scan import ScannedText, Scanner
from .scheduler import Job, Run
from .tally import IngestProgress, Tally
from .text_stage import TextStage
from .thumbnail import thumbnail_file
from .unmounted import why_unmounted

__all__ = ["IngestProgress", "IngestSettings", "ingest"]

ROOTS_AT_A_TIME = 100
OpenDecoders = Callable[[Recipe, int], Decoders]


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How photos are read.

    Attributes:
        workers: decode processes; 0 decodes in the process of the model, -1 takes one less than the processors.
        batch: photos of one transaction, 1 to 256; what a kill loses at most.
        model_batch: photos that the interface is given at a time.
        max_pixels: a picture with more is a failed file.
        long_side: larger pictures are shrunk by a whole factor while their long side stays at least this.
        thumbnail_side: long side of a stored thumbnail, pixels.
        commit_seconds: a transaction is written at least this often, even when it is not full.
        text_kinds: kinds of text sources that are read.
        exclude: patterns of files and folders that are left out, in gitignore's form, from each root on.
        retry: try files again that failed before, though they did not change.
        reread: read files again though their size and time did not change.
        really: call photos missing even where their whole folder looks unmounted.
    """

    workers: int = -1
    batch: int = 64
    model_batch: int = 16
    max_pixels: int = MAX_PIXELS
    long_side: int = 1000
    thumbnail_side: int = 512
    commit_seconds: float = 5.0
    text_kinds: tuple[TextKind, ...] = TEXT_KINDS
    exclude: tuple[str, ...] = ()
    retry: bool = False
    reread: bool = False
    really: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (
            ("workers", -1, 256),
            ("batch", 1, 256),
            ("model_batch", 1, 4096),
            ("max_pixels", 1, 2**40),
            ("long_side", 64, 8192),
            ("thumbnail_side", 16, 4096),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"ingest.{name} is {getattr(self, name)}, expected {low} to {high}")

    @property
    def processes(self) -> int:
        """Decode processes after -1 is resolved."""
        return self.workers if self.workers >= 0 else max(1, processors() - 1)


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ingest(
    store: Store,
    interface: Interface,
    roots: Sequence[Path | str],
    *,
    settings: IngestSettings | None = None,
    progress: Callable[[IngestProgress], None] | None = None,
    stop: threading.Event | None = None,
    within: Sequence[str] | None = None,
    open_decoders: OpenDecoders | None = None,
) -> IngestReport:
    """Bring the index up to date with everything below some roots.

    Files known by size and time are skipped, then those known by content; the rest is decoded, encoded and written,
    one transaction a batch. Photos of the catalog without an encoding in the interface's space are encoded too, so
    that a run that was cut short goes on, and a new model fills its own space. Ctrl-C (or setting `stop`) finishes
    the batch in flight, writes it and returns the report; a second Ctrl-C raises KeyboardInterrupt.

    Args:
        roots: folders and files, or URLs of folders and objects in stores.
        progress: called in this thread, at most ten times a second.
        stop: set it from elsewhere to end the run as one Ctrl-C does.
        within: folders, without links, that links must stay in; None lets them lead anywhere.
        open_decoders: gives what decodes, and perhaps encodes, from what is done with a file and the number of files;
            None decodes by processes of this machine.
    Returns:
        what was done; files that failed are in it, with a reason each, as are folders that could not be listed.
    Raises:
        InputError: a root does not exist.
        RemoteError: a store cannot be used; what was written before is kept, and nothing is called missing.
        IndexBusy: another process is writing.
        ModelError: the model cannot be used at all; what was encoded before is kept.
    """
    settings, stop = settings or IngestSettings(), stop or threading.Event()
    tally = Tally(progress)
    with store.writer("ingest"), _ctrl_c(stop):
        space_id = store.ensure_space(interface.space)
        _keep_calibration(store, space_id, interface)
        excluded = Exclusions.of(store.exclusions())
        places_of_forgotten = excluded.places
        with tally.during("read"):
            survey = _survey(store, space_id, roots, excluded, tally, stop, within, settings)
        forgotten_now: set[str] = set()
        if survey.jobs:
            recipe = _recipe(store, settings, excluded)
            count = len(survey.jobs)
            decoders = open_decoders(recipe, count) if open_decoders else _decoders(recipe, settings, count)
            forgotten_now = _take_photos(store, interface, space_id, survey, decoders, tally, stop, settings)
            return_freed_memory()
        tally.interrupted = stop.is_set()
        if not tally.interrupted:
            _mark_missing(store, survey, tally, settings)
            stage = TextStage(store, interface, space_id, tally, stop, settings.retry, settings.reread)

            def is_forgotten(photo: str) -> bool:
                if excluded.cover(photo) or photo in forgotten_now:
                    return True
                return photo in places_of_forgotten and store.photo_by_path(photo) is None

            texts = stage.without_forgotten(survey.texts, is_forgotten)
            stage.all(texts, _runs(survey.roots), survey.hidden, survey.may_be_there, survey.known)
            tally.interrupted = stop.is_set()
        if not tally.interrupted:
            _optimize_due(store, space_id, tally)
    return tally.report()


def _recipe(store: Store, settings: IngestSettings, excluded: Exclusions) -> Recipe:
    """What is done with every file."""
    return Recipe(
        str(store.thumbnail_path("00").parent.parent),
        settings.max_pixels,
        settings.long_side,
        settings.thumbnail_side,
        forgotten=frozenset(excluded.contents),
        forgotten_pixels=store.forgotten_pixels(),
        texts="embedded" in settings.text_kinds,
    )


def _take_photos(
    store: Store,
    interface: Interface,
    space_id: int,
    survey: _Survey,
    decoders: Decoders,
    tally: Tally,
    stop: threading.Event,
    settings: IngestSettings,
) -> set[str]:
    """Decode, encode and write the files of the survey; those that went meanwhile are no longer among the seen.

    Returns:
        paths whose content was forgotten.
    """
    batches = (settings.batch, settings.model_batch, settings.commit_seconds)
    run = Run(store, interface, space_id, decoders, survey.plan, tally, *batches)
    try:
        run.all(survey.jobs, stop)
    finally:
        decoders.close()
    # A folder that went with its file was not looked into again: it may be a drive that was pulled out.
    survey.seen -= {path for path in run.vanished if os.path.isdir(os.path.dirname(path))}
    survey.seen -= run.left_out
    return run.forgotten


def _mark_missing(store: Store, survey: _Survey, tally: Tally, settings: IngestSettings) -> None:
    """Mark photos whose files are gone, but for those of folders that look unmounted."""
    with tally.during("write"):
        store.drop_locations(survey.aliases)
        if not settings.really:
            tally.unmounted = _unmounted(store, survey, survey.seen)
            survey.hidden += [root.path for root in tally.unmounted]
        tally.missing = sum(
            store.mark_missing(some, survey.seen, survey.hidden, survey.known) for some in _runs(survey.roots)
        )
        store.forget_placeless()


def _optimize_due(store: Store, space_id: int, tally: Tally) -> None:
    """Make the FAISS files anew that are due."""
    with tally.during("write"):
        tally.tell("optimize")
        due = store.due(space_id)
        if due:
            with suppress(BackendMissing):  # without FAISS the catalog is complete all the same
                store.optimize(space_id, kinds=due)


def _unmounted(store: Store, survey: _Survey, seen: set[str]) -> list[Unmounted]:
    """Roots that look like disks which are not there just now: nothing below them is to be called missing."""
    found = []
    for root in dict.fromkeys(map(without_links, survey.roots)):
        gone, known = store.count_unseen([root], seen, survey.hidden)
        why = why_unmounted(root, gone, known)
        if why is not None:
            found.append(Unmounted(root, gone, why))
    return found


def _keep_calibration(store: Store, space_id: int, interface: Interface) -> None:
    """Keep what makes scores comparable with the vectors, so that queries without a model are judged alike."""
    data = interface.calibration.to_bytes()
    if store.load_calibration(space_id) != data:
        store.save_calibration(space_id, data)


@dataclass(slots=True)
class _Survey:
    """What the listing of the roots gave.

    Attributes:
        roots: those that were given, what is behind their links, and places outside of them that links lead to.
        jobs: files that something is left to do for.
        seen: files that are not missing.
        hidden: folders that could not be listed, by every name.
        aliases: locations of the catalog that are other names of files which were met.
        texts: text sources that were met, by path.
        may_be_there: whether a file that was not met may be there all the same.
        known: files and text sources that the catalog had before the roots were listed; None where no other machine
            adds to it meanwhile.
    """

    plan: Plan
    roots: list[str]
    jobs: list[Job] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    hidden: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    texts: dict[str, ScannedText] = field(default_factory=dict)
    may_be_there: Callable[[str], bool] = lambda path: False
    known: set[str] | None = None


def _survey(
    store: Store,
    space_id: int,
    roots: Sequence[Path | str],
    excluded: Exclusions,
    tally: Tally,
    stop: threading.Event,
    within: Sequence[str] | None,
    settings: IngestSettings,
) -> _Survey:
    """List everything, count what needs nothing, and give what is left to do and which files are not missing."""
    given = [absolute(root) for root in roots]
    every_root = list(dict.fromkeys([*given, *map(without_links, given)]))
    known = {
        path: row for some in _runs(every_root) for path, row in store.known_locations(some, space_id=space_id).items()
    }
    photos = {path for path, row in known.items() if row.photo_id is not None}
    plan = Plan(known, excluded.places, "embedded" in settings.text_kinds, settings.retry, settings.reread)
    survey = _Survey(plan, every_root)
    if store.is_shared:
        survey.known = {path for some in _runs(every_root) for path in store.texts.known(some)}.union(known)

    def look_outside(path: str) -> None:
        survey.roots.append(path)
        more = store.known_locations([path], space_id=space_id)
        if survey.known is not None:
            survey.known.update(store.texts.known([path]), more)
        known.update(more)
        photos.update(path for path, row in more.items() if row.photo_id is not None)
        survey.plan.learn(more)

    ignored = Ignored(settings.exclude)
    scanner = Scanner(known, photos, excluded, look_outside, within, settings.text_kinds, ignored)
    remote = RemoteScanner(scanner)
    folder = store.thumbnail_path("00").parent.parent
    in_stores = remote.files([root for root in given if is_url(root)])
    for file in chain(in_stores, scanner.files([root for root in roots if not is_url(root)])):
        survey.seen.add(file.path)
        prior = known.get(file.path)
        there = prior is not None and prior.sha256 is not None and thumbnail_file(folder, prior.sha256).exists()
        need = survey.plan.need(file, has_thumbnail=there)
        if need == "hash" and is_url(file.path):  # to read an object twice would cost more than to decode it
            need = "pixels"
        if need == "nothing":
            tally.count("present")
        elif need == "failure" and prior is not None:
            detail = prior.detail or "failed before"
            tally.fail(file.path, prior.reason or "ImageUnreadable", detail, new=False)
        else:
            survey.jobs.append(Job(Claim(file.path, prior, file.bytes, file.mtime_ns), need))
        tally.tell()
        if stop.is_set():
            break
    for unlisted, words in scanner.unlisted.items():
        tally.fail(unlisted, "InputError", f"cannot be listed: {words}", file=False)
        survey.hidden += [unlisted, without_links(unlisted)]

    def may_be_there(path: str) -> bool:
        return remote.may_be_there(path) if is_url(path) else scanner.may_be_there(path)

    survey.texts, survey.may_be_there = scanner.texts, may_be_there
    tally.not_read.update(scanner.not_read)
    tally.total = len(survey.seen)
    if not stop.is_set():
        unmet = [path for path in known if path not in survey.seen]
        survey.aliases = [path for path in unmet if not is_url(path) and scanner.is_alias(path)]
        survey.seen.update(path for path in unmet if known[path].state != "missing" and may_be_there(path))
    survey.plan.scanned(survey.seen, survey.hidden)
    tally.tell("ingest")
    return survey


def _runs(roots: Sequence[str]) -> Iterator[list[str]]:
    """The roots a hundred at a time: a shell makes thousands of `*.jpg`, and one statement cannot hold them all."""
    for start in range(0, len(roots), ROOTS_AT_A_TIME):
        yield list(roots[start : start + ROOTS_AT_A_TIME])


def _decoders(recipe: Recipe, settings: IngestSettings, jobs: int) -> Decoders:
    if settings.processes == 0:
        return InProcess(recipe)
    workers = min(settings.processes, jobs)
    # Two batches ahead of the model and the one inside it, and what the processes hold in their hands.
    return WorkerPool(recipe, workers, slots=min(jobs, 3 * settings.model_batch + 2 * workers) + 1)


@contextmanager
def _ctrl_c(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C set `stop` and the second one raise; outside the main thread nothing can be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pressed(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, pressed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
