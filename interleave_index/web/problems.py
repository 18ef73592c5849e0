"""Errors as `application/problem+json` (RFC 9457). Knows the error tree and the framework's own errors."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from .. import errors
from ..export.files import printable, to_json_text
from ..grammar import point_at
from .model import Cancelled

log = logging.getLogger("interleave_index.web")
KIND = "application/problem+json"
STATUS: dict[type[Exception], int] = {
    errors.InputError: 422,
    errors.IndexNotFound: 404,
    errors.NotInIndex: 404,
    errors.IndexBusy: 409,
    errors.SpaceMismatch: 409,
    errors.SchemaTooNew: 409,
    errors.IndexDamaged: 500,
    errors.RemoteError: 503,
    errors.StorageError: 503,
    errors.ModelError: 503,
    errors.ConfigError: 422,
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {  # of every answer
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
TITLES = {
    308: "Elsewhere",
    400: "Bad request",
    401: "Token needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflict",
    410: "Gone",
    411: "Length needed",
    413: "Too large",
    415: "Unknown form",
    416: "Outside the file",
    421: "Another host",
    422: "Cannot be used",
    429: "Too many requests",
    499: "Left",
    500: "Our mistake",
    503: "Not available",
}


class Refused(Exception):
    """A request that is not served, for a reason of the server and not of the library.

    Args:
        status: of HTTP.
        detail: one line: what, got, expected, remedy.
        retry_after: seconds, for a header.
        location: where to ask instead.
        close: the connection cannot be used for another request.
        more: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after: int | None = None,
        location: str | None = None,
        close: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.more = status, detail, more
        self.headers: dict[str, str] = {}
        if retry_after is not None:
            self.headers["Retry-After"] = str(retry_after)
        if location is not None:
            self.headers["Location"] = location
        if close:
            self.headers["Connection"] = "close"


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """An answer with what went wrong."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "detail": printable(detail),
        **more,
    }
    return Response(to_json_text(body), status_code=status, media_type=KIND, headers=headers)


def of_error(error: errors.InterleaveError) -> Response:
    """One of our own errors; a query that does not parse is pointed at."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    more: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, errors.QueryError) and error.query:
        more |= {"column": error.column - 1, "pointer": point_at(error)}
    return problem(status, " ".join(str(error).split()), **more)


def of_refusal(refused: Refused) -> Response:
    """A request that is not served."""
    headers = dict(refused.headers)
    if refused.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="interleave-index"'
    return problem(refused.status, refused.detail, headers=headers, **refused.more)


def methods_of(request: Request) -> list[str]:
    """The methods that an address takes."""
    methods: set[str] = {"OPTIONS"}
    for route in request.app.state.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem."""

    async def ours(_: Request, error: Exception) -> Response:
        return of_error(error) if isinstance(error, errors.InterleaveError) else await crashed(_, error)

    async def refused(_: Request, error: Exception) -> Response:
        return of_refusal(error) if isinstance(error, Refused) else await crashed(_, error)

    async def invalid(_: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        listed = [{"at": "/".join(str(step) for step in one["loc"]), "message": str(one["msg"])} for one in found[:20]]
        first = f": {listed[0]['at']}: {listed[0]['message']}" if listed else ""
        return problem(422, f"request does not have the form that is expected{first}; see /docs", errors=listed)

    async def http(request: Request, error: Exception) -> Response:
        status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if status == 405:
            headers["Allow"] = ", ".join(methods_of(request))
            detail = f"this address takes {headers['Allow']}"
            if request.method == "OPTIONS":
                return Response(status_code=204, headers=headers)
        return problem(status, str(detail), headers=headers)

    async def crashed(_: Request, error: Exception) -> Response:
        return problem(500, "the server failed at this request; its log says where", error=type(error).__name__)

    async def left(_: Request, __: Exception) -> Response:
        return problem(499, "the client has gone")

    app.add_exception_handler(Cancelled, left)
    app.add_exception_handler(ClientDisconnect, left)
    app.add_exception_handler(errors.InterleaveError, ours)
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, crashed)
