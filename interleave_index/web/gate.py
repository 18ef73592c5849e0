"""A bounded number of requests at work; a bounded number waits; the rest are refused, with the time to come back.

Work runs in threads, never on the event loop. When the client leaves, work that has not begun is dropped, and work that
has begun stops at its next look at the model.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.requests import Request

from .model import Cancelled, left
from .problems import Refused

T = TypeVar("T")


class Gate:
    """Runs work of requests in threads.

    Args:
        running: threads.
        waiting: requests that may wait for one.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(running, thread_name_prefix="ask")
        self._reads = ThreadPoolExecutor(max(2, running), thread_name_prefix="read")
        self._slots = asyncio.Semaphore(running)
        self._running, self._most = running, waiting
        self.waiting = self.working = self.refused = 0
        self._usual = 0.1  # seconds that a piece of work takes, lately

    async def run(self, request: Request, work: Callable[[], T]) -> T:
        """What `work` gives, from a thread.

        Raises:
            Refused: 429 when too many wait already.
            Cancelled: the client has gone.
        """
        if self.waiting >= self._most and self.working >= self._running:
            self.refused += 1
            seconds = max(1, math.ceil(self.waiting * self._usual / self._running))
            raise Refused(
                429,
                f"{self.waiting} requests wait already, expected at most {self._most}; come back in {seconds} s",
                retry_after=seconds,
            )
        gone, begun = threading.Event(), threading.Event()
        task = asyncio.create_task(self._in_turn(work, gone, begun))
        watcher = asyncio.create_task(_leaves(request))
        try:
            await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                gone.set()
                if not begun.is_set():
                    task.cancel()
            return await task
        except asyncio.CancelledError:
            gone.set()
            raise Cancelled from None
        finally:
            watcher.cancel()

    async def read(self, work: Callable[[], T]) -> T:
        """A short look into the catalog, in a thread; waits for no model."""
        return await asyncio.get_running_loop().run_in_executor(self._reads, work)

    def close(self) -> None:
        """Let no new work begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._reads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, work: Callable[[], T], gone: threading.Event, begun: threading.Event) -> T:
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        self.working += 1
        begun.set()
        began = time.monotonic()
        try:
            context = contextvars.copy_context()
            context.run(left.set, gone)
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Any] = loop.run_in_executor(self._threads, lambda: context.run(work))
            found: T = await future
            return found
        finally:
            self.working -= 1
            self._usual += 0.1 * (time.monotonic() - began - self._usual)
            self._slots.release()


async def _leaves(request: Request) -> None:
    """Ends when the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
