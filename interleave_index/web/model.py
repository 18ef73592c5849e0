"""One model for many threads: questions before photos, gathered for a few milliseconds, dropped when nobody waits.

Knows the interface protocol and threads; no framework.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

from ..interface.calibration import Calibration
from ..interface.protocol import Capabilities, Interface, TextReading
from ..records import RGB, GroundedMask, PhotoEncoding, QueryEncoding, ResolvedPart, ResolvedQuery, Space

T = TypeVar("T")
Kind = Literal["query", "look", "photos", "build"]
FIRST: dict[Kind, int] = {"build": 0, "query": 0, "look": 1, "photos": 2}  # lower goes first
PHOTOS_AT_ONCE = 4  # of an ingest, so that a question waits for no more than these
PASSAGES_AT_ONCE = 32  # likewise
MOST_GATHERED = 32
REMEMBERED = 500  # encodings of words: pages, toggles and the back button ask the same again

left: ContextVar[threading.Event | None] = ContextVar("left", default=None)  # set when the client has gone


class Cancelled(Exception):
    """Whoever asked has gone; nothing more is computed for them."""


def check_left() -> None:
    """Raise `Cancelled` when the request that this thread works for has nobody waiting any more."""
    event = left.get()
    if event is not None and event.is_set():
        raise Cancelled


@dataclass(order=True)
class _Turn:
    rank: tuple[int, int]
    kind: Kind = field(compare=False)
    work: Callable[[], Any] | None = field(compare=False)
    query: ResolvedQuery | None = field(compare=False)
    gone: threading.Event | None = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)


class SharedInterface(Interface):
    """An interface in a thread of its own, which any number of threads may use as if it were theirs.

    Args:
        build: makes the model, in that thread, on first use.
        gather_seconds: how long to wait for further queries once there is one and others are on their way.
        seen: called with every piece of work: its kind, how many at once, seconds.
    """

    def __init__(
        self,
        build: Callable[[], Interface],
        *,
        gather_seconds: float = 0.004,
        seen: Callable[[str, int, float], None] = lambda kind, count, seconds: None,
    ) -> None:
        self._build, self._gather, self._seen = build, gather_seconds, seen
        self._turns: queue.PriorityQueue[_Turn] = queue.PriorityQueue()
        self._number = itertools.count()
        self._interface: Interface | None = None
        self._encoded: OrderedDict[tuple[tuple[str, str, float], ...], QueryEncoding] = OrderedDict()
        self._encoded_lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def space(self) -> Space:
        """See `Interface.space`; builds the model."""
        return self.built.space

    @property
    def calibration(self) -> Calibration:
        """See `Interface.calibration`."""
        return self.built.calibration

    @property
    def built(self) -> Interface:
        """The model itself, made by the first who asks."""
        if self._interface is None:
            self._ask("build", lambda: self._model())
        return cast(Interface, self._interface)

    @property
    def waiting(self) -> int:
        """Pieces of work that wait."""
        return self._turns.qsize()

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`; together with others that come at the same moment, words only once."""
        key = tuple((part.role, part.label, part.weight) for part in query)
        words = all(part.kind == "text" for part in query)
        if words:
            with self._encoded_lock:
                if key in self._encoded:
                    self._encoded.move_to_end(key)
                    return self._encoded[key]
        found = cast(QueryEncoding, self._ask("query", None, query))
        if words:
            with self._encoded_lock:
                self._encoded[key] = found
                while len(self._encoded) > REMEMBERED:
                    self._encoded.popitem(last=False)
        return found

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """See `Interface.encode_queries`: passages of an ingest, some at a time and after what anybody asks."""
        found: list[QueryEncoding] = []
        for start in range(0, len(queries), PASSAGES_AT_ONCE):
            some = queries[start : start + PASSAGES_AT_ONCE]
            found += self._ask("photos", lambda some=some: self._model().encode_queries(some))  # type: ignore[misc]
        return found

    @property
    def capabilities(self) -> Capabilities:
        """See `Interface.capabilities`."""
        return self.built.capabilities

    def reading(self, text: str) -> TextReading:
        """See `Interface.reading`; a look-up, so it takes no turn."""
        return self.built.reading(text)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`."""
        return self._ask("look", lambda: self._model().ground(photo, query))

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`."""
        return self._ask("look", lambda: self._model().interact(photo, parts))

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`; a few at a time, so that questions come in between."""
        found: list[PhotoEncoding] = []
        kind: Kind = "photos" if left.get() is None else "look"
        for start in range(0, len(photos), PHOTOS_AT_ONCE):
            some = photos[start : start + PHOTOS_AT_ONCE]
            found += self._ask(kind, lambda some=some: self._model().encode_photos(some))  # type: ignore[misc]
        return found

    def close(self) -> None:
        """Finish what is at work and drop the rest."""
        self._closed = True
        self._turns.put(_Turn((9, next(self._number)), "build", None, None, None))
        self._thread.join(timeout=30)

    # --- inside ------------------------------------------------------------------------------

    def _ask(self, kind: Kind, work: Callable[[], T] | None, query: ResolvedQuery | None = None) -> T:
        check_left()
        if self._closed:
            raise Cancelled
        turn = _Turn((FIRST[kind], next(self._number)), kind, work, query, left.get())
        self._turns.put(turn)
        return cast(T, turn.future.result())

    def _model(self) -> Interface:
        if self._interface is None:
            self._interface = self._build()
        return self._interface

    def _run(self) -> None:
        while not self._closed:
            turn = self._turns.get()
            if turn.work is None and turn.query is None:
                break
            together = [turn, *self._more(turn)] if turn.query is not None else [turn]
            self._do([one for one in together if not _dropped(one)])
        while not self._turns.empty():
            self._turns.get().future.cancel()

    def _more(self, first: _Turn) -> list[_Turn]:
        """Further queries that come within the time to gather; other work goes back."""
        gathered: list[_Turn] = []
        end = time.monotonic() + self._gather
        while len(gathered) + 1 < MOST_GATHERED:
            try:
                turn = self._turns.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            if turn.query is None:
                self._turns.put(turn)
                break
            gathered.append(turn)
        return gathered

    def _do(self, turns: list[_Turn]) -> None:
        if not turns:
            return
        began = time.perf_counter()
        try:
            found = self._found(turns)
        except BaseException as error:
            if len(turns) == 1:
                turns[0].future.set_exception(error)
            else:  # one of them cannot be encoded: the others must not suffer
                for turn in turns:
                    self._do([turn])
            return
        self._seen(turns[0].kind, len(turns), time.perf_counter() - began)
        for turn, one in zip(turns, found, strict=True):
            turn.future.set_result(one)

    def _found(self, turns: list[_Turn]) -> list[Any]:
        model = self._model()
        queries = [turn.query for turn in turns if turn.query is not None]
        if not queries:
            return [turn.work() if turn.work is not None else None for turn in turns]
        return [model.encode_query(queries[0])] if len(queries) == 1 else model.encode_queries(queries)


def _dropped(turn: _Turn) -> bool:
    if turn.gone is None or not turn.gone.is_set():
        return False
    turn.future.set_exception(Cancelled())
    return True
