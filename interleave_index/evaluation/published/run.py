"""Runs one benchmark over a subject: item by item, resumable, with the published figures beside the measured ones."""

from __future__ import annotations

import re
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.random import Generator

from ...errors import InputError
from ..outcome import Figures
from ..progress import Progress
from .figures import beside, published_figures
from .journal import Journal, Record
from .subject import Subject

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Benchmark(Generic[ItemT]):
    """A data set and what is measured on it.

    Attributes:
        name: by which the published figures are known, where `published` is empty.
        items: by keys that stay the same from run to run.
        measure: asks a subject about one item, with a generator that depends on the seed and the key alone, and gives
            what `figures` needs; `Journal` keeps arrays in half precision.
        figures: of everything measured.
        settings: plain JSON values; part of what a resumed run must agree in.
        comparable: asked in the way that the published figures were measured.
        presence: asks whether a thing is there at all.
        published: name of the published figures that belong to these settings.
        judged: the truths are known; else all that is measured goes into files, for a server.
        written: files that the measurement writes beside its records.
        prepare: what a subject is asked once before its first item, with a report of how far that is; or None.
        needs: by key the items that must be measured with it, such as the photos that a query names; where there are
            any, its keys alone are counted, and a trial takes so many of them.
    """

    name: str
    items: Mapping[str, ItemT]
    measure: Callable[[Subject, ItemT, Generator], Record]
    figures: Callable[[Journal], Figures]
    settings: Mapping[str, Any] = field(default_factory=dict)
    comparable: bool = True
    presence: bool = False
    published: str = ""
    judged: bool = True
    written: Sequence[Path] = ()
    prepare: Callable[[Subject, Progress], object] | None = None
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """How a benchmark is run.

    Attributes:
        work: folder of its records, for a run that can be stopped; None keeps nothing.
        seed: of everything that is drawn.
        limit: only so many items, spread over the whole set, for a trial.
        progress: is called with how far it is.
    """

    work: Path | None = None
    seed: int = 0
    limit: int | None = None
    progress: Progress = lambda what, done, total: None

    def __call__(self, benchmark: Benchmark[Any], subject: Subject) -> Figures:
        """The report: figures, the published ones beside them, settings, model, items, seconds of this run.

        Raises:
            InputError: nothing to measure, or `work` holds another run.
        """
        keys, counted, whole = self._chosen(benchmark)
        head = {
            "benchmark": benchmark.name,
            "settings": benchmark.settings,
            "model": subject.facts,
            "seed": self.seed,
        }
        protocol = subject.protocol(presence=benchmark.presence)
        if protocol is not None:
            head["protocol"] = protocol
        comparable = benchmark.comparable and subject.comparable(presence=benchmark.presence)
        published = published_figures(benchmark.published or benchmark.name) if comparable else []
        started = time.perf_counter()
        with ExitStack() as stack:
            work = self.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            folder = work / re.sub(r"\W", "-", benchmark.name if protocol is None else f"{benchmark.name} {protocol}")
            journal = Journal(folder, {**head, "items": [counted, whole]})
            if benchmark.prepare is not None and len(journal.records) < len(keys):
                benchmark.prepare(subject, self.progress)
            self.progress(benchmark.name, len(journal.records), len(keys))
            for key in keys:
                if key in journal.records:
                    continue
                rng = np.random.default_rng((self.seed, zlib.crc32(key.encode())))
                journal.add(key, benchmark.measure(subject, benchmark.items[key], rng))
                self.progress(benchmark.name, len(journal.records), len(keys))
            figures = benchmark.figures(journal)
        return {
            **head,
            "figures": figures,
            "n": counted,
            "complete": counted == whole,
            "published": [beside(row, figures) for row in published],
            "seconds": round(time.perf_counter() - started, 1),
        }

    def _chosen(self, benchmark: Benchmark[Any]) -> tuple[list[str], int, int]:
        """Keys of the items to be measured, and how many of how many are counted."""
        keys = list(benchmark.needs or benchmark.items)
        whole = len(keys)
        if not keys:
            raise InputError(f"{benchmark.name} has no item to measure; check its files")
        if self.limit is None or self.limit >= whole:
            return list(benchmark.items), whole, whole
        keys = [keys[n * whole // self.limit] for n in range(self.limit)]
        needed = {other for key in keys for other in benchmark.needs.get(key, ())}
        return [key for key in benchmark.items if key in needed] + keys, len(keys), whole
