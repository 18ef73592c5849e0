"""The application: routes, errors, guard and measures around one `State`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from . import asking, exporting, pages, photos, problems, taking
from .bodies import describe
from .guard import Guard
from .measures import Timed
from .state import State

ABOUT = (
    "Search photos with words and pictures mixed. Boxes and points are in pixels of the upright photo; "
    "masks are COCO run lengths. Errors are application/problem+json."
)
SWEEP_SECONDS = 60.0
PACKED = ("/thumbnail", "/display", "/original", ".png", ".zip")


def create_app(state: State) -> ASGIApp:
    """The application of one server; the state is closed when it shuts down."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(state))
        yield
        sweeper.cancel()
        state.close()

    app = FastAPI(
        title="interleave-index",
        version=__version__,
        description=ABOUT,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.server = state
    routers = [module.router for module in (asking, photos, taking, exporting, pages)]
    for router in routers:
        app.include_router(router)
    app.state.routes = [route for router in routers for route in router.routes]
    problems.install(app)

    describe(app)
    return Timed(Guard(Zipped(app), state.settings, state.keys), state.measures)


async def _sweep(state: State) -> None:
    """Let what is held go when its time is over, whether or not anybody asks."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        state.uploads.sweep()
        state.searches.sweep()
        state.downloads.sweep()


class Zipped:
    """ASGI middleware that shortens texts; pictures and archives are short already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._zip = app, GZipMiddleware(app, minimum_size=2048, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        packed = scope["type"] == "http" and scope["path"].endswith(PACKED)
        await (self._app if packed else self._zip)(scope, receive, send)
