"""Being connected to a cluster of Ray, which is imported here and not before."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import BackendMissing, ConfigError
from .places import is_shared

LOCAL, AUTO = "local", "auto"
ANSWERS_WITHIN = 5.0  # seconds for a connection to the head node
OBJECT_BYTES = 512 << 20  # of `local`: what waits between stages


def load_ray(extra: str) -> Any:
    """The module `ray`, with `ray.data` or `ray.serve` as the extra needs it.

    Raises:
        BackendMissing: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    try:
        import ray

        if extra == "data":
            import ray.data
        else:
            import ray.serve
    except ModuleNotFoundError as missing:
        raise BackendMissing(
            f"{missing.name} is not installed, which --ray needs; install it by "
            '`pip install "interleave-index[ray,postgres]"` on every machine of the cluster'
        ) from missing
    return ray


@contextmanager
def connected(address: str, extra: str) -> Iterator[Any]:
    """Ray, connected to a cluster for as long as the body runs.

    Args:
        address: `local` (this machine alone, for as long as the body runs), `auto` (the cluster that this machine
            belongs to), or host and port of the head node.
        extra: `data` or `serve`.
    Raises:
        BackendMissing: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    check_address(address)
    ray = load_ray(extra)
    if ray.is_initialized():  # whoever started it ends it
        yield ray
        return
    for name in ("ray", "ray.data", "ray.serve"):  # each has handlers of its own; errors are told by the commands
        logging.getLogger(name).setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "interleave-index"}
    if address == LOCAL:
        ray.init(address=LOCAL, include_dashboard=False, object_store_memory=OBJECT_BYTES, **quiet)
    else:
        _check_reachable(address)
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.AuthenticationError) as error:
            if _wants_token(error):
                raise ConfigError(
                    f"the cluster of Ray at {address!r} asks for a token; set RAY_AUTH_MODE=token here, and put the "
                    "token of its head node (ray get-auth-token) into ~/.ray/auth_token, or set RAY_AUTH_TOKEN"
                ) from error
            words = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"no cluster of Ray answers at {address!r}: {words}; start one by `ray start --head`, and give its "
                "address as host:port, or auto on one of its machines"
            ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _wants_token(error: BaseException | None) -> bool:
    """Whether an error comes from a token that is missing or another one than that of the cluster.

    >>> _wants_token(RuntimeError("Unauthenticated: RPC error: token is missing")), _wants_token(ValueError("no node"))
    (True, False)
    """
    while error is not None:
        if any(word in str(error) for word in ("Unauthenticated", "InvalidAuthToken", "authentication token")):
            return True
        error = error.__cause__ or error.__context__
    return False


def check_address(address: str) -> None:
    """Raise ConfigError when this can be no address of a cluster.

    >>> check_address("head.lan:6379"), check_address("auto")
    (None, None)
    """
    host, _, port = address.rpartition(":")
    if address not in (LOCAL, AUTO) and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigError(f"--ray is {address!r}, expected local, auto, or host:port of the head node")


def _check_reachable(address: str) -> None:
    """Find out at once whether anything listens there; Ray itself tries for a minute."""
    if address == AUTO:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN).close()
    except OSError as error:
        raise ConfigError(
            f"no cluster of Ray answers at {address!r}: {error.strerror or error}; start one by "
            "`ray start --head --port 6379` there"
        ) from error


def check_catalog(ray: Any, catalog: str) -> None:
    """Raise ConfigError when machines of the cluster cannot open the catalog."""
    here = socket.gethostname()
    others = sorted({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} - {here})
    if others and not is_shared(catalog):
        raise ConfigError(
            f"the catalog {catalog} lies in a folder of this machine, and the cluster has {others[0]} too; "
            "expected one in PostgreSQL (docs/operations.md), which all of them can reach"
        )
