"""The process around the application: binds, reports its address, and ends well on Ctrl-C."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn

from ..config import Config
from ..errors import ConfigError
from ..service import Index
from .app import create_app
from .connections import HEAD_BYTES, limited
from .local_socket import answering
from .logs import spare_the_logs
from .settings import ServeSettings
from .state import State

KEEP_ALIVE_SECONDS = 10  # that a connection stays open between two requests


def serve(
    folder: str,
    config: Config,
    settings: ServeSettings,
    *,
    ready: Callable[[str], None],
    stop: threading.Event | None = None,
    prepare: Callable[[Index], None] = lambda index: None,
) -> None:
    """Serve until Ctrl-C, SIGTERM, or `stop`.

    Args:
        folder: of the index; made when there is none and there are roots to fill it from.
        config: settings in force.
        settings: of the server.
        ready: called with the address of the page once it can be opened.
        stop: set it from another thread to end.
        prepare: called with the index before the first question.
    Raises:
        ConfigError: the address cannot be bound.
        IndexNotFound and others: the index cannot be opened.
    """
    state = State(folder, config, settings, create=bool(settings.roots))
    listening = None
    try:
        prepare(state.index)
        listening = _bound(settings)
        address = address_of(settings.host, listening.getsockname()[1], settings.base_path)
        spare_the_logs()
        threading.Thread(target=_warm, args=(state,), name="warm", daemon=True).start()
        with answering(state.index, config):
            asyncio.run(_run(state, listening, lambda: ready(address), stop))
    finally:
        if listening is not None:
            listening.close()
        state.close()


def address_of(host: str, port: int, base_path: str = "") -> str:
    """The address of the page; an address that means every interface is written as loopback.

    >>> address_of("127.0.0.1", 8765), address_of("::1", 80), address_of("0.0.0.0", 80)
    ('http://127.0.0.1:8765/', 'http://[::1]:80/', 'http://127.0.0.1:80/')
    """
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}{base_path}/"


def _bound(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror}; choose another by --port"
        ) from error
    return listening


async def _run(state: State, listening: socket.socket, ready: Callable[[], None], stop: threading.Event | None) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(state),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            http=limited(state.settings),
            h11_max_incomplete_event_size=HEAD_BYTES,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=5,
            ws="none",
            lifespan="on",
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        ready()
    while stop is not None and not serving.done():
        if stop.is_set():
            server.should_exit = True
        await asyncio.sleep(0.05)
    await serving


def _warm(state: State) -> None:
    """Build the model and map the index before the first question comes; whoever asks then gets the error."""
    try:
        state.shared.built  # noqa: B018
        state.index.search("warm", 1, ground=None)
    except Exception:  # the first question will meet the same error and say it
        return
