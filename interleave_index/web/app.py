"""The application: routes, errors, guard and measures around one `State`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from . import asking, exporting, pages, photos, problems, taking
from .bodies import describe
from .guard import Guard
from .measures import Timed
from .model import Cancelled
from .problems import problem
from .state import State

ABOUT = (
    "Search photos with words and pictures mixed. Boxes and points are in pixels of the upright photo; "
    "masks are COCO run lengths. Errors are application/problem+json."
)
PICTURES = ("/thumbnail", "/display", "/original", ".png")


def create_app(state: State) -> ASGIApp:
    """The application of one server; the state is closed when it shuts down."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
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
    for module in (asking, photos, taking, exporting, pages):
        app.include_router(module.router)
    problems.install(app)

    async def cancelled(_: Request, __: Exception) -> Response:
        return problem(499, "the client has gone")

    app.add_exception_handler(Cancelled, cancelled)
    describe(app)
    return Timed(Guard(Zipped(app), state.settings, state.keys), state.measures)


class Zipped:
    """ASGI middleware that shortens texts; pictures are short already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._zip = app, GZipMiddleware(app, minimum_size=2048, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        picture = scope["type"] == "http" and scope["path"].endswith(PICTURES)
        await (self._app if picture else self._zip)(scope, receive, send)
