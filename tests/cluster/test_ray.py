"""Three nodes of Ray on this machine, of which some are killed: nothing is lost, no answer is wrong."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'interleave-index[ray]'"),
]


@pytest.fixture
def short_folder():
    """One whose name leaves room for the sockets of Ray below it."""
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        yield folder


@pytest.mark.usefixtures("postgres")  # skipped where no server is installed
def test_nothing_is_lost_and_no_answer_is_wrong_while_nodes_are_killed(drawn_photos, tmp_path):
    words = ["-m", "benchmarks.cluster", str(drawn_photos.folder), "--photos", "40", "--model", "toy"]
    done = subprocess.run(
        [sys.executable, *words, "--json", str(tmp_path / "result.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "result.json").read_text())
    taken_in, served = found["ingest"], found["serve"]
    assert taken_in["happened_after_photos"] is not None and taken_in["failed"] == 0
    assert taken_in["difference"]["alone"] == taken_in["difference"]["unequal"] == 0
    assert served["compared"] > 30 and served["different"] == 0
    for phase in ("one_node_killed", "two_nodes_killed", "part_killed"):
        assert served[phase]["asked"] > 0
        assert served[phase]["wrong"] == served[phase]["failed"] == 0
    assert served["part_killed"]["partial"] > 0, "answers without the part say so"


def test_a_cluster_that_asks_for_a_token_is_told_from_one_that_is_not_there(tmp_path, short_folder, monkeypatch):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("HOME", str(tmp_path))  # where no token lies
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    own = os.environ | token | {"RAY_TMPDIR": short_folder}
    where = ["--head", "--port", str(port), "--node-ip-address", "127.0.0.1", "--include-dashboard", "false"]
    size = ["--num-cpus", "1", "--object-store-memory", str(80 << 20), "--block"]
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    head = subprocess.Popen(
        [*ray, "start", *where, *size], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            if not connection_refused(port):
                break
            time.sleep(0.2)
        address = ["--ray", f"127.0.0.1:{port}"]
        program = [sys.executable, "-m", "interleave_index", "ingest", "--index", str(tmp_path / "i"), *address, "."]
        for environment in (dict(os.environ), {**os.environ, "RAY_AUTH_MODE": "token"}):
            done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 1, done.stderr
            assert "asks for a token; set RAY_AUTH_MODE=token" in done.stderr and "Traceback" not in done.stderr
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(timeout=60)


def connection_refused(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0
