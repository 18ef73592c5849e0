"""A socket on this machine by which the commands ask a running server: its model and its index are in memory already.

One request and one answer a connection, each a line of JSON. The socket lies in the folder of the index, or in a
runtime folder where that folder cannot hold one; it belongs to one user and has permission 0600, and whoever connects
must be that user. Knows `Index`, records and sockets; nothing of HTTP. Both ends are here, so that they cannot differ.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..config import Config
from ..records import Answer, EntityHit, Filters, Grounding, Hit, Photo, Region, Rle

if TYPE_CHECKING:
    from ..service import Index

VERSION = 1  # of the protocol: other versions are not understood, and the command works by itself
NAME = "serve.sock"
LONGEST_ADDRESS = 100  # bytes; systems allow 104 to 108
LONGEST_REQUEST = 2**20
AT_ONCE = 4
CONNECT_SECONDS, REQUEST_SECONDS, ANSWER_SECONDS = 1.0, 10.0, 60.0
_KEPT_SECTIONS = ("models", "query")  # settings that change answers


def places(folder: Path | str) -> list[Path]:
    """Where the socket of an index may lie, in the order in which they are tried."""
    real = os.path.realpath(folder)
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    inside = Path(real) / NAME
    candidates = [inside, _runtime_folder() / f"{name}.sock"]
    return [path for path in candidates if len(os.fsencode(path)) <= LONGEST_ADDRESS]


def _runtime_folder() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return Path(given) / "interleave-index"
    return Path(tempfile.gettempdir()) / f"interleave-index-{os.getuid()}"


# --- the server ------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(index: Index, config: Config) -> Iterator[Path | None]:
    """Answer on a socket while the block runs; gives where it lies, or None where no socket can be made.

    Args:
        index: asked by several threads at once.
        config: its settings; requests with others are declined.
    """
    listening = _listen(index.folder)
    if listening is None:
        yield None
        return
    at = Path(listening.getsockname())
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="local") as pool:
        thread = threading.Thread(target=_accept, args=(listening, pool, index, config), name="local", daemon=True)
        thread.start()
        try:
            yield at
        finally:
            at.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # ends the wait for connections
            listening.close()


def _listen(folder: Path) -> socket.socket | None:
    """A socket that listens at the first place that can hold one; None if another server answers there already."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    for at in places(folder):
        try:
            if at.parent.name.startswith("interleave-index"):
                _make_private(at.parent)
            if _is_socket_of_ours(at):
                if _answers(at):
                    return None
                at.unlink()  # a server that was killed left it behind
            return _bind(at)
        except OSError:
            continue  # a folder that cannot be written, or a file system without sockets
    return None


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or stat.S_IMODE(facts.st_mode) & 0o077:
        raise PermissionError(f"{folder} can be written by others")


def _bind(at: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # the socket is never open to others, not even for a moment
    try:
        listening.bind(os.fspath(at))
    except OSError:
        listening.close()
        raise
    finally:
        os.umask(before)
    listening.listen(16)
    return listening


def _answers(at: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(at))
        except OSError:
            return False
    return True


def _accept(listening: socket.socket, pool: ThreadPoolExecutor, index: Index, config: Config) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # closed: the server ends
            return
        try:
            pool.submit(_serve, connection, index, config)
        except RuntimeError:  # the pool has ended
            connection.close()
            return


def _serve(connection: socket.socket, index: Index, config: Config) -> None:
    with connection, contextlib.suppress(OSError):  # a client that leaves is nobody's error
        connection.settimeout(REQUEST_SECONDS)
        if not _is_same_user(connection):
            return
        line = _read_line(connection, LONGEST_REQUEST)
        connection.sendall(json.dumps(_reply(line, index, config), default=_plain).encode("ascii") + b"\n")


def _reply(line: bytes, index: Index, config: Config) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if request["version"] != VERSION or request["settings"] != _settings(config):
            return {"declined": True}
        if request["photo"] is not None:
            return {"hit": asdict(index.ground(request["photo"], request["query"]))}
        filters = Filters(**request["filters"])
        return {"answer": asdict(index.search(request["query"], filters=filters, **request["options"]))}
    except errors.InterleaveError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except (ValueError, KeyError, TypeError):
        return {"declined": True}


def _is_same_user(connection: socket.socket) -> bool:
    """Whether the other end runs as this user; the permission of the socket already asks for that."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.geteuid())


# --- the client ------------------------------------------------------------------------------


def ask_search(
    folder: Path | str, config: Config, query: str, filters: Filters, options: dict[str, Any]
) -> Answer | None:
    """`Index.search` by the server of an index; None when there is none, or it has other settings.

    Args:
        folder: of the index.
        config: settings in force.
        query: in its string form; its paths are absolute.
        filters: of the search.
        options: further arguments of `Index.search`.
    Raises:
        InterleaveError: as `Index.search`.
    """
    reply = _ask(folder, config, {"query": query, "photo": None, "filters": asdict(filters), "options": options})
    return None if reply is None else _answer(reply["answer"])


def ask_ground(folder: Path | str, config: Config, photo: int | str, query: str) -> Hit | None:
    """`Index.ground` by the server of an index; None when there is none, or it has other settings."""
    reply = _ask(folder, config, {"query": query, "photo": photo})
    return None if reply is None else _hit(reply["hit"])


def _ask(folder: Path | str, config: Config, request: dict[str, Any]) -> dict[str, Any] | None:
    if not hasattr(socket, "AF_UNIX"):
        return None
    at = next((path for path in places(folder) if _is_socket_of_ours(path)), None)
    if at is None:
        return None
    asked = {"version": VERSION, "settings": _settings(config), **request}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(os.fspath(at))
            connection.settimeout(ANSWER_SECONDS)
            connection.sendall(json.dumps(asked, default=_plain).encode("ascii") + b"\n")
            reply: dict[str, Any] = json.loads(_read_line(connection, None))
    except (OSError, ValueError):  # it ended, or it hangs: the command works by itself
        return None
    if "error" in reply:
        kind = getattr(errors, reply["error"], errors.InterleaveError)
        raise kind(reply["message"])
    return None if reply.get("declined") else reply


def _is_socket_of_ours(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(facts.st_mode) and facts.st_uid == os.geteuid()


# --- what both ends share --------------------------------------------------------------------


def _read_line(connection: socket.socket, most: int | None) -> bytes:
    """Bytes up to a line end, or to the end of the connection.

    Raises:
        ConnectionError: there are more than `most`.
    """
    pieces: list[bytes] = []
    count = 0
    while not (pieces and pieces[-1].endswith(b"\n")):
        piece = connection.recv(2**16)
        if not piece:
            break
        pieces.append(piece)
        count += len(piece)
        if most is not None and count > most:
            raise ConnectionError("the request is too long")
    return b"".join(pieces)


def _settings(config: Config) -> dict[str, Any]:
    every = config.to_mapping()
    return {name: every[name] for name in _KEPT_SECTIONS}


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item()  # a number of numpy


def _answer(values: dict[str, Any]) -> Answer:
    hits = tuple(_hit(hit) for hit in values["hits"])
    return Answer(values["query"], values["path"], hits, tuple(values["notes"]), values["cutoff"])


def _hit(values: dict[str, Any]) -> Hit:
    taken = values["photo"]["taken_at"]
    photo = Photo(**{**values["photo"], "taken_at": datetime.fromisoformat(taken) if taken else None})
    entities = tuple(_entity(entity) for entity in values["entities"])
    return Hit(**{**values, "photo": photo, "entities": entities, **_tuples(values, "stack", "notes")})


def _entity(values: dict[str, Any]) -> EntityHit:
    regions = tuple(_region(region) for region in values["regions"])
    return EntityHit(**{**values, "grounding": Grounding(**values["grounding"]), "regions": regions})


def _region(values: dict[str, Any]) -> Region:
    rle = Rle(**{**values["rle"], **_tuples(values["rle"], "size")})
    return Region(**{**values, "rle": rle, **_tuples(values, "box")})


def _tuples(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: tuple(values[name]) for name in names}
