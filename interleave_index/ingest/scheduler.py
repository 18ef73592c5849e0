"""The loop between decoders, model and store, and the book-keeping of every file that is under way.

The model works in a thread of its own, on one batch at a time: meanwhile this thread, which holds the write lock, takes
the next pictures from the decoders and writes what came out of the model before.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InterleaveError, ModelError, RemoteError
from ..interface.protocol import Interface
from ..paths import is_url
from ..records import RGB, PhotoEncoding, PhotoFacts
from ..records.texts import SourceText
from ..storage.rows import LocationWrite, PhotoWrite, ShaKnown, WriteBatch
from ..storage.store import Store
from ..wording import number_of
from . import model_thread
from .decode_pool import Decoders, Outcome
from .decode_task import Reply, Task
from .encode import encode
from .plan import Claim, Need, Plan
from .tally import Tally

HASHES_AT_A_TIME = 64  # looked up by one statement
LOCATIONS_AT_A_TIME = 1024  # of one transaction, when no photo comes with them
UNREACHABLE_IN_A_ROW = 4  # objects, after which their store is taken to be away: each was tried for seconds
LOST_IN_A_ROW = 64  # photos that a model may refuse one after the other before it is taken to be broken


@dataclass(frozen=True, slots=True)
class Job:
    """A file and what it needs."""

    claim: Claim
    need: Need


@dataclass(slots=True)
class _Ready:
    """A decoded picture waiting for the model, and every file that has this content."""

    outcome: Outcome
    facts: PhotoFacts
    claims: list[Claim]
    since: float


@dataclass(slots=True)
class _Batch:
    """Pictures that the model has in hand.

    Attributes:
        ready: all that were waiting, by content.
        known: what the catalog knew of them.
        due: contents that are encoded; the others were known.
        answers: encodings of those that came without one, in order, and the seconds that they took.
    """

    ready: dict[str, _Ready]
    known: dict[str, ShaKnown]
    due: list[str]
    answers: Future[tuple[list[PhotoEncoding | Exception], float]]


@dataclass(slots=True)
class _Pending:
    """The transaction that is being gathered."""

    photos: dict[str, PhotoWrite] = field(default_factory=dict)
    locations: list[LocationWrite] = field(default_factory=list)
    texts: dict[int, SourceText] = field(default_factory=dict)
    since: float = 0.0


@dataclass(slots=True)
class Run:
    """One run over a list of jobs.

    Attributes:
        vanished: paths that were gone when they were to be read.
        left_out: paths of sound files of which nothing is kept.
        forgotten: those of them whose content was forgotten.
    """

    store: Store
    interface: Interface
    space_id: int
    decoders: Decoders
    plan: Plan
    tally: Tally
    batch: int
    model_batch: int
    commit_seconds: float
    vanished: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    _jobs: deque[Job] = field(default_factory=deque)
    _under_way: dict[int, Job] = field(default_factory=dict)
    _hashed: list[tuple[Claim, str]] = field(default_factory=list)
    _ready: dict[str, _Ready] = field(default_factory=dict)
    _in_model: _Batch | None = None
    _pending: _Pending = field(default_factory=_Pending)
    _stop: threading.Event = field(default_factory=threading.Event)
    _number: int = 0
    _lost: int = 0
    _unreachable: int = 0
    _trouble: RemoteError | None = None

    def all(self, jobs: Sequence[Job], stop: threading.Event) -> None:
        """Work through the jobs; when `stop` is set, write the batch that the model has in hand, and return.

        Raises:
            RemoteError: a store is away; what the model had in hand is written.
        """
        self._jobs.extend(jobs)
        self._stop = stop
        try:
            while not stop.is_set() and self._trouble is None and self._step():
                self.tally.tell()
            self._take_encodings()
        finally:
            model_thread.wait_until_idle()  # it may look at pixels that are given back after this
            self._write()
        if self._trouble is not None:
            raise RemoteError(
                f"{self._trouble}; {number_of(self.tally.encoded, 'photo')} of this run are kept, run it again to go on"
            ) from self._trouble

    def _step(self) -> bool:
        """One answer of the decoders, and whatever has become due by it; False when nothing is left."""
        while self._jobs and self.decoders.free_slots > 0:
            self._submit(self._jobs.popleft())
        if self.decoders.outstanding:
            with self.tally.during("decode"):
                outcome = self.decoders.next(timeout=0.2)
            if outcome is not None:
                self._take(outcome)
        idle = not self.decoders.outstanding
        if len(self._hashed) >= HASHES_AT_A_TIME or (idle and self._hashed):
            self._look_up()
        stuck = idle and (not self._jobs or self.decoders.free_slots == 0)
        if len(self._ready) >= self.model_batch or stuck or self._waited(self._oldest()):
            self._encode()
        elif self._in_model is not None and self._in_model.answers.done():
            self._take_encodings()
        if (
            len(self._pending.photos) + self.model_batch > self.batch
            or len(self._pending.locations) >= LOCATIONS_AT_A_TIME
            or len(self._pending.texts) >= LOCATIONS_AT_A_TIME
            or self._waited(self._pending.since)
        ):
            self._write()
        return bool(
            self._jobs or self.decoders.outstanding or self._hashed or self._ready or self._in_model is not None
        )

    def _oldest(self) -> float:
        return next(iter(self._ready.values())).since if self._ready else 0.0

    def _waited(self, since: float) -> bool:
        return bool(since) and time.monotonic() - since > self.commit_seconds

    def _submit(self, job: Job) -> None:
        self._number += 1
        self._under_way[self._number] = job
        prior = job.claim.prior
        known = () if prior is None or prior.photo_id is None else (prior.sha256, prior.pixels)
        claim = job.claim
        listed = (claim.bytes, claim.mtime_ns) if is_url(claim.path) else None
        task = Task(self._number, claim.path, job.need != "hash", job.need == "text", known=known, listed=listed)
        self.decoders.submit(task)

    # --- answers of the decoders -------------------------------------------------------------

    def _take(self, outcome: Outcome) -> None:
        job = self._under_way.pop(outcome.task.number)
        reply = outcome.reply
        self.tally.spent(reply.seconds)
        self.tally.not_read["tiff_pages"] += reply.more_pages
        claim = replace(job.claim, bytes=reply.bytes, mtime_ns=reply.mtime_ns)
        if not self._wanted(job, claim, reply):
            self.decoders.release(outcome)
        elif reply.facts is None or reply.sha256 is None:
            self.decoders.release(outcome)
            self._hashed.append((claim, str(reply.sha256)))
        elif self._edited(claim, reply.facts):
            self.decoders.release(outcome)
            self.tally.count("changed")
        elif (same := self._waiting(reply.sha256)) is not None:
            self.decoders.release(outcome)
            same.claims.append(claim)
        else:
            self._ready[reply.sha256] = _Ready(outcome, reply.facts, [claim], time.monotonic())

    def _wanted(self, job: Job, claim: Claim, reply: Reply) -> bool:
        """Settle a file that goes no further: gone, left out, unreadable, or only in need of its thumbnail."""
        self._unreachable = self._unreachable + 1 if reply.unreachable else 0
        if reply.unreachable:
            self.tally.fail(claim.path, reply.reason or "", reply.detail or "")  # the catalog keeps what it has of it
            if self._unreachable >= UNREACHABLE_IN_A_ROW:
                self._trouble = RemoteError(reply.detail or "")
        elif reply.gone:
            self.vanished.add(claim.path)
            self.tally.went_away()
        elif reply.left_out is not None:
            self.left_out.add(claim.path)
            if reply.left_out == "forgotten":
                self.forgotten.add(claim.path)
            self.tally.leave_out(reply.left_out)
        elif reply.reason is not None:
            self._fail(claim, reply.reason, reply.detail or "", lasting=reply.lasting)
        elif reply.text is not None and claim.prior is not None and claim.prior.photo_id is not None:
            self._add_text(claim.prior.photo_id, reply.text)
            self.tally.count("present")
        elif job.need in ("facts", "thumbnail") and claim.prior is not None and reply.sha256 == claim.prior.sha256:
            self._refresh(claim.prior.photo_id, reply.facts, everything=job.need == "facts")
            self.tally.count("present")
        else:
            return True
        return False

    def _refresh(self, photo_id: int | None, facts: PhotoFacts | None, *, everything: bool) -> None:
        """Keep what was read again of a photo with the same content: its texts, and with `everything` its facts."""
        if photo_id is None or facts is None:
            return
        if facts.text is not None:
            self._add_text(photo_id, facts.text)
        if everything:
            with self.tally.during("write"):
                self.store.refresh_facts(photo_id, facts)

    def _edited(self, claim: Claim, facts: PhotoFacts) -> bool:
        """Whether a changed file has the pixels of the photo that it held: then that photo takes its new content."""
        prior = claim.prior
        if prior is None or prior.photo_id is None or not prior.encoded or facts.pixels is None:
            return False
        if prior.state != "present" or prior.pixels != facts.pixels or prior.sha256 == facts.sha256:
            return False
        self._write()  # a copy that this run has met may lie in the transaction that is not written yet
        row = LocationWrite(claim.path, facts.sha256, claim.bytes, claim.mtime_ns)
        with self.tally.during("write"):
            return self.store.edit_photo(prior.photo_id, facts, row)

    def _look_up(self) -> None:
        """Settle hashed files whose content is known; the others have to be decoded after all."""
        known = self.store.photos_by_sha([sha for _, sha in self._hashed], space_id=self.space_id)
        for claim, sha in self._hashed:
            found = known.get(sha)
            if (same := self._waiting(sha)) is not None:
                same.claims.append(claim)
            elif found is not None and found.encoded:
                self._settle(claim, sha, found)
            else:
                self._jobs.appendleft(Job(claim, "pixels"))
        self._hashed.clear()

    # --- the model ---------------------------------------------------------------------------

    def _waiting(self, sha: str) -> _Ready | None:
        """The picture with this content that waits for the model or is in it."""
        if sha in self._ready or self._in_model is None:
            return self._ready.get(sha)
        return self._in_model.ready.get(sha)

    def _encode(self) -> None:
        """Give the waiting pictures to the model, but for those whose content is known by now.

        Waits until the batch before has come out of it.
        """
        self._take_encodings()
        if not self._ready or self._stop.is_set():
            return
        ready, self._ready = self._ready, {}
        if any(sha in self._pending.photos for sha in ready):
            self._write()  # so that the look-up includes what this run has written before
        with self.tally.during("read"):
            known = self.store.photos_by_sha(list(ready), space_id=self.space_id)
        due = [sha for sha in ready if not (sha in known and known[sha].encoded)]
        pixels = [_pixels(ready[sha]) for sha in due if ready[sha].outcome.encoded is None]
        self._in_model = _Batch(ready, known, due, model_thread.submit(_clocked_encode, self.interface, pixels))

    def _take_encodings(self) -> None:
        """Settle the batch that the model has in hand, once it is through; waits for it."""
        batch, self._in_model = self._in_model, None
        if batch is None:
            return
        made, seconds = batch.answers.result()
        self.tally.seconds["model"] += seconds
        encoded = dict(zip(batch.due, self._encodings(batch, made), strict=True))
        for sha, item in batch.ready.items():
            self._finish(item, batch.known.get(sha), encoded.get(sha))
            self.decoders.release(item.outcome)
        self.tally.encoded_more(sum(not isinstance(e, Exception) for e in encoded.values()))

    def _finish(self, item: _Ready, known: ShaKnown | None, encoded: PhotoEncoding | Exception | None) -> None:
        sha = item.facts.sha256
        if isinstance(encoded, Exception):
            for claim in item.claims:
                words = f"{type(encoded).__name__}: {' '.join(str(encoded).split())[:300]}"
                if known is None:
                    self._fail(claim, "ModelError", words)
                else:  # another space holds this photo: its place is known all the same
                    self._add(self.plan.settle(claim, sha, known.photo_id, known.present_paths, first=True)[1])
                    self.tally.fail(claim.path, "ModelError", words)
            return
        if encoded is not None:
            shape = item.outcome.reply.shape
            self._pending.photos[sha] = PhotoWrite(item.facts, to_photo_pixels(encoded, shape, item.facts))
        for number, claim in enumerate(item.claims):
            self._settle(claim, sha, known, first=number == 0)

    def _encodings(self, batch: _Batch, made: Sequence[PhotoEncoding | Exception]) -> list[PhotoEncoding | Exception]:
        """Encodings of what was due, in order; a photo that cannot be encoded has an error instead."""
        fresh = iter(made)
        outcomes = [batch.ready[sha].outcome for sha in batch.due]
        answers = [next(fresh) if outcome.encoded is None else outcome.encoded for outcome in outcomes]
        for answer in answers:
            self._lost = self._lost + 1 if isinstance(answer, Exception) else 0
            if self._lost >= LOST_IN_A_ROW and isinstance(answer, Exception):
                raise ModelError(
                    f"{self._lost} photos in a row failed in {self.interface.space.interface}; the last "
                    f"one with {type(answer).__name__}: {answer}"
                ) from answer
        return answers

    # --- rows --------------------------------------------------------------------------------

    def _settle(self, claim: Claim, sha: str, known: ShaKnown | None, first: bool = True) -> None:
        photo_id, paths = (known.photo_id, known.present_paths) if known else (None, 0)
        kind, row = self.plan.settle(claim, sha, photo_id, paths, first)
        self._add(row)
        self.tally.count(kind)

    def _fail(self, claim: Claim, reason: str, detail: str, *, lasting: bool = False) -> None:
        """Report a failure; the row stays as it is when the catalog holds the photo of this very file."""
        prior = claim.prior
        again = prior is not None and prior.state == "failed" and (prior.reason, prior.bytes) == (reason, claim.bytes)
        self.tally.fail(claim.path, reason, detail, new=not again)
        if not claim.unchanged:
            self._add(self.plan.failure(claim, reason, detail, lasting=lasting))

    def _add(self, row: LocationWrite) -> None:
        self._pending.since = self._pending.since or time.monotonic()
        self._pending.locations.append(row)

    def _add_text(self, photo_id: int, text: SourceText) -> None:
        self._pending.since = self._pending.since or time.monotonic()
        self._pending.texts[photo_id] = text

    def _write(self) -> None:
        pending, self._pending = self._pending, _Pending()
        if pending.texts:
            with self.tally.during("write"):
                self.store.texts.write_embedded(pending.texts)
        if pending.photos or pending.locations:
            with self.tally.during("write"):
                self.store.write(WriteBatch(self.space_id, list(pending.photos.values()), pending.locations))


def to_photo_pixels(encoding: PhotoEncoding, shape: Sequence[int], facts: PhotoFacts) -> PhotoEncoding:
    """Boxes in pixels of the array that the model saw become boxes in pixels of the upright photo."""
    if tuple(shape[:2]) == (facts.height, facts.width):
        return encoding
    across, down = facts.width / shape[1], facts.height / shape[0]
    return replace(encoding, boxes=encoding.boxes * np.array([across, down, across, down], np.float32))


def _clocked_encode(interface: Interface, photos: list[RGB]) -> tuple[list[PhotoEncoding | Exception], float]:
    start = time.perf_counter()
    return encode(interface, photos), time.perf_counter() - start


def _pixels(item: _Ready) -> RGB:
    if item.outcome.rgb is None:
        raise InterleaveError("a decoded picture was released before the model saw it")
    return item.outcome.rgb
