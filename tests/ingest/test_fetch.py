"""Pictures by URL, from a server on this machine."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from interleave_index.errors import InputError
from interleave_index.ingest.decode import load_picture
from interleave_index.ingest.fetch import fetch


class Answers(BaseHTTPRequestHandler):
    picture = b""

    def do_GET(self):
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(20):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
            return
        status = {"/gone": 404, "/away": 302, "/moved": 302}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "ftp://127.0.0.1/a.jpg" if self.path == "/away" else "/picture")
        if self.path == "/picture":
            self.send_header("Content-Length", str(len(self.picture)))
        self.end_headers()
        if status == 200:
            self.wfile.write(self.picture if self.path != "/long" else bytes(100_000))

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_picture_comes_by_url_also_after_a_redirect(server, pictures):
    wanted = pictures.smooth()
    Answers.picture = pictures.encoded(wanted, "PNG")
    assert np.array_equal(load_picture(f"{server}/picture"), wanted)
    assert np.array_equal(load_picture(f"{server}/moved"), wanted)


@pytest.mark.parametrize(
    "path, words",
    [
        ("/long", "more than 5000 bytes"),
        ("/gone", "answers 404"),
        ("/away", "expected http"),
        ("/slow", "too slow|timed out"),
    ],
)
def test_what_goes_wrong_says_so(server, path, words):
    with pytest.raises(InputError, match=words):
        fetch(server + path, max_bytes=5000, timeout=0.3)


def test_an_announced_length_is_enough_to_refuse(server):
    Answers.picture = bytes(9000)
    with pytest.raises(InputError, match="has 9000 bytes, expected at most 5000"):
        fetch(f"{server}/picture", max_bytes=5000, timeout=2)


def test_only_the_web_is_fetched_from():
    with pytest.raises(InputError, match="expected an http or https address"):
        fetch("file:///etc/hostname", max_bytes=10, timeout=1)
    with pytest.raises(InputError, match="cannot be fetched"):
        fetch("http://127.0.0.1:1/nobody-listens", max_bytes=10, timeout=1)
