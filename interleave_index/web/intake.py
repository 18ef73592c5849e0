"""Bodies while they arrive: counted, bounded for one client and for all, and given up when they come too slowly."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from starlette.types import Message, Receive

from .problems import Refused
from .settings import size_words

FIRST_SECONDS = 10.0  # that a body may take whatever its length
SLOWEST = 16 * 1024  # bytes a second on the whole
BUSY_SECONDS = 5  # after which a client may send again


class Intake:
    """The bytes of all requests that have not been answered yet.

    Args:
        most: of all clients together. One client with several requests may hold a quarter of it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()

    @property
    def held(self) -> int:
        """Bytes of all clients."""
        return self._held.total()

    def take(self, client: str, count: int) -> None:
        """Count bytes that have arrived; Refused with 429 when there are too many."""
        greedy = self._requests[client] > 1 and self._held[client] + count > self._most // 4
        if greedy or self.held + count > self._most:
            raise Refused(
                429,
                f"too many uploads at once; come back in {BUSY_SECONDS} s",
                retry_after=BUSY_SECONDS,
            )
        self._held[client] += count

    def begin(self, client: str) -> None:
        """A request begins."""
        self._requests[client] += 1

    def end(self, client: str, count: int) -> None:
        """A request with so many bytes has been answered."""
        self._held[client] -= count
        self._requests[client] -= 1
        if not self._requests[client]:
            del self._held[client], self._requests[client]


class Body:
    """One request's body: an ASGI `receive` with limits.

    Args:
        receive: of the server.
        limit: bytes that are taken.
        intake: shared by all requests.
        client: whose bytes they are.
    """

    def __init__(self, receive: Receive, limit: int, intake: Intake, client: str) -> None:
        self._receive, self._limit, self._intake, self._client = receive, limit, intake, client
        self._got, self._begun, self._whole = 0, time.monotonic(), False
        intake.begin(client)

    async def receive(self) -> Message:
        """The next message.

        Raises:
            Refused: 408 too slow, 413 too long, 429 too many bytes of all requests together.
        """
        if self._whole:
            return await self._receive()  # only the end of the connection is left to come
        left = self._begun + FIRST_SECONDS + self._got / SLOWEST - time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.01))
        except TimeoutError:
            raise Refused(
                408, f"request came too slowly, expected {size_words(SLOWEST)} a second; send it again"
            ) from None
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            if self._got + count > self._limit:
                raise Refused(413, f"request has more than {size_words(self._limit)}, expected at most that")
            self._intake.take(self._client, count)
            self._got += count
            self._whole = not message.get("more_body", False)
        return message

    def close(self) -> None:
        """The request has been answered."""
        self._intake.end(self._client, self._got)
