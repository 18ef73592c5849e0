"""Who asks: the address behind named proxies, the host and scheme that the browser sees, the path below a base path."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from starlette.types import Scope

from .settings import ServeSettings

DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of one request.

    Attributes:
        address: of the client; behind a named proxy, the one that the proxy names.
        key: under which limits count: the address, or the network of an IPv6 address, since one household has many.
        host: as the browser names this server, lower case, with its port if there is one.
        scheme: http or https, as the browser sees it.
        head: only the head of the answer is wanted.
        forwarded: headers say so of a proxy that was not named; they are not believed.
    """

    address: str
    key: str
    host: str
    scheme: str
    head: bool
    forwarded: bool


def caller_of(scope: Scope, headers: dict[str, str], settings: ServeSettings) -> Caller:
    """Who makes a request; what forwarded headers say counts only when a named proxy sends them."""
    address = scope["client"][0] if scope.get("client") else ""
    host, scheme = headers.get("host", "").lower(), str(scope.get("scheme", "http"))
    forwarded = any(name.startswith("x-forwarded-") or name == "forwarded" for name in headers)
    if settings.is_proxy(address):
        forwarded = False
        address = _nearest_client(headers.get("x-forwarded-for", ""), address, settings)
        host = _last(headers.get("x-forwarded-host", "")).lower() or host
        scheme = _last(headers.get("x-forwarded-proto", "")).lower() or scheme
    return Caller(address, client_key(address), host, scheme, scope["method"] == "HEAD", forwarded)


def client_key(address: str) -> str:
    """What limits count by: an IPv4 address itself, of an IPv6 address the first 64 bits.

    >>> client_key("192.168.1.4"), client_key("2001:db8::5"), client_key("::ffff:10.0.0.7")
    ('192.168.1.4', '2001:db8::', '10.0.0.7')
    """
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv4Address):
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, 64), strict=False).network_address)


def without_default_port(host: str, scheme: str) -> str:
    """A host as a browser writes it in Origin.

    >>> without_default_port("photos.lan:443", "https"), without_default_port("photos.lan:443", "http")
    ('photos.lan', 'photos.lan:443')
    """
    port = DEFAULT_PORTS.get(scheme)
    return host.removesuffix(f":{port}") if port else host


def name_of(host: str) -> str:
    """A host without its port.

    >>> name_of("photos.lan:8765"), name_of("[::1]:80"), name_of("[::1]")
    ('photos.lan', '[::1]', '[::1]')
    """
    name, _, port = host.rpartition(":")
    return name if port.isdigit() else host


def _nearest_client(chain: str, peer: str, settings: ServeSettings) -> str:
    """The last address of X-Forwarded-For that is no named proxy; what stands before it anybody can write."""
    for entry in reversed(chain.split(",")):
        entry = entry.strip()
        try:
            address = str(ipaddress.ip_address(entry.strip("[]")))
        except ValueError:
            return peer
        if not settings.is_proxy(address):
            return address
        peer = address
    return peer


def _last(values: str) -> str:
    """The value that the nearest proxy wrote."""
    return values.rpartition(",")[2].strip()
