"""Runs one benchmark over a subject: item by item, resumable, with the published figures beside what was found."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from .figures import Published
from .journal import Journal
from .subject import Subject

Progress: TypeAlias = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one item gave: plain JSON values, and arrays where they are needed again for the figures."""

    record: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Benchmark(Protocol[ItemT]):
    """A data set and what is measured on it."""

    name: str
    settings: dict[str, Any]  # plain JSON values; part of what a resumed run must agree in
    published: Sequence[Published]

    def items(self) -> Sequence[tuple[str, ItemT]]:
        """All items with keys that stay the same from run to run."""

    def measure(self, subject: Subject, item: ItemT, rng: np.random.Generator) -> Measured:
        """Ask the subject about one item; `rng` depends on the seed and the key alone."""

    def figures(self, journal: Journal, subject: Subject) -> dict[str, Any]:
        """The figures of everything measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """How a benchmark is run.

    Attributes:
        work: folder of its records, for a run that can be stopped; None keeps nothing.
        seed: of everything that is drawn.
        limit: only so many items, spread over the whole set, for a trial.
        progress: is told how far it is.
    """

    work: Path | None = None
    seed: int = 0
    limit: int | None = None
    progress: Progress | None = None

    def __call__(self, benchmark: Benchmark[Any], subject: Subject) -> dict[str, Any]:
        """The report: figures, the published ones beside them, settings, model, items, seconds of this run.

        Raises:
            InputError: nothing to measure, or `work` holds another run.
        """
        items = list(benchmark.items())
        whole = len(items)
        if not items:
            raise InputError(f"{benchmark.name} has no item to measure; check its files")
        if self.limit is not None and self.limit < whole:
            items = [items[n * whole // self.limit] for n in range(self.limit)]
        head = {
            "benchmark": benchmark.name,
            "settings": benchmark.settings,
            "model": subject.facts,
            "seed": self.seed,
            "items": [len(items), whole],
        }
        with ExitStack() as stack:
            folder = self.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            journal, started = Journal(folder / _folder(benchmark.name), head), time.perf_counter()
            self._measure(benchmark, subject, items, journal)
            figures = benchmark.figures(journal, subject)
        complete = len(items) == whole
        return {
            "benchmark": benchmark.name,
            "figures": figures,
            "n": len(items),
            "complete": complete,
            "published": [one.beside(figures) for one in benchmark.published],
            "settings": benchmark.settings,
            "model": subject.facts,
            "seed": self.seed,
            "seconds": round(time.perf_counter() - started, 1),
        }

    def _measure(
        self, benchmark: Benchmark[Any], subject: Subject, items: Sequence[tuple[str, Any]], journal: Journal
    ) -> None:
        told = self.progress or (lambda what, done, total: None)
        told(benchmark.name, len(journal.records), len(items))
        for key, item in items:
            if key not in journal.records:
                rng = np.random.default_rng((self.seed, zlib.crc32(key.encode())))
                found = benchmark.measure(subject, item, rng)
                journal.add(key, found.record, found.arrays)
                told(benchmark.name, len(journal.records), len(items))


def _folder(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in name)
