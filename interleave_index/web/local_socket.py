"""A socket on this machine by which the commands ask a running server: its model and its index are in memory already.

One request and one answer a connection, each a line of JSON; blanks before the answer say that the server still works
at it. The socket lies in the folder of the index, or in a runtime folder where that cannot hold one or others may write
to it. It has permission 0600, and both ends check that the other runs as the same user before they send anything. Knows
`Index`, records and sockets; nothing of HTTP. Both ends are here, so that they cannot differ.
"""

from __future__ import annotations

import contextlib
import contextvars
import hashlib
import json
import logging
import os
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors
from ..config import Config, index_folder
from ..paths import user_path
from ..records import Answer, Filters, Hit
from .local_records import answer_of, hit_of, plain

if TYPE_CHECKING:
    from ..service import Index

log = logging.getLogger("interleave_index.web.local")
VERSION = 4  # of the protocol: other versions are not understood, and the command works by itself
NAME = "serve.sock"
LONGEST_ADDRESS = 100  # bytes; systems allow 104 to 108
LONGEST_REQUEST = 2**20
AT_ONCE = 4  # requests at work
CONNECTIONS = 32  # requests at work or waiting; further ones are turned away
CONNECT_SECONDS, REQUEST_SECONDS = 1.0, 10.0
BEAT_SECONDS = 4.0  # after which a server that still works says so
SILENCE_SECONDS = 20.0  # after which a server that says nothing is taken for stuck
_KEPT_SECTIONS = ("models", "query")  # settings that change answers


def places(folder: Path | str) -> list[Path]:
    """Where the socket of an index may lie, in the order in which they are tried."""
    real = os.path.realpath(index_folder(folder))
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    inside = Path(real) / NAME
    candidates = [inside, _runtime_folder() / f"{name}.sock"]
    return [path for path in candidates if len(os.fsencode(path)) <= LONGEST_ADDRESS]


def _runtime_folder() -> Path:
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return Path(given) / "interleave-index"
    return Path(tempfile.gettempdir()) / f"interleave-index-{os.geteuid()}"


# --- the server: where it listens ------------------------------------------------------------


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
    own = _identity(at)
    server = _Server(listening, index, config)
    thread = threading.Thread(target=server.accept, name="local", daemon=True)
    thread.start()
    try:
        yield at
    finally:
        with contextlib.suppress(OSError), _locked(at.parent):
            if own is not None and _identity(at) == own:  # not one that another server has put there
                at.unlink()
        server.close()


def _listen(folder: Path) -> socket.socket | None:
    """A socket that listens at the first place that can hold one; None if another server answers there already."""
    if not hasattr(socket, "AF_UNIX"):
        return None
    for at in places(folder):
        try:
            if at.parent == _runtime_folder():
                at.parent.mkdir(mode=0o700, exist_ok=True)
            if not _is_private(at.parent):
                continue
            with _locked(at.parent):  # two servers that start at once must not take each other for dead
                if _is_socket_of_ours(at):
                    if not _is_dead(at):
                        return None
                    at.unlink()  # a server that was killed left it behind
                return _bound(at)
        except OSError:
            continue  # a folder that cannot be written, or a file system without sockets
    return None


def _bound(at: Path) -> socket.socket:
    """A socket that listens at a place in a private folder, which nobody else can open at any moment.

    Between its making and its change of permission it does not listen yet, so that nobody can connect.
    """
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(os.fspath(at))
        os.chmod(at, 0o600)
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time looks for sockets in the folder and makes or removes them."""
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _identity(at: Path) -> tuple[int, int] | None:
    """Device and inode of what lies at a path; None when nothing does."""
    try:
        facts = at.lstat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _is_dead(at: Path) -> bool:
    """Whether no process listens at a socket. One that is too busy to take a connection lives."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(os.fspath(at))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            return False
    return False


# --- the server: what it answers -------------------------------------------------------------


class _Server:
    """Answers connections: each has a thread, which says every few seconds that it is there; few work at once."""

    def __init__(self, listening: socket.socket, index: Index, config: Config) -> None:
        self._listening, self._index = listening, index
        self._settings = _settings(config)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._at_work: set[threading.Event] = set()  # set when nobody waits for the answer any more
        self._work = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="local-work")

    def accept(self) -> None:
        """Take connections until the server ends."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed: the server ends
                return
            if not self._free.acquire(blocking=False):
                connection.close()  # the command works by itself
                continue
            threading.Thread(target=self._serve, args=(connection,), name="local", daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and let what is at work stop at its next look at the model."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # ends the wait for connections
        self._listening.close()
        for gone in tuple(self._at_work):
            gone.set()
        self._work.shutdown(cancel_futures=True)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):  # a client that leaves is nobody's error
                connection.settimeout(REQUEST_SECONDS)
                if _is_same_user(connection):
                    self._answer(connection, _read_line(connection, LONGEST_REQUEST))
        except Exception as error:
            log.error("a command's request failed", exc_info=error)
        finally:
            self._free.release()

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        """Work at a request until it is done, the client has left, or the server ends."""
        from .model import Cancelled, left

        gone = threading.Event()

        def work() -> dict[str, Any]:
            left.set(gone)
            return self._reply(line)

        try:
            future = self._work.submit(contextvars.copy_context().run, work)
        except RuntimeError:  # the server ends
            return
        self._at_work.add(gone)
        try:
            reply = _waited_for(future, connection)
        except (Cancelled, CancelledError):  # the server ends
            return
        finally:
            self._at_work.discard(gone)
            gone.set()  # what is left of it stops at its next look at the model
        connection.sendall(json.dumps(reply, default=plain).encode("ascii") + b"\n")

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if request["version"] != VERSION or request["settings"] != self._settings:
                return {"declined": True}
            if request["photo"] is not None:
                return {"hit": asdict(self._index.ground(request["photo"], request["query"]))}
            filters = Filters(**request["filters"])
            return {"answer": asdict(self._index.search(request["query"], filters=filters, **request["options"]))}
        except errors.InterleaveError as error:
            return {"error": type(error).__name__, "message": str(error)}
        except (ValueError, KeyError, TypeError):
            return {"declined": True}


def _waited_for(future: Future[dict[str, Any]], connection: socket.socket) -> dict[str, Any]:
    """The result, while the client is told that it is being worked at.

    Raises:
        OSError: the client has left.
    """
    while True:
        try:
            return future.result(timeout=BEAT_SECONDS)
        except TimeoutError:
            if future.done():
                raise
            try:
                connection.sendall(b" ")
            except OSError:
                future.cancel()
                raise


# --- the client ------------------------------------------------------------------------------


def ask_search(
    folder: Path | str, config: Config, query: str, filters: Filters, options: dict[str, Any]
) -> Answer | None:
    """`Index.search` by the server of an index; None when there is none, or it has other settings.

    The answer is waited for as long as the server works at it. One that ends, or says nothing for 20 seconds, counts as
    none.

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
    return None if reply is None else answer_of(reply["answer"])


def ask_ground(folder: Path | str, config: Config, photo: int | str, query: str) -> Hit | None:
    """`Index.ground` by the server of an index; None as with `ask_search`."""
    reply = _ask(folder, config, {"query": query, "photo": photo})
    return None if reply is None else hit_of(reply["hit"])


def _ask(folder: Path | str, config: Config, request: dict[str, Any]) -> dict[str, Any] | None:
    if not hasattr(socket, "AF_UNIX"):
        return None
    at = next((path for path in places(folder) if _is_socket_of_ours(path) and _is_private(path.parent)), None)
    if at is None:
        return None
    asked = {"version": VERSION, "settings": _settings(config), **request}
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONNECT_SECONDS)
            connection.connect(os.fspath(at))
            if not _is_same_user(connection):
                return None
            connection.settimeout(SILENCE_SECONDS)
            connection.sendall(json.dumps(asked, default=plain).encode("ascii") + b"\n")
            reply: dict[str, Any] = json.loads(_read_line(connection, None))
    except (OSError, ValueError):  # it ended, or it is stuck: the command works by itself
        return None
    if "error" in reply:
        kind = getattr(errors, reply["error"], errors.InterleaveError)
        raise kind(reply["message"])
    return None if reply.get("declined") else reply


# --- what both ends share --------------------------------------------------------------------


def _is_socket_of_ours(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(facts.st_mode) and facts.st_uid == os.geteuid()


def _is_private(folder: Path) -> bool:
    """Whether nobody else can put a socket of theirs into the folder."""
    try:
        facts = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and not stat.S_IMODE(facts.st_mode) & 0o022


def _is_same_user(connection: socket.socket) -> bool:
    """Whether the other end runs as this user; where the system does not tell, permissions must do."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(user == os.geteuid())


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
    """Settings that change answers. Folders of models are absolute: the two ends may run in different folders."""
    every = config.to_mapping()
    kept = {name: dict(every[name]) for name in _KEPT_SECTIONS}
    models = kept["models"]
    for name in ("interface", "proposals"):
        models[name] = _absolute(models[name])
    models["grounders"] = ",".join(_absolute(name.strip()) for name in models["grounders"].split(","))
    return kept


def _absolute(model: str) -> str:
    """A folder of a model by its one absolute path; the name of a model as it is."""
    path = user_path(model)
    return os.path.realpath(path) if os.path.isdir(path) else model
