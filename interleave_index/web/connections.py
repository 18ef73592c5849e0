"""Connections with limits: how many, how slowly a request's head may come, how slowly an answer may be read."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..export.files import to_json_text
from .callers import client_key
from .problems import HEADERS, KIND, TITLES
from .settings import ServeSettings

log = logging.getLogger("interleave_index.web.http")
REST_SECONDS = 5.0  # in which the rest of a body that nobody wants may come, so that its sender can read the answer
HEAD_BYTES = 16 * 1024


class Connections:
    """The open connections of one server, by client. At a limit the one that has waited longest for its request goes.

    Args:
        settings: limits, and the proxies, behind whose addresses many clients stand.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._of_client: dict[str, OrderedDict[LimitedProtocol, None]] = {}
        self.count = 0

    def add(self, connection: LimitedProtocol) -> bool:
        """Take a connection in, at the cost of one that waits; False when all that could go are at work."""
        key, address = connection.client_key, connection.address
        own = self._of_client.get(key, OrderedDict())
        most = self.settings.connections if self.settings.is_proxy(address) else self.settings.connections_of_one
        if len(own) >= most and not _drop_waiting(own):
            return False
        if self.count >= self.settings.connections:
            largest = max(self._of_client.values(), key=len)
            if not _drop_waiting(largest):
                return False
        self._of_client.setdefault(key, own)[connection] = None
        self.count += 1
        return True

    def used(self, connection: LimitedProtocol) -> None:
        """A request has come by it: others have waited longer now."""
        own = self._of_client.get(connection.client_key)
        if own is not None and connection in own:
            own.move_to_end(connection)

    def remove(self, connection: LimitedProtocol) -> None:
        """It is closed."""
        own = self._of_client.get(connection.client_key)
        if own is None or connection not in own:
            return
        del own[connection]
        self.count -= 1
        if not own:
            del self._of_client[connection.client_key]


def _drop_waiting(connections: OrderedDict[LimitedProtocol, None]) -> bool:
    for connection in connections:
        if connection.waits:
            connection.drop()
            return True
    return False


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 on one connection. Subclasses name the `limits` of their server; see `limited`."""

    limits: Connections
    address = client_key = ""

    def __init__(self, *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self.logger = log
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether no request of this connection is being answered."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or bool(cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self.client_key = client_key(self.address)
        if self.limits.add(self):
            self._expect_head()
        else:
            self._answer_and_close(503, "too many connections; come back in a moment")

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.limits.remove(self)
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.transport.is_closing():
            return
        if self.waits and self._head_timer is None:
            self._expect_head()
        super().data_received(data)

    def handle_events(self) -> None:
        """Requests from what has arrived."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._cancel_head_timer()
            self.limits.used(self)

    def on_response_complete(self) -> None:
        """The rest of a refused body is read for a moment only."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self.loop.call_later(REST_SECONDS, self._give_up_body, self.cycle)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(self.limits.settings.send_seconds, self.drop)

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def send_400_response(self, msg: str) -> None:
        """What has come is no request."""
        if self.waits:
            self._answer_and_close(400, f"{msg} It is no HTTP/1.1 request of at most {HEAD_BYTES} bytes of headers.")
        else:
            self.drop()  # an answer is under way already

    def drop(self) -> None:
        """End the connection at once."""
        self._cancel_timers()
        if not self.transport.is_closing():
            self.transport.abort()

    def shutdown(self) -> None:
        """The server ends."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.drop()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more has come."""
        try:
            super().timeout_keep_alive_handler()
        except h11.LocalProtocolError:
            self.drop()

    def _unsupported_upgrade_warning(self) -> None:
        """A request to upgrade is answered as if it were none."""

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.settings.header_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.waits or self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer_and_close(408, "request came too slowly; send it again")
        else:
            self.drop()

    def _give_up_body(self, cycle: object) -> None:
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self.transport.close()

    def _answer_and_close(self, status: int, detail: str) -> None:
        """An answer without the application, written as it stands: the parser may be in no state to make one."""
        if self.transport.is_closing():
            return
        self._cancel_timers()
        body = to_json_text(
            {"type": "about:blank", "title": TITLES.get(status, "Error"), "status": status, "detail": detail}
        ).encode("ascii")
        headers = {"content-type": KIND, "content-length": str(len(body)), "connection": "close", **HEADERS}
        self.transport.write(_head(status, headers) + body)
        self.transport.close()

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cancel_timers(self) -> None:
        self._cancel_head_timer()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None


def limited(settings: ServeSettings) -> type[LimitedProtocol]:
    """The protocol of one server, with its own count of connections."""

    class OfThisServer(LimitedProtocol):
        limits = Connections(settings)

    return OfThisServer


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {TITLES.get(status, 'Error')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
