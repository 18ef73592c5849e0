"""Settings of a server. Knows no framework."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

TOKEN_VARIABLE = "INTERLEAVE_TOKEN"
SHORTEST_TOKEN = 16  # characters
MIB = 2**20
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where to listen, who may ask, what may be taken in, and how much at once.

    Attributes:
        host, port: to bind to; port 0 takes a free one.
        token: what every request must carry; needed beyond loopback.
        roots: folders below which the page may ingest; none forbids it.
        names: further host names under which the server is reached.
        base_path: below which a proxy shows the server, as /photos; empty at the top.
        proxies: addresses or networks of proxies whose X-Forwarded-* headers are believed.
        upload_bytes: of one picture.
        upload_pixels: of one picture.
        uploads_bytes: all uploaded pictures that are held, decoded.
        parts: of one query.
        query_characters: of all texts of one query.
        hits: that one search can be paged to.
        running: requests at work on the index at once.
        waiting: requests that wait for that; more are refused with 429.
        patience_seconds: that a request may be expected to wait before it is refused with 429 at once.
        queue_seconds: that a request waits at most before it is refused with 429.
        work_seconds: that the work of one request may take.
        file_seconds: that reading one photo may take; a disk that is gone may never answer.
        connections, connections_of_one: that may be open, in all and from one address.
        header_seconds: in which the head of a request must come.
        send_seconds: that a client may leave an answer unread.
        intake_bytes: of all requests that have not been answered yet.
        gather_seconds: how long the model waits for further questions before it begins with what it has.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    roots: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    base_path: str = ""
    proxies: tuple[str, ...] = ()
    upload_bytes: int = 32 * MIB
    upload_pixels: int = 50_000_000
    uploads_bytes: int = 256 * MIB
    parts: int = 24
    query_characters: int = 2000
    hits: int = 5000
    running: int = 4
    waiting: int = 64
    patience_seconds: float = 0.6
    queue_seconds: float = 5.0
    work_seconds: float = 120.0
    file_seconds: float = 15.0
    connections: int = 512
    connections_of_one: int = 256
    header_seconds: float = 10.0
    send_seconds: float = 30.0
    intake_bytes: int = 160 * MIB
    gather_seconds: float = 0.004

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}, expected 0 to 65535")
        for name in ("upload_bytes", "upload_pixels", "uploads_bytes", "parts", "hits", "running"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.waiting < 0:
            raise ConfigError(f"waiting is {self.waiting}, expected 0 or more")
        if not self.loopback and not self.token:
            raise ConfigError(
                f"host is {self.host}, which others can reach, and there is no token; give one by "
                f"{TOKEN_VARIABLE} or --token, or leave --host out"
            )
        if self.token is not None and (
            len(self.token) < SHORTEST_TOKEN
            or not self.token.isascii()
            or not self.token.isprintable()
            or " " in self.token
        ):
            raise ConfigError(
                f"token has {len(self.token)} characters, expected at least {SHORTEST_TOKEN} of "
                "printable ASCII without blanks, such as `openssl rand -hex 16` prints"
            )
        if not _BASE_PATH.fullmatch(self.base_path):
            raise ConfigError(
                f"base path is {self.base_path!r}, expected a path such as /photos, without a slash at its end"
            )
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                raise ConfigError(f"proxy is {proxy!r}, expected an address or a network such as 10.0.0.0/24") from None
        for root in self.roots:
            if not root.is_dir():
                raise ConfigError(f"root {root} is not a folder, expected one below which photos lie")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def is_proxy(self, address: str) -> bool:
        """Whether an address is that of a named proxy."""
        if not self.proxies:
            return False
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(known, ipaddress.IPv6Address) and known.ipv4_mapped is not None:
            known = known.ipv4_mapped
        return any(known in ipaddress.ip_network(proxy, strict=False) for proxy in self.proxies)

    def knows_host(self, host: str) -> bool:
        """Whether a request's Host header (without its port, lower case) names this server.

        A page of somebody else whose name was made to point here carries that name; addresses cannot be made to lie.
        """
        if host in ("localhost", self.host.lower(), *(name.lower() for name in self.names)):
            return True
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or not self.loopback


def size_words(count: int) -> str:
    """A number of bytes for people.

    >>> size_words(32 * 2**20), size_words(2**20 + 2**18), size_words(20_000), size_words(900)
    ('32 MiB', '1.2 MiB', '20 KiB', '900 bytes')
    """
    if count >= 10 * MIB:
        return f"{count / MIB:.0f} MiB"
    if count >= MIB:
        return f"{count / MIB:.1f}".removesuffix(".0") + " MiB"
    return f"{count / 1024:.0f} KiB" if count >= 1024 else f"{count} bytes"
