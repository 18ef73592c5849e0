"""Commands ask the server of their index, when one runs, and say the same as without it."""

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from interleave_index import Filters, Index
from interleave_index.cli import main
from interleave_index.config import Config
from interleave_index.errors import NotInIndex
from interleave_index.web import local_socket
from interleave_index.web.local_socket import answering, ask_ground, ask_search, places

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)


@pytest.fixture
def folder(drawn_photos, monkeypatch):
    """An index whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as place:
        at = os.path.realpath(f"{place}/i")
        with Index.open(at, config=TOY, create=True) as index:
            index.ingest(drawn_photos.folder)
        monkeypatch.setenv("INTERLEAVE_INDEX", at)
        monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", place)
        yield Path(at)


@pytest.fixture
def served(folder):
    """The same, with a server."""
    with Index.open(folder) as index, answering(index, index.config) as at:
        assert at is not None
        yield at


@pytest.fixture
def no_index(monkeypatch):
    """Opening an index in this process fails from now on."""

    def refuse(*_, **__):
        raise AssertionError("the index was opened in this process")

    monkeypatch.setattr(Index, "open", refuse)


def commands(photos):
    return [
        ("search", "[red]", "on", "white"),
        ("search", "[red]", "-[blue]", "--json"),
        ("search", f"[image:{os.path.relpath(photos.red_disc.path)}]", "--in", photos.folder, "--json"),
        ("search", "red", "--after", "2024", "--json"),
        ("search", "[red]", "-0"),
        ("ground", os.path.relpath(photos.green_square.path), "[green]", "--json"),
        ("ground", 1, "[red]"),
    ]


def test_the_answers_are_those_without_a_server(run, served, drawn_photos):
    for words in commands(drawn_photos):
        alone = run(*words, "--no-server")
        assert run(*words) == alone
        assert alone[0] == 0


def test_the_server_is_what_answers(run, served, drawn_photos, no_index):
    for words in commands(drawn_photos):
        assert run(*words)[0] == 0
    with pytest.raises(AssertionError, match="in this process"):
        main(["search", "red", "--no-server"])


def test_records_come_back_as_they_were(served, folder):
    with Index.open(folder) as index:
        answer = index.search("[red] -[blue]", filters=Filters(after=None), ground="exact")
        assert ask_search(folder, index.config, "[red] -[blue]", Filters(), {"ground": "exact"}) == answer
        assert ask_ground(folder, index.config, 2, "[red]") == index.ground(2, "[red]")


def test_an_error_of_the_server_is_that_of_the_command(run, served, folder):
    with Index.open(folder) as index, pytest.raises(NotInIndex, match="999"):
        ask_search(folder, index.config, "[photo:999]", Filters(), {})
    status, out, err = run("search", "[photo:999]")
    assert (status, out) == (1, "") and err.startswith("error: ") and "999" in err


def test_other_settings_are_not_asked_of_the_server(served, folder):
    with Index.open(folder) as index:
        other = index.config.with_flags(query_top_k=3)
        assert ask_search(folder, index.config, "red", Filters(), {}) is not None
        assert ask_search(folder, other, "red", Filters(), {}) is None


def test_the_socket_is_private_and_goes_with_the_server(folder):
    with Index.open(folder) as index:
        with answering(index, index.config) as at:
            assert at is not None and at == folder / "serve.sock"
            assert stat.S_IMODE(at.stat().st_mode) == 0o600
            with answering(index, index.config) as second:
                assert second is None  # the first keeps answering
        assert not at.exists()
        assert ask_search(folder, index.config, "red", Filters(), {}) is None


def test_a_socket_that_a_killed_server_left_is_no_obstacle(run, folder):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "serve.sock"))
    left.close()
    assert run("search", "red")[0] == 0
    with Index.open(folder) as index, answering(index, index.config) as at:
        assert at is not None
        assert ask_search(folder, index.config, "red", Filters(), {}) is not None


def test_a_long_path_has_its_socket_in_the_runtime_folder(folder):
    long = folder.parent / ("x" * 100)
    shutil.copytree(folder, long)
    with Index.open(long) as index, answering(index, index.config) as at:
        assert at is not None and at.parent == folder.parent / "interleave-index"
        assert stat.S_IMODE(at.parent.stat().st_mode) == 0o700
        assert [at] == places(long)
        assert ask_search(long, index.config, "red", Filters(), {}) is not None


def test_a_file_that_is_no_socket_is_left_alone(folder):
    (folder / "serve.sock").write_text("mine")
    with Index.open(folder) as index, answering(index, index.config) as at:
        assert at != folder / "serve.sock"
    assert (folder / "serve.sock").read_text() == "mine"


@pytest.mark.parametrize("sent", [b"\n", b"nonsense\n", b"[]\n", b"{}\n", b'{"version": 1}\n', b""])
def test_nonsense_on_the_socket_is_declined_and_ends_nothing(served, folder, sent):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(served))
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert json.loads(connection.makefile("rb").read()) == {"declined": True}
    with Index.open(folder) as index:
        assert ask_search(folder, index.config, "red", Filters(), {}) is not None


def test_what_only_this_process_has_is_not_asked_of_the_server(run, served, no_index):
    with pytest.raises(AssertionError, match="in this process"):
        main(["search", "[image:/dev/stdin]"])


# --- whose socket it is, and whether it lives -------------------------------------------------


def test_making_the_socket_changes_nothing_for_files_that_are_made_meanwhile(folder, monkeypatch):
    """The mask of permissions belongs to the whole process; the socket is private without a change of it."""
    before = os.umask(0)
    try:
        monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the process's mask was changed"))
        with Index.open(folder) as index, answering(index, index.config) as at:
            assert at is not None and stat.S_IMODE(at.stat().st_mode) == 0o600
    finally:
        monkeypatch.undo()
        os.umask(before)


def test_a_server_that_is_too_busy_to_take_a_connection_is_not_taken_for_dead(folder):
    busy = socket.socket(socket.AF_UNIX)
    busy.bind(str(folder / "serve.sock"))
    busy.listen(0)
    waiting = []
    try:
        while True:  # until no further one is taken
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].settimeout(0.05)
            try:
                waiting[-1].connect(str(folder / "serve.sock"))
            except OSError:
                break
        with Index.open(folder) as index, answering(index, index.config) as at:
            assert at is None
        assert (folder / "serve.sock").is_socket()
    finally:
        for one in (*waiting, busy):
            one.close()


def test_only_the_own_socket_is_removed_at_the_end(folder):
    with Index.open(folder) as index:
        with answering(index, index.config) as at:
            assert at is not None
            at.unlink()
            another = socket.socket(socket.AF_UNIX)
            another.bind(str(at))
        assert at.is_socket()
        another.close()


def test_servers_that_start_at_once_over_a_dead_socket_leave_one_that_answers(folder):
    for _ in range(10):
        left = socket.socket(socket.AF_UNIX)
        (folder / "serve.sock").unlink(missing_ok=True)
        left.bind(str(folder / "serve.sock"))
        left.close()
        together = threading.Barrier(4)
        found: list[Any] = []

        def listen(together=together, found=found):
            together.wait(5)
            found.append(local_socket._listen(folder))

        threads = [threading.Thread(target=listen) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        listening = [one for one in found if one is not None]
        assert len(listening) == 1
        assert not local_socket._is_dead(folder / "serve.sock")
        listening[0].close()


def test_nothing_is_sent_to_a_socket_of_another_user(folder, monkeypatch):
    """Who listens is told by the system; here it tells of somebody else."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "serve.sock"))
    listening.listen(1)
    monkeypatch.setattr(local_socket, "_is_same_user", lambda _: False)
    with Index.open(folder) as index:
        assert ask_search(folder, index.config, "red", Filters(), {}) is None
    connection, _ = listening.accept()
    connection.settimeout(5)
    assert connection.recv(100) == b""
    connection.close()
    listening.close()


def test_a_folder_that_others_may_write_to_holds_no_socket_and_one_in_it_is_not_asked(folder):
    folder.chmod(0o777)
    with Index.open(folder) as index:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(folder / "serve.sock"))
        listening.listen(1)
        listening.settimeout(0.2)
        assert ask_search(folder, index.config, "red", Filters(), {}) is None
        with pytest.raises(TimeoutError):
            listening.accept()
        listening.close()
        with answering(index, index.config) as at:
            assert at is not None and at.parent == folder.parent / "interleave-index"
            assert ask_search(folder, index.config, "red", Filters(), {}) is not None


def test_folders_of_models_are_the_same_from_whichever_folder_they_are_named(folder, tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name / "model").mkdir(parents=True)

    def named(place, *names):
        monkeypatch.chdir(tmp_path / place)
        interface, grounders = names
        return local_socket._settings(TOY.with_flags(models_interface=interface, models_grounders=grounders))

    known = named("here", "model", "sam,model")
    assert named("there", "../here/model", "sam, ../here/model") == known
    assert named("there", str(tmp_path / "here" / "model"), f"sam,{tmp_path}/here/model") == known
    assert named("there", "model", "sam,model") != known
    assert named("here", "toy", "sam") == named("there", "toy", "sam")


# --- long work --------------------------------------------------------------------------------


class Slow:
    """An index whose searches take their time."""

    def __init__(self, index, seconds):
        self.index, self.seconds, self.folder = index, seconds, index.folder
        self.stopped = threading.Event()

    def search(self, query, **more):
        from interleave_index.web.model import left

        gone = left.get()
        assert gone is not None
        if gone.wait(self.seconds):
            self.stopped.set()
        return self.index.search(query, **more)


def test_an_answer_is_waited_for_as_long_as_the_server_works_at_it(folder, monkeypatch):
    monkeypatch.setattr(local_socket, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(local_socket, "SILENCE_SECONDS", 0.3)
    with Index.open(folder) as index, answering(cast(Index, Slow(index, 1.0)), index.config):
        answers = []

        def ask():
            answers.append(ask_search(folder, index.config, "[red]", Filters(), {}))

        threads = [threading.Thread(target=ask) for _ in range(6)]  # two of them wait for a turn
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert answers == [index.search("[red]")] * 6


def test_a_server_that_says_nothing_is_not_waited_for(folder, monkeypatch):
    monkeypatch.setattr(local_socket, "SILENCE_SECONDS", 0.2)
    stuck = socket.socket(socket.AF_UNIX)
    stuck.bind(str(folder / "serve.sock"))
    stuck.listen(1)
    started = time.monotonic()
    with Index.open(folder) as index:
        assert ask_search(folder, index.config, "red", Filters(), {}) is None
    assert time.monotonic() - started < 5
    stuck.close()


def test_work_of_a_command_that_was_ended_stops(folder, monkeypatch):
    monkeypatch.setattr(local_socket, "BEAT_SECONDS", 0.05)
    with Index.open(folder) as index:
        slow = Slow(index, 10.0)
        with answering(cast(Index, slow), index.config) as at:
            request = {
                "version": local_socket.VERSION,
                "settings": local_socket._settings(index.config),
                "query": "red",
                "photo": None,
            }
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(at))
                connection.sendall(json.dumps(request | {"filters": {}, "options": {}}).encode() + b"\n")
                assert connection.recv(1) == b" "
            assert slow.stopped.wait(5)
