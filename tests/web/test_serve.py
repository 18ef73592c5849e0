"""The command, as a process of its own: it listens, keeps to its limits, and ends well."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from interleave_index.cli import main
from interleave_index.config import Config
from interleave_index.interface.toy import ToyInterface
from interleave_index.web.app import create_app
from interleave_index.web.settings import ServeSettings
from interleave_index.web.state import State


def test_the_command_serves_an_index_that_it_makes_and_ends_on_a_signal(tmp_path, drawn_photos):
    words = [sys.executable, "-m", "interleave_index", "serve", "--index", str(tmp_path / "new"), "--model", "toy"]
    process = subprocess.Popen(
        [*words, "--port", "0", "--root", str(drawn_photos.folder)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/", process.stderr.readline())
    assert found is not None
    address = found[0]
    with httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("api/status").json()["photos"] == 0
        job = client.post("api/ingest", json={}).json()["job"]
        while client.get(f"api/ingest/{job}").json()["state"] == "running":
            time.sleep(0.1)
        hits = client.post("api/search", json={"query": "[green]"}).json()["hits"]
        assert hits[0]["photo"]["name"] == "green_square.png"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "no token"),
        (("--host", "0.0.0.0", "--token", "short"), "at least 16"),
        (("--root", "/absent/folder"), "does not exist"),
        (("--port", "99999"), "65535"),
    ],
)
def test_wrong_usage_gives_status_2_and_a_line_that_helps(toy_index, capsys, words, said, monkeypatch):
    monkeypatch.delenv("INTERLEAVE_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main(["serve", "--index", str(toy_index.folder), *words])
    assert end.value.code == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_port_that_is_taken_and_an_index_that_is_not_there_are_one_line(toy_index, capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit) as end:
            main(["serve", "--index", str(toy_index.folder), "--port", str(taken.getsockname()[1])])
    assert end.value.code == 1 and "cannot listen" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["serve", "--index", str(tmp_path / "absent")])
    assert end.value.code == 1 and "no index" in capsys.readouterr().err


class Held(ToyInterface):
    """The toy, which looks at photos only when it is let."""

    def __init__(self):
        self.go, self.entered, self.looks = threading.Event(), threading.Event(), 0

    def ground(self, photo, query):
        self.looks += 1
        self.entered.set()
        self.go.wait(20)
        return super().ground(photo, query)


def test_when_the_client_leaves_its_work_stops(toy_index):
    """Over a real socket: the hits after the one that is being looked at are not looked at any more."""
    import asyncio

    import uvicorn

    model = Held()
    config = Config().with_flags(models_interface="toy")
    state = State(str(toy_index.folder), config, ServeSettings(), build=lambda: model)
    server = uvicorn.Server(uvicorn.Config(create_app(state), port=0, log_level="error", lifespan="on"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        while not server.started:
            time.sleep(0.01)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{address}/api/search", json={"query": "[red]", "ground": "exact"}, timeout=2)
        assert model.entered.is_set()
        time.sleep(0.5)
        model.go.set()
        again = httpx.post(f"{address}/api/search", json={"query": "[red]", "limit": 1}, timeout=30)
        assert again.status_code == 200
        assert model.looks == 1
        server.should_exit = True
        thread.join(30)
