"""Commands ask the server of their index, when one runs, and say the same as without it."""

import json
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from interleave_index import Filters, Index
from interleave_index.cli import main
from interleave_index.config import Config
from interleave_index.errors import NotInIndex
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
