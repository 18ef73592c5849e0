"""Over real sockets: slow heads, slow bodies, too many connections, bad requests, proxies, paths below a base path."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from urllib.parse import urlsplit

import pytest

from interleave_index.web import connections, intake
from interleave_index.web import serve as serving


class Wire:
    """A connection on which bytes are written as they stand."""

    def __init__(self, address, source=None):
        self.place = urlsplit(address)
        self.socket = socket.socket()
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.settimeout(15)
        self.socket.connect((self.place.hostname, self.place.port))

    @property
    def host(self):
        return self.place.netloc

    def send(self, text):
        self.socket.sendall(text.encode("latin-1") if isinstance(text, str) else text)

    def answer(self):
        """Everything until the server closes, or nothing comes for a while."""
        data = b""
        try:
            while piece := self.socket.recv(65536):
                data += piece
        except OSError:
            pass
        return data.decode("latin-1")

    def close(self):
        self.socket.close()


@pytest.fixture
def wire():
    opened = []

    def connect(address, source=None):
        opened.append(Wire(address, source))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def get(address, path="api/status", **headers):
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    connection.request("GET", place.path + path, headers={name.replace("_", "-"): v for name, v in headers.items()})
    answer = connection.getresponse()
    answer.data = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def is_alive(address):
    return get(address).status == 200


def test_a_head_that_comes_slowly_and_a_connection_without_one_are_closed(serve_page, wire, monkeypatch):
    monkeypatch.setattr(serving, "KEEP_ALIVE_SECONDS", 1)
    address = serve_page(header_seconds=0.5)
    silent, slow = wire(address), wire(address)
    slow.send("GET /api/status HTTP/1.1\r\nHost: ")
    started = time.monotonic()
    assert slow.answer().startswith("HTTP/1.1 408 ")
    assert silent.answer() == ""
    assert time.monotonic() - started < 5
    again = wire(address)
    again.send(f"GET /api/session HTTP/1.1\r\nHost: {again.host}\r\n\r\nGET /api/st")
    assert "HTTP/1.1 200" in again.answer() and is_alive(address)  # closed in the middle of its second head


def test_a_body_that_comes_slowly_is_given_up(serve_page, wire, monkeypatch):
    monkeypatch.setattr(intake, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(connections, "REST_SECONDS", 0.5)
    address = serve_page()
    stalled = wire(address)
    stalled.send(f"POST /api/uploads HTTP/1.1\r\nHost: {stalled.host}\r\nContent-Length: 1000000\r\n\r\nabc")
    answer = stalled.answer()
    assert answer.startswith("HTTP/1.1 408 ") and "too slowly" in answer
    assert is_alive(address)


def test_an_upload_that_breaks_off_is_no_error_of_the_server(serve_page, wire, caplog):
    address = serve_page()
    for _ in range(5):
        broken = wire(address)
        broken.send(f"POST /api/uploads HTTP/1.1\r\nHost: {broken.host}\r\nContent-Length: 1000000\r\n\r\nabc")
        time.sleep(0.05)
        broken.close()
    form = wire(address)
    form.send(
        f"POST /api/search HTTP/1.1\r\nHost: {form.host}\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    time.sleep(0.05)
    form.close()
    time.sleep(0.3)
    metrics = get(address, "metrics").data.decode()
    assert 'status="500"' not in metrics and 'status="499"' in metrics
    assert not [record for record in caplog.records if record.exc_info]


def test_without_the_token_a_body_is_not_waited_for(serve_page, wire, token, monkeypatch):
    monkeypatch.setattr(connections, "REST_SECONDS", 0.5)
    stranger = wire(serve_page(token=token))
    stranger.send(f"POST /api/uploads HTTP/1.1\r\nHost: {stranger.host}\r\nContent-Length: 1000000\r\n\r\nabc")
    started = time.monotonic()
    assert stranger.answer().startswith("HTTP/1.1 401 ")
    assert time.monotonic() - started < 5


def test_one_address_may_have_so_many_connections_and_others_are_not_kept_out(serve_page, wire):
    address = serve_page(connections_of_one=5, connections=8)
    waiting = [wire(address) for _ in range(12)]
    time.sleep(0.2)
    assert is_alive(address)  # the one that waited longest went
    others = [wire(address, source=f"127.0.0.{n}") for n in range(2, 9)]
    time.sleep(0.2)
    for other in others[-2:]:
        other.send(f"GET /api/session HTTP/1.1\r\nHost: {other.host}\r\nConnection: close\r\n\r\n")
        assert other.answer().startswith("HTTP/1.1 200")
    assert waiting[0].answer() == ""


def test_two_lengths_of_one_body_and_what_is_no_request_are_refused_with_all_headers(serve_page, wire):
    address = serve_page()
    for request in (
        "POST /api/search HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /api/search HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: {host}\r\nX: " + "x" * 40_000,
    ):
        connection = wire(address)
        connection.send(request.replace("{host}", connection.host))
        answer = connection.answer()
        assert answer.startswith("HTTP/1.1 400 "), (request[:60], answer)
        assert "application/problem+json" in answer and "content-security-policy" in answer
        assert "connection: close" in answer.lower()
    assert is_alive(address)


def test_an_answer_that_is_not_read_does_not_hold_its_connection(serve_page, wire, tmp_path, drawn_photos):
    address = serve_page(send_seconds=0.5)
    greedy = wire(address)
    greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = f"GET /static/app.js HTTP/1.1\r\nHost: {greedy.host}\r\n\r\n"
    for _ in range(400):
        try:
            greedy.send(request)
        except OSError:
            break
    time.sleep(1.5)
    assert is_alive(address)
    with pytest.raises(OSError):
        for _ in range(200):
            greedy.send(request * 10)
            time.sleep(0.01)


# --- proxies ---------------------------------------------------------------------------------


def test_forwarded_headers_count_only_from_a_named_proxy(serve_page):
    headers = {"X_Forwarded_Host": "photos.lan", "X_Forwarded_Proto": "https", "Origin": "https://photos.lan"}
    named = serve_page(names=("photos.lan",), proxies=("127.0.0.0/8",))
    assert get(named, **headers).status == 200
    assert get(named, **{**headers, "X_Forwarded_Host": "evil.example"}).status == 421
    unnamed = serve_page(names=("photos.lan",))
    refused = get(unnamed, **headers)
    assert refused.status == 403 and "must pass Host on, or be named by --proxy" in json.loads(refused.data)["detail"]
    for host, origin in (
        ("photos.lan", "https://photos.lan"),
        ("photos.lan:443", "https://photos.lan"),
        ("photos.lan:80", "http://photos.lan"),
    ):
        assert get(unnamed, Host=host, Origin=origin).status == 200, host
    assert get(unnamed, Host="photos.lan:443", Origin="http://photos.lan").status == 403


def test_below_a_base_path_the_page_and_the_api_are_found_with_and_without_it(serve_page):
    address = serve_page(base_path="/my/photos")
    assert address.endswith("/my/photos/")
    root = address.removesuffix("my/photos/")
    assert get(address, "api/status").status == get(root, "api/status").status == 200
    assert get(address, "").data == get(root, "").data != b""
    moved = get(root, "my/photos")
    assert moved.status == 308 and moved.getheader("location") == "/my/photos/"
    assert get(root, "my/photosX/api/status").status == 404
    assert json.loads(get(address, "openapi.json").data)["servers"] == [{"url": "/my/photos"}]


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 130m;
  server {{
    listen 127.0.0.1:{port};
    location /photos/ {{
      proxy_pass {server};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


def test_behind_nginx_below_a_path_the_page_searches_and_the_cookie_is_for_that_path(
    serve_page, new_page, tmp_path, token
):
    nginx = shutil.which("nginx")
    if nginx is None:
        pytest.skip("nginx is not installed")
    server = serve_page(base_path="/photos", proxies=("127.0.0.1",), names=("photos.lan",), token=token)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "nginx.conf").write_text(
        NGINX.format(folder=tmp_path, port=port, server=server.removesuffix("/photos/"))
    )
    process = subprocess.Popen([nginx, "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")])
    address = f"http://127.0.0.1:{port}/photos/"
    try:
        for _ in range(100):
            try:
                get(address, "")
                break
            except OSError:
                time.sleep(0.05)
        place = urlsplit(address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        connection.request("POST", "/photos/api/session", json.dumps({"token": token}))
        cookie = connection.getresponse().getheader("set-cookie") or ""
        assert "Path=/photos/" in cookie and "Secure" in cookie and f"interleave_session_{port}=" in cookie
        connection.close()
        page = new_page(address, wait="#token")
        page.fill("#token", token)
        page.click("text=Open")
        page.wait_for_selector("[data-ready]")
        page.fill(".words", "[green]")
        page.keyboard.press("Enter")
        page.wait_for_selector("#counted")
        page.locator(".card .open[title='green_square.png']").click()
        page.wait_for_selector("#all-regions")
        page.keyboard.press("Escape")
        page.click("#filter-button")
        page.wait_for_selector(".filters")
        page.goto(address + "docs")
        page.wait_for_selector(".route")
        page.wait_for_load_state("networkidle")
        page.trouble.clear()  # the browser itself notes the 401
    finally:
        process.terminate()
        process.wait(10)


def test_searches_of_one_client_do_not_make_another_wait(serve_page):
    """One address asks all the time, by many connections; another asks now and then."""
    address = serve_page(running=1, waiting=8)
    body = json.dumps({"query": "[red] and [blue]"})
    stop = threading.Event()
    statuses = []

    def hammer():
        while not stop.is_set():
            statuses.append(ask_from(address, "127.0.0.2", body))

    threads = [threading.Thread(target=hammer) for _ in range(16)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        mine = [ask_from(address, "127.0.0.3", body) for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert mine == [200] * 10
    assert set(statuses) <= {200, 429} and 429 in statuses


def ask_from(address, source, body):
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20, source_address=(source, 0))
    connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status
