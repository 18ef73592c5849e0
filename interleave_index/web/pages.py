"""Routes of the page itself, of the server's facts about itself, and of the session of a browser."""

from __future__ import annotations

import asyncio
import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from .. import __version__
from ..export.colours import PALETTE, ink_on
from ..export.files import printable, to_json_text
from .answers import Json, is_known, photo_json, region_json
from .bodies import body_of, json_body
from .guard import cookie_name
from .problems import Refused
from .shapes import ExampleAnswer, FacetsAnswer, FailedAnswer, SessionAnswer, StatusAnswer
from .state import State, state_of
from .wire import SessionBody

router = APIRouter(tags=["server"])
MEDIA = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
WRONG_TOKEN_SECONDS = 0.5
MOST_FAILED = 1000  # files that are named


@router.get("/api/status", response_model=StatusAnswer, response_class=Json)
async def status(request: Request) -> Response:
    """What is in the index, and what this server lets be done."""
    state = state_of(request)
    return Json(await state.gate.read(lambda: _status(state)))


def _status(state: State) -> dict[str, Any]:
    settings, job = state.settings, state.jobs.last
    return state.index.status() | {
        "version": __version__,
        "model": state.config.models.interface,
        "roots": [{"name": printable(root.name or str(root)), "path": printable(str(root))} for root in settings.roots],
        "job": None if job is None else job.name,
        "limits": {
            "upload_bytes": settings.upload_bytes,
            "upload_pixels": settings.upload_pixels,
            "parts": settings.parts,
            "hits": settings.hits,
            "waiting": settings.waiting,
        },
    }


@router.get("/api/facets", response_model=FacetsAnswer, response_class=Json)
async def facets(request: Request) -> Response:
    """What can be filtered by, with counts: cameras, folders, months, places; kinds of texts."""
    state = state_of(request)
    return Json(await state.gate.read(state.index.facets))


@router.get("/api/failed", response_model=FailedAnswer, response_class=Json)
async def failed(request: Request) -> Response:
    """Files that could not be read when they were last tried, without another look at the disk."""
    state = state_of(request)
    found = await state.gate.read(state.index.failed)
    rows = [
        {"path": printable(file.path), "reason": file.reason, "detail": printable(file.detail)}
        for file in found[:MOST_FAILED]
    ]
    return Json({"count": len(found), "failed": rows})


@router.get("/api/examples", response_model=ExampleAnswer, response_class=Json)
async def examples(request: Request) -> Response:
    """What can be asked of this library: a phrase, a photo, and a part of one, as far as it has them."""
    state = state_of(request)
    return Json(await state.gate.run(request, lambda: _examples(state)))


def _examples(state: State) -> dict[str, Any]:
    made = state.examples()
    return {
        "words": made.words,
        "photo": None if made.photo is None else photo_json(made.photo),
        "region": None if made.part is None else region_json(made.part[1], made.part[0]),
    }


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text form."""
    state = state_of(request)
    await state.gate.read(state.gauge)
    return Response(state.measures.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/api/session", response_model=SessionAnswer, response_class=Json)
async def session(request: Request) -> Response:
    """Whether this server wants a token, and whether this request carries it."""
    keys, caller = state_of(request).keys, request.scope["caller"]
    admitted = keys.admits(request.headers.get("authorization", ""), request.headers.get("cookie", ""), caller.key)
    return Json({"needed": keys.needed, "open": admitted or not keys.needed})


@router.post(
    "/api/session",
    status_code=204,
    openapi_extra=json_body(SessionBody, {"token": {"value": {"token": "the token of the server"}}}),
    response_class=Response,
)
async def enter(request: Request) -> Response:
    """Give a browser a cookie for the token, so that pictures load; another 401 for a wrong one."""
    state, caller = state_of(request), request.scope["caller"]
    body, _ = await body_of(request, state, SessionBody)
    if state.keys.needed and not state.keys.opens(body.token, caller.key):
        await asyncio.sleep(WRONG_TOKEN_SECONDS)  # guessing gets no faster by asking often
        raise Refused(401, "this is not the token of the server")
    answer = Response(status_code=204)
    answer.set_cookie(
        cookie_name(caller.host),
        state.keys.cookie,
        httponly=True,
        samesite="strict",
        path=f"{state.settings.base_path}/",
        secure=caller.scheme == "https",
    )
    return answer


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page."""
    return _asset(request, "index.html")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """The REST API for people: made from /openapi.json, nothing fetched from elsewhere."""
    return _asset(request, "docs.html")


@router.get("/favicon.ico", include_in_schema=False)
async def icon(request: Request) -> Response:
    """The mark of the page."""
    return _asset(request, "icon.svg")


@router.get("/static/{name}", include_in_schema=False)
async def static(request: Request, name: Annotated[str, Path(pattern=r"^[a-z0-9-]{1,40}\.(js|css|svg)$")]) -> Response:
    """Scripts and styles of the page."""
    return _asset(request, name)


def _asset(request: Request, name: str) -> Response:
    found = _file(name)
    if found is None:
        raise Refused(404, f"there is no {name}")
    data, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=MEDIA[name.rpartition(".")[2]], headers=headers)


@lru_cache(maxsize=64)
def _file(name: str) -> tuple[bytes, str] | None:
    if name == "colours.js":
        return _tagged(_colours())
    file = files(__package__) / "static" / name
    if not file.is_file():
        return None
    return _tagged(file.read_bytes())


def _tagged(data: bytes) -> tuple[bytes, str]:
    return data, f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def _colours() -> bytes:
    """The module of the page that holds the colours of entities, which are those of exported pictures."""
    inks = [ink_on(colour) for colour in PALETTE]
    return (
        "// Colours of entities by their position, and what reads on them. Made from export/colours.py.\n"
        f"export const PALETTE = {to_json_text(PALETTE)};\nexport const INKS = {to_json_text(inks)};\n"
    ).encode("ascii")
