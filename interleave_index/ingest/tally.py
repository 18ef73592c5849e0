"""What a run has done so far: counts, failures, seconds by stage, current rate. Knows no files, SQL or models."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from ..records import FailedFile, IngestReport
from ..records.ingested import Unmounted

Kind = Literal["added", "changed", "present", "moved", "duplicate"]
Stage = Literal["scan", "ingest", "texts", "optimize"]
WINDOW = 10.0  # seconds over which the current rate is taken
EVERY = 0.1  # seconds between two calls of a progress callback


@dataclass(frozen=True, slots=True)
class IngestProgress:
    """How far a run is; given to the progress callback at most ten times a second, and at the end of each stage.

    Attributes:
        stage: ``scan`` (total is not known yet), ``ingest``, ``texts``, ``optimize``.
        done, total: files settled, and files that count as photos; total is None while scanning.
        encoded: photos that went through the model.
        failed: files that failed.
        photos_per_s: photos encoded a second, lately.
        decoder_seconds: what the decode processes spent, by stage: read, hash, decode, small.
        passages, passages_total: of texts, encoded so far in this run, and to be encoded.
    """

    stage: Stage
    done: int
    total: int | None
    encoded: int
    failed: int
    photos_per_s: float
    decoder_seconds: dict[str, float]
    passages: int = 0
    passages_total: int = 0


@dataclass(slots=True)
class Tally:
    """Counts one run; see `IngestReport`."""

    progress: Callable[[IngestProgress], None] | None = None
    stage: Stage = "scan"
    total: int | None = None
    done: int = 0
    encoded: int = 0
    missing: int = 0
    texts_seen: int = 0
    texts_read: int = 0
    texts_missing: int = 0
    passages: int = 0
    passages_total: int = 0
    interrupted: bool = False
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("added", "changed", "present", "moved", "duplicate"), 0)
    )
    failed: list[FailedFile] = field(default_factory=list)
    not_read: Counter[str] = field(default_factory=Counter)
    unmounted: list[Unmounted] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "decode", "model", "write"), 0.0))
    decoder_seconds: dict[str, float] = field(default_factory=dict)
    _start: float = field(default_factory=time.perf_counter)
    _told: float = 0.0
    _lately: deque[tuple[float, int]] = field(default_factory=deque)

    def count(self, kind: Kind) -> None:
        """One more file is settled."""
        self.counts[kind] += 1
        self.done += 1

    def fail(self, path: str, reason: str, detail: str, *, file: bool = True, new: bool = True) -> None:
        """One more failure; `file` False for a folder, which is not among the files to do."""
        self.failed.append(FailedFile(path, reason, detail, new))
        self.done += file

    def leave_out(self, kind: str) -> None:
        """A file was read, but nothing of it is to be kept."""
        self.not_read[kind] += 1
        self.done += 1

    def went_away(self) -> None:
        """A file was deleted between listing and reading."""
        self.done += 1

    def encoded_more(self, photos: int) -> None:
        """Photos that came out of the model."""
        self.encoded += photos
        now = time.perf_counter()
        self._lately.append((now, photos))
        while self._lately and now - self._lately[0][0] > WINDOW:
            self._lately.popleft()

    def spent(self, decoder_seconds: dict[str, float]) -> None:
        """Seconds that a decode process spent on one file."""
        for stage, seconds in decoder_seconds.items():
            self.decoder_seconds[stage] = self.decoder_seconds.get(stage, 0.0) + seconds

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Add the wall time of the body to a stage: read, decode (waiting for pixels), model, write."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def tell(self, stage: Stage | None = None) -> None:
        """Call the progress callback, unless it was called a moment ago and the stage is the same."""
        now = time.perf_counter()
        changed = stage is not None and stage != self.stage
        self.stage = stage or self.stage
        if self.progress is None or (not changed and now - self._told < EVERY):
            return
        self._told = now
        self.progress(
            IngestProgress(
                self.stage,
                self.done,
                self.total,
                self.encoded,
                len(self.failed),
                self._rate(now),
                dict(self.decoder_seconds),
                self.passages,
                self.passages_total,
            )
        )

    def _rate(self, now: float) -> float:
        if not self._lately:
            return 0.0
        # The first entry of the window marks where it begins: its photos were made before.
        first, photos = self._lately[0]
        made = sum(n for _, n in self._lately) - photos
        return made / (now - first) if made and now > first else self.encoded / max(now - self._start, 1e-9)

    def report(self) -> IngestReport:
        """The report of the run; the rate is photos encoded over the wall time of the whole run."""
        wall = time.perf_counter() - self._start
        self._told = 0.0
        self.tell()
        return IngestReport(
            added=self.counts["added"],
            changed=self.counts["changed"],
            present=self.counts["present"],
            moved=self.counts["moved"],
            duplicate=self.counts["duplicate"],
            missing=self.missing,
            failed=tuple(sorted(self.failed, key=lambda failure: failure.path)),
            photos_per_s=round(self.encoded / wall, 3) if self.encoded else 0.0,
            seconds={stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            interrupted=self.interrupted,
            texts={
                "seen": self.texts_seen,
                "read": self.texts_read,
                "missing": self.texts_missing,
                "passages": self.passages,
            },
            not_read={kind: count for kind, count in sorted(self.not_read.items()) if count},
            unmounted=tuple(self.unmounted),
        )
