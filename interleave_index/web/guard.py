"""Who may ask at all, checked before anything else looks at a request; and the headers of every answer.

A server on loopback is reachable by every page that its user has open, and by names that were made to point at it. So
Host must name this server, Origin must be this server, and what a browser says about the site that asks is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Refused, of_refusal
from .settings import MIB, ServeSettings

COOKIE = "interleave_session"
SMALL_BODY = MIB  # of a request without pictures
OPEN = ("/", "/docs", "/openapi.json", "/favicon.ico", "/api/session")  # hold no data of the collection
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Keys:
    """The token of the server, and the cookie that a browser gets for it.

    The cookie is another secret, made anew at each start, so that the token never lies in a browser.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token
        self.cookie = hmac.new(secrets.token_bytes(32), (token or "").encode(), hashlib.sha256).hexdigest()

    @property
    def needed(self) -> bool:
        """Whether requests must show one at all."""
        return self._token is not None

    def opens(self, token: str) -> bool:
        """Whether this is the token; takes the same time whatever differs."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def admits(self, authorization: str, cookie: str) -> bool:
        """Whether a request with these two headers may pass."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() == "bearer" and self.opens(token.strip()):
            return True
        return hmac.compare_digest(_session(cookie).encode(), self.cookie.encode())


class Guard:
    """ASGI middleware: checks, then size limits, then the application.

    Args:
        app: what is guarded.
        settings: hosts and limits.
        keys: of the server.
    """

    def __init__(self, app: ASGIApp, settings: ServeSettings, keys: Keys) -> None:
        self._app, self._settings, self._keys = app, settings, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything that is not HTTP is closed."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            dressed = _dressed(send)
            try:
                self._check(scope, headers)
                await self._app(scope, self._limited(scope, headers, receive), dressed)
            except Refused as refused:
                await of_refusal(refused)(scope, receive, dressed)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if not self._settings.knows_host(name):
            raise Refused(
                421, f"host is {host[:80]!r}, which is not a name of this server; start it with --name to add one"
            )
        _check_origin(scope, headers, host)
        path = scope["path"]
        if path in OPEN or path.startswith("/static/"):
            return
        if self._keys.needed and not self._keys.admits(headers.get("authorization", ""), headers.get("cookie", "")):
            raise Refused(401, "this server wants its token, as `Authorization: Bearer TOKEN`")

    def _limited(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        """`receive` that refuses a body as soon as it is known to be too long."""
        many = headers.get("content-type", "").startswith("multipart/") or scope["path"] == "/api/uploads"
        limit = self._settings.upload_bytes * 4 + SMALL_BODY if many else SMALL_BODY
        length = headers.get("content-length", "0")
        if not length.isdigit():
            raise Refused(400, f"content-length is {length[:40]!r}, expected a number")
        if int(length[:20]) > limit:
            raise Refused(413, f"request has {length[:20]} bytes, expected at most {limit}")
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                if got > limit:
                    raise Refused(413, f"request has more than {limit} bytes, expected at most that")
            return message

        return counted


def _check_origin(scope: Scope, headers: dict[str, str], host: str) -> None:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host:
        raise Refused(403, f"origin is {origin[:80]!r}, expected this server itself; other pages may not ask it")
    site = headers.get("sec-fetch-site")
    if site in (None, "same-origin", "none"):
        return
    opened = scope["method"] == "GET" and scope["path"] in ("/", "/docs")
    if not (opened and headers.get("sec-fetch-mode") == "navigate"):
        raise Refused(403, f"request comes from another site ({site[:20]!r}), expected this server's own page")


def _session(header: str) -> str:
    try:
        found = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _dressed(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", [])}
            message["headers"] = [
                *message.get("headers", []),
                *((name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in there),
            ]
        await send(message)

    return dressed
