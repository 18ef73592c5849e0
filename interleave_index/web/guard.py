"""Who may ask at all, checked before anything else looks at a request; and the headers of every answer.

A server on loopback is reachable by every page that its user has open, and by names that were made to point at it. So
Host must name this server, Origin must be this server, and what a browser says about the site that asks is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .callers import Caller, caller_of, name_of, without_default_port
from .guesses import Guesses
from .intake import Body, Intake
from .problems import HEADERS, Refused, log, of_refusal, problem
from .settings import MIB, ServeSettings, size_words

COOKIE = "interleave_session"
SMALL_BODY = MIB  # of a request without pictures
FILES_AT_ONCE = 4  # pictures of full size beside one request
OPEN = ("/", "/docs", "/openapi.json", "/favicon.ico", "/api/session")  # hold no data of the collection
STREAMS = "/events"  # answers that do not end by themselves have no HEAD


class Keys:
    """The token of the server, and the cookie that a browser gets for it.

    The cookie is another secret, made anew at each start, so that the token never lies in a browser. It is too long to
    be guessed; tokens are chosen by people, so that wrong ones are counted.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self._guesses = Guesses()
        self.cookie = hmac.new(secrets.token_bytes(32), (token or "").encode(), hashlib.sha256).hexdigest()

    @property
    def needed(self) -> bool:
        """Whether requests must show one at all."""
        return self._token is not None

    def opens(self, token: str, client: str) -> bool:
        """Whether this is the token; takes the same time whatever differs.

        Raises:
            Refused: 429, the client, or all together, were wrong too often.
        """
        if self._token is None:
            return False
        self._guesses.check(client)
        right = hmac.compare_digest(token.encode(), self._token.encode())
        if right:
            self._guesses.was_right(client)
        else:
            self._guesses.was_wrong(client)
        return right

    def admits(self, authorization: str, cookie: str, client: str) -> bool:
        """Whether a request with these two headers may pass.

        Raises:
            Refused: as `opens`.
        """
        if any(hmac.compare_digest(value.encode(), self.cookie.encode()) for value in session_cookies(cookie)):
            return True
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and bool(token.strip()) and self.opens(token.strip(), client)


def session_cookies(header: str) -> list[str]:
    """Values of this program's cookies; whatever other programs at the same host have set is passed over.

    >>> session_cookies('a={"b": [1, 2]}; interleave_session_8765=x; lang=de; interleave_session=y')
    ['x', 'y']
    """
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return [value for name, _, value in pairs if name.startswith(COOKIE)]


def cookie_name(host: str) -> str:
    """The name of the cookie: browsers send those of one host to all its ports, so the port is in it."""
    port = host.removeprefix(name_of(host)).strip(":")
    return f"{COOKIE}_{port}" if port else COOKIE


class Guard:
    """ASGI middleware: checks, then size limits, then the application.

    Args:
        app: what is guarded. Its scope has `caller`, and a path below the base path.
        settings: hosts and limits.
        keys: of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, keys: Keys) -> None:
        self._app, self._settings, self._keys = app, settings, keys
        self._longest = settings.upload_bytes * FILES_AT_ONCE + SMALL_BODY
        self._intake = Intake(max(settings.intake_bytes, self._longest))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything that is not HTTP is closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _Answer(send, scope["method"] == "HEAD"))

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body, inner = None, scope
        try:
            caller = caller_of(scope, headers, self._settings)
            inner = dict(scope) | {"caller": caller, "path": self._inner_path(scope["path"])}
            if scope["method"] == "HEAD" and not inner["path"].endswith(STREAMS):
                inner["method"] = "GET"
            self._check(inner, headers, caller)
            body = Body(receive, self._limit(inner, headers), self._intake, caller.key)
            await self._app(inner, body.receive, answer.send)
        except Refused as refused:
            if not answer.begun:
                await of_refusal(refused)(scope, receive, answer.send)
        except Exception as error:
            log.error("%s %s failed", scope["method"], scope["path"][:200], exc_info=error)
            if not answer.begun:
                response = problem(500, "the server failed at this request; its log says where")
                await response(scope, receive, answer.send)
        finally:
            scope["route"] = inner.get("route")  # measures go by it
            if body is not None:
                body.close()

    def _inner_path(self, path: str) -> str:
        """The path below the base path; a proxy may have taken the base path away already."""
        base = self._settings.base_path
        if base and path == base:
            raise Refused(308, f"the page is at {base}/", location=f"{base}/")
        return path.removeprefix(base) if base and path.startswith(f"{base}/") else path

    def _check(self, scope: Scope, headers: dict[str, str], caller: Caller) -> None:
        name = name_of(caller.host)
        if not self._settings.knows_host(name):
            raise Refused(
                421,
                f"host is {caller.host[:80]!r}, which is not a name of this server; start it with --name to add one",
            )
        _check_origin(scope, headers, caller)
        _check_length(headers)
        path = scope["path"]
        if path in OPEN or path.startswith("/static/"):
            return
        authorization, cookie = headers.get("authorization", ""), headers.get("cookie", "")
        if self._keys.needed and not self._keys.admits(authorization, cookie, caller.key):
            raise Refused(401, "this server wants its token, as `Authorization: Bearer TOKEN`")

    def _limit(self, scope: Scope, headers: dict[str, str]) -> int:
        """Bytes that the body may have; Refused with 413 when it is announced to have more."""
        pictures = headers.get("content-type", "").startswith("multipart/") or scope["path"] == "/api/uploads"
        limit = self._longest if pictures else SMALL_BODY
        length = headers.get("content-length", "0")
        if int(length[:20]) > limit:
            raise Refused(413, f"request has more than {size_words(limit)}, expected at most that")
        return limit


def _check_origin(scope: Scope, headers: dict[str, str], caller: Caller) -> None:
    origin = headers.get("origin")
    if origin is not None:
        scheme, _, host = origin.lower().partition("://")
        if without_default_port(host, scheme) != without_default_port(caller.host, scheme):
            hint = (
                "; the proxy in between must pass Host on, or be named by --proxy"
                if caller.forwarded
                else "; other pages may not ask it"
            )
            raise Refused(
                403, f"origin is {origin[:80]!r}, expected this server itself, which Host calls {caller.host!r}{hint}"
            )
    site = headers.get("sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return
    opened = scope["method"] == "GET" and scope["path"] in ("/", "/docs")
    if not (opened and headers.get("sec-fetch-mode") == "navigate"):
        raise Refused(403, f"request comes from another site ({site[:20]!r}), expected this server's own page")


def _check_length(headers: dict[str, str]) -> None:
    """Two ways to say how long a body is: a proxy in front may believe the other one."""
    length = headers.get("content-length")
    if length is None:
        return
    if "transfer-encoding" in headers:
        raise Refused(400, "request has content-length and transfer-encoding, expected one of them", close=True)
    if not length.isdigit():
        raise Refused(400, f"content-length is {length[:40]!r}, expected a number")


class _Answer:
    """ASGI `send` that adds the headers of every answer, and leaves the body of a HEAD out."""

    def __init__(self, send: Send, head: bool) -> None:
        self._send, self._head, self.begun = send, head, False

    async def send(self, message: Message) -> None:
        """One message."""
        if message["type"] == "http.response.start":
            self.begun = True
            present = {name.lower() for name, _ in message.get("headers", [])}
            more: list[Any] = [
                (name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in present
            ]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)
