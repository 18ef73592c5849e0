"""Who may ask, how much at once, and what a hostile request or picture gets."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest

from interleave_index.errors import ConfigError
from interleave_index.web.settings import ServeSettings

PROBLEM = "application/problem+json"


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert body["status"] == status and body["detail"]
    for word in words:
        assert word in body["detail"], body
    return body


# --- hosts, origins, tokens ------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "10.0.0.7"])
def test_a_name_that_was_made_to_point_here_is_refused(client, host):
    refused(client.get("/api/status", headers={"Host": host}), 421, "host")


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "[::1]:8765", "LOCALHOST"])
def test_names_of_this_machine_are_served(client, host):
    assert client.get("/api/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8765"])
def test_other_pages_may_not_ask(client, origin):
    refused(client.post("/api/search", json={"query": "red"}, headers={"Origin": origin}), 403, "origin")


def test_the_own_page_may_ask_and_no_answer_opens_the_door_to_others(client):
    answer = client.post("/api/search", json={"query": "red"}, headers={"Origin": "http://127.0.0.1:8765"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_pictures_cannot_be_embedded_by_other_sites_but_the_page_can_be_opened_by_a_link(client):
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    refused(client.get("/api/photos/1/thumbnail", headers=cross), 403, "another site")
    assert client.get("/", headers=cross | {"Sec-Fetch-Mode": "navigate"}).status_code == 200
    refused(client.get("/api/photos/1/original", headers=cross | {"Sec-Fetch-Mode": "navigate"}), 403)


def test_every_answer_carries_a_strict_policy(client):
    for path in ("/", "/api/status", "/nothing", "/docs"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_with_a_token_nothing_of_the_collection_is_told_without_it(make_server, token):
    client = make_server(token=token)
    for path in ("/api/status", "/api/photos/1/thumbnail", "/api/facets", "/metrics", "/api/photos", "/api/uploads/x"):
        body = refused(client.get(path), 401, "token")
        assert body["title"] == "Token needed"
    refused(client.post("/api/search", json={"query": "red"}), 401)
    for wrong in ("wrong", token[:-1], token + "x", ""):
        refused(client.get("/api/status", headers={"Authorization": f"Bearer {wrong}"}), 401)
    refused(client.get("/api/status", headers={"Cookie": f"interleave_session={token}"}), 401)
    assert client.get("/api/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_browser_gets_a_cookie_for_the_token_which_scripts_cannot_read(make_server, token):
    client = make_server(token=token)
    assert client.get("/api/session").json() == {"needed": True, "open": False}
    refused(client.post("/api/session", json={"token": "wrong"}), 401)
    answer = client.post("/api/session", json={"token": token})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and token not in cookie
    assert client.get("/api/photos/1/thumbnail").status_code == 200
    assert client.get("/api/session").json() == {"needed": True, "open": True}


def test_beyond_loopback_a_token_is_demanded_and_must_be_long(token):
    with pytest.raises(ConfigError, match="no token"):
        ServeSettings(host="0.0.0.0")
    with pytest.raises(ConfigError, match="expected at least 16"):
        ServeSettings(host="0.0.0.0", token="short")
    assert ServeSettings(host="0.0.0.0", token=token).knows_host("192.168.1.4")
    assert not ServeSettings(host="0.0.0.0", token=token).knows_host("evil.example")
    assert ServeSettings(host="0.0.0.0", token=token, names=("photos.lan",)).knows_host("photos.lan")


# --- paths, addresses, sizes -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["/etc/passwd", "../../etc/passwd", "http://127.0.0.1:9/x.png", "file:///etc/passwd"])
def test_no_path_and_no_address_that_a_request_names_is_opened(client, drawn_photos, name):
    for body in (
        {"query": f"[image:{name}]"},
        {"parts": [{"upload": name}]},
        {"query": f"[image:{drawn_photos.red_disc.path}]"},
    ):
        refused(client.post("/api/search", json=body), 404, "no upload")
    refused(client.get(f"/static/{name}"), 404 if "/" in name else 422)


def test_static_files_are_only_those_of_the_page(client):
    for name in ("../app.py", "..%2fapp.py", "%2e%2e/settings.py", "index.html%00.css"):
        assert client.get(f"/static/{name}").status_code in (404, 422)


def test_a_request_that_is_too_long_is_refused_before_it_is_read(make_server):
    client = make_server(upload_bytes=1000)
    refused(client.post("/api/search", content=b"x" * 2_000_000), 413)
    refused(client.post("/api/uploads", content=b"x" * 2000), 413, "1000")
    refused(
        client.post("/api/search", data={"request": json.dumps({"query": "[image:a]"})}, files={"a": b"x" * 2000}),
        413,
        "1000",
    )

    def endless():
        for _ in range(100):
            yield b"x" * 100_000

    refused(client.post("/api/search", content=endless()), 413)


def test_parts_and_characters_of_a_query_are_limited(make_server):
    client = make_server(parts=3, query_characters=50)
    refused(client.post("/api/search", json={"parts": [{"entity": "red"}] * 4}), 413, "4 parts")
    refused(client.post("/api/search", json={"query": "[a] [b] [c] [d]"}), 413, "4 parts")
    refused(client.post("/api/search", json={"query": "x" * 51}), 413, "51 characters")


def test_masks_that_lie_about_their_size_are_refused(client, drawn_photos, encoded):
    name = client.post("/api/uploads", content=encoded(drawn_photos.red_disc.rgb)).json()["upload"]
    for mask in (
        {"size": [8192, 8192], "counts": [8192 * 8192]},
        {"size": [4, 4], "counts": [3]},
        {"size": [1, 400], "counts": [0, 400]},
        {"size": [96, 128], "counts": [96 * 128]},
    ):
        refused(client.post("/api/search", json={"parts": [{"upload": name, "mask": mask}]}), 422)
    refused(client.post("/api/search", json={"parts": [{"upload": name, "box": [0, 0, 500, 500]}]}), 422, "box")


def test_uploads_that_are_held_stay_within_their_bytes(make_server, drawn_photos, encoded):
    client = make_server(uploads_bytes=100_000)
    for _ in range(8):
        assert client.post("/api/uploads", content=encoded(drawn_photos.red_disc.rgb)).status_code == 201
    assert client.server.uploads.held_bytes <= 100_000 and 1 <= len(client.server.uploads) < 8


# --- hostile pictures ------------------------------------------------------------------------


def png_of(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(40)))


HOSTILE = {
    "empty": (b"", "empty"),
    "text": (b"Dear diary", "not a picture"),
    "html": (b"<script>alert(1)</script>", "not a pic"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "not a picture"),
    "monster": (png_of(50_000, 50_000), "50000 x 50000"),
    "zeros": (b"\x89PNG\r\n\x1a\n" + bytes(500), "PNG"),
    "cut": (png_of(64, 64), "PNG"),
    "noise": (np.random.default_rng(0).bytes(4000), "not a picture"),
    "webp": (b"RIFF\xff\xff\xff\xffWEBPVP8X" + bytes([10, 0, 0, 0, 0, 0, 0, 0]) + b"\xff" * 6, "WEBP"),
    "heif": (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(200), "HEIF"),
    "tiff": (b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 300, "TIFF"),
    "gif": (b"GIF89a" + b"\xff" * 50, "GIF"),
    "zero side": (png_of(0, 10), "PNG"),
    "raw": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(100), "raw"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_picture_is_refused_with_its_reason(client, name):
    data, words = HOSTILE[name]
    body = refused(client.post("/api/uploads", content=data), 422)
    assert words.lower() in body["detail"].lower() or body["error"] == "ImageTooLarge", body
    refused(
        client.post("/api/search", data={"request": json.dumps({"query": "[image:a] red"})}, files={"a": data}), 422
    )
    assert client.post("/api/search", json={"query": "red"}).status_code == 200


# --- requests that make no sense -------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"query": 5}',
        b'{"parts": []}',
        b'{"query": "red", "parts": [{"text": "x"}]}',
        b'{"query": "red", "limit": 0}',
        b'{"query": "red", "limit": 100000}',
        b'{"query": "red", "ground": "deep"}',
        b'{"parts": [{"text": "x", "weight": 2}]}',
        b'{"parts": [{"entity": "x", "box": [0, 0, 1, 1]}]}',
        b'{"parts": [{"photo": -1}]}',
        b'{"parts": [{"photo": 99999999999999999999}]}',
        b'{"parts": [{"region": "1"}]}',
        b'{"parts": [{"entity": "x", "weight": 0}]}',
        b'{"parts": [{"entity": "x", "weight": Infinity}]}',
        b'{"query": "red", "filters": {"near": [95, 0, 1]}}',
        b'{"query": "red", "filters": {"after": "yesterday"}}',
        b'{"query": "red", "nonsense": 1}',
        b'{"parts": [{"entity": "   "}]}',
        b'{"query": "-[red]"}',
        b'{"query": "[red"}',
        b'{"query": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_request_that_makes_no_sense_is_told_why(client, body):
    answer = client.post("/api/search", content=body, headers={"Content-Type": "application/json"})
    if body == b'{"query": "\\ud800"}':
        assert answer.status_code in (200, 422)
    else:
        refused(answer, 422)


def test_a_query_that_does_not_parse_is_pointed_at(client):
    body = refused(client.post("/api/search", json={"query": "a [dog] on]"}), 422)
    line, caret = body["pointer"].split("\n")
    assert line[caret.index("^")] == "]" and body["column"] == 10


def test_what_is_not_in_the_index_is_not_found(client):
    refused(client.post("/api/search", json={"query": "[photo:99]"}), 404, "99")
    refused(client.post("/api/search", json={"parts": [{"region": "1/99"}]}), 404)
    refused(client.get("/api/nothing"), 404)
    refused(client.get("/api/photos/0"), 422)
    refused(client.put("/api/search"), 405)
    refused(client.post("/api/search", content=b"x", headers={"Content-Type": "text/plain"}), 415)
