"""A bounded number of requests at work; few wait, each client in turn; the rest are refused, with a time to come back.

Work runs in threads, never on the event loop, and every piece has a deadline: a thread that a dead disk holds is left
behind, and another takes its place. When the client leaves, work that has not begun is dropped, and work that has begun
stops at its next look at the model.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import Request

from .model import Cancelled, left
from .problems import Refused
from .settings import ServeSettings

T = TypeVar("T")
SPARE = 6  # threads beyond those at work, for pieces of work that never end
FILES_AT_ONCE = 4
READ_SECONDS = 30.0  # of a look into the catalog


class Turns:
    """Places to work at, given to clients in turn, so that one with many requests does not make others wait.

    Args:
        places: that may be taken at once.
        most: requests that may wait.
    """

    def __init__(self, places: int, most: int) -> None:
        self._free, self._most = places, most
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self.count = 0

    def ahead_of(self, client: str) -> int:
        """How many requests would get a place before the next one of this client."""
        own = len(self._waiting.get(client, ()))
        return sum(min(len(queue), own + 1) for name, queue in self._waiting.items() if name != client) + own

    async def take(self, client: str, seconds: float) -> None:
        """Wait for a place.

        Raises:
            Overfull: too many wait, or it took too long.
        """
        if self._free > 0:
            self._free -= 1
            return
        if self.count >= self._most and not self._displace(client):
            raise Overfull
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(client, deque())
        queue.append(place)
        self.count += 1
        try:
            async with asyncio.timeout(seconds):
                await place
        except TimeoutError:
            self._return(place)
            raise Overfull from None
        except asyncio.CancelledError:
            self._return(place)
            raise
        finally:
            self._forget(client, place)

    def give_back(self) -> None:
        """A place is free: it goes to the client whose turn it is."""
        while self._waiting:
            client, queue = next(iter(self._waiting.items()))
            place = queue.popleft()
            self.count -= 1
            self._waiting.move_to_end(client)
            if not queue:
                del self._waiting[client]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _return(self, place: asyncio.Future[None]) -> None:
        """Give a place back that came at the moment at which it was not waited for any more."""
        if place.done() and not place.cancelled() and place.exception() is None:
            self.give_back()

    def _displace(self, client: str) -> bool:
        """Refuse the last request of the client with most of them, if that is somebody else with more than this one."""
        if not self._waiting:
            return False
        largest = max(self._waiting, key=lambda name: len(self._waiting[name]))
        if len(self._waiting[largest]) <= len(self._waiting.get(client, ())) + 1:
            return False
        place = self._waiting[largest][-1]
        self._forget(largest, place)
        if not place.done():
            place.set_exception(Overfull())
        return True

    def _forget(self, client: str, place: asyncio.Future[None]) -> None:
        queue = self._waiting.get(client)
        if queue is None or place not in queue:
            return
        queue.remove(place)
        self.count -= 1
        if not queue:
            del self._waiting[client]


class Overfull(Exception):
    """There is no place to work at."""


class Threads:
    """Threads with deadlines.

    Args:
        count: pieces of work that are meant to run at once.
        name: of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(count + SPARE, thread_name_prefix=name)
        self._lock = threading.Lock()  # pieces of work end in threads of their own
        self._stuck = 0

    @property
    def stuck(self) -> int:
        """Pieces of work that were given up and have not ended."""
        with self._lock:
            return self._stuck

    async def run(self, work: Callable[[], T], seconds: float) -> T:
        """What `work` gives.

        Raises:
            Refused: 503, it took too long, or too many pieces of work before have not ended yet.
        """
        if self.stuck >= SPARE:
            raise Refused(503, "the disk with the photos does not answer; try again when it is back", retry_after=30)
        try:
            future: Future[T] = self._threads.submit(work)
        except RuntimeError:
            raise Refused(503, "the server is ending") from None
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), seconds)
        except TimeoutError:
            if future.done():
                return future.result()
            with self._lock:
                self._stuck += 1
            future.add_done_callback(self._came_back)
            raise Refused(
                503, f"no answer came within {seconds:g} s; is the disk with the photos there?", retry_after=30
            ) from None

    def close(self) -> None:
        """Let no new work begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _came_back(self, _: Future[T]) -> None:
        with self._lock:
            self._stuck -= 1


class Gate:
    """Runs work of requests in threads.

    Args:
        settings: how many work and wait, and for how long.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._work, self._reads, self._files = (
            Threads(settings.running, "ask"),
            Threads(max(2, settings.running), "read"),
            Threads(FILES_AT_ONCE, "file"),
        )
        self._turns = Turns(settings.running, settings.waiting)
        self._file_turns = asyncio.Semaphore(FILES_AT_ONCE)
        self.working = 0
        self._usual = 0.1  # seconds that a piece of work takes, lately

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self._turns.count

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """What `work` gives, from a thread.

        Raises:
            Refused: 429 when too many wait already, or it would wait too long; 503 when it does not end.
            Cancelled: the client has gone.
        """
        client = request.scope["caller"].key
        ahead = self._turns.ahead_of(client)
        expected = (ahead + 1) * self._usual / self._settings.running
        if ahead >= self._settings.running and expected > self._settings.patience_seconds:
            raise self._full()
        gone, begun = threading.Event(), threading.Event()
        task = asyncio.create_task(self._in_turn(client, work, gone, begun))
        watcher = asyncio.create_task(_leaves(request))
        try:
            await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                gone.set()
                if not begun.is_set():
                    task.cancel()
            return await task
        except Overfull:
            raise self._full() from None
        except asyncio.CancelledError:
            gone.set()
            raise Cancelled from None
        finally:
            watcher.cancel()

    async def read(self, work: Callable[[], T]) -> T:
        """A short look into the catalog, in a thread; waits for no model."""
        return await self._reads.run(work, READ_SECONDS)

    async def file(self, work: Callable[[], T]) -> T:
        """Reading a photo, in a thread: its disk may be slow, or gone."""
        async with self._file_turns:
            return await self._files.run(work, self._settings.file_seconds)

    def close(self) -> None:
        """Let no new work begin."""
        for threads in (self._work, self._reads, self._files):
            threads.close()

    def _full(self) -> Refused:
        seconds = max(1, math.ceil((self.waiting + 1) * self._usual / self._settings.running))
        return Refused(
            429, f"{self.waiting} requests wait already; come back in {seconds} s", retry_after=min(seconds, 60)
        )

    async def _in_turn(self, client: str, work: Callable[[], T], gone: threading.Event, begun: threading.Event) -> T:
        await self._turns.take(client, self._settings.queue_seconds)
        self.working += 1
        begun.set()
        started = time.monotonic()
        try:
            context = contextvars.copy_context()
            context.run(left.set, gone)
            return await self._work.run(lambda: context.run(work), self._settings.work_seconds)
        finally:
            gone.set()  # whatever is left of it stops at its next look at the model
            self.working -= 1
            self._usual += 0.1 * (time.monotonic() - started - self._usual)
            self._turns.give_back()


async def _leaves(request: Request) -> None:
    """Ends when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
