"""Settings of a server. Knows no framework."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

TOKEN_VARIABLE = "INTERLEAVE_TOKEN"
SHORTEST_TOKEN = 16  # characters
MIB = 2**20


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Where to listen, who may ask, what may be taken in, and how much at once.

    Attributes:
        host, port: to bind to; port 0 takes a free one.
        token: what every request must carry; needed beyond loopback.
        roots: folders below which the page may ingest; none forbids it.
        names: further host names under which the server is reached.
        upload_bytes: of one picture.
        upload_pixels: of one picture.
        uploads_bytes: all uploaded pictures that are held, decoded.
        parts: of one query.
        query_characters: of all texts of one query.
        hits: that one search can be paged to.
        running: requests at work on the index at once.
        waiting: requests that wait for that; more are refused with 429.
        gather_seconds: how long the model waits for further questions before it begins with what it has.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    roots: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    upload_bytes: int = 32 * MIB
    upload_pixels: int = 50_000_000
    uploads_bytes: int = 256 * MIB
    parts: int = 24
    query_characters: int = 2000
    hits: int = 5000
    running: int = 4
    waiting: int = 64
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
