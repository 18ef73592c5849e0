"""Who may ask, how much at once, and what a hostile request or picture gets."""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

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


# --- cookies, guesses, methods, files --------------------------------------------------------


def test_cookies_of_other_programs_at_the_same_host_change_nothing(make_server, token):
    client = make_server(token=token)
    mine = client.post("/api/session", json={"token": token}).headers["set-cookie"].split(";")[0]
    assert mine.startswith("interleave_session_8765=")
    client.cookies.clear()
    for others in ('prefs={"a": [1, 2]}', "x=a b,c", "=;;=", "a[b]=1", "interleave_session_9000=of-another-server"):
        for header in (f"{others}; {mine}", f"{mine}; {others}"):
            assert client.get("/api/status", headers={"Cookie": header}).status_code == 200, header
        refused(client.get("/api/status", headers={"Cookie": others}), 401)


def test_guessing_a_token_becomes_slow_and_a_session_stays_open(make_server, token):
    client = make_server(token=token)
    cookie = client.post("/api/session", json={"token": token}).headers["set-cookie"].split(";")[0]
    client.cookies.clear()
    statuses = [
        client.get("/api/status", headers={"Authorization": f"Bearer wrong-{number}"}).status_code
        for number in range(30)
    ]
    assert statuses.count(401) == 10 and statuses.count(429) == 20
    late = client.get("/api/session", headers={"Authorization": f"Bearer {token}"})
    refused(late, 429, "wrong tokens")
    assert int(late.headers["retry-after"]) >= 1
    assert client.get("/api/status", headers={"Cookie": cookie}).status_code == 200


def test_wrong_tokens_from_everywhere_do_not_lock_out_who_was_right_before():
    from interleave_index.web.guesses import OF_ALL, SECONDS_OF_ALL, Guesses
    from interleave_index.web.problems import Refused

    now = [0.0]
    guesses = Guesses(lambda: now[0])
    guesses.was_right("owner")
    for number in range(OF_ALL):
        guesses.check(f"stranger {number}")
        guesses.was_wrong(f"stranger {number}")
    with pytest.raises(Refused, match="too many wrong tokens"):
        guesses.check("another")
    guesses.check("owner")
    now[0] += 2 * SECONDS_OF_ALL
    guesses.check("another")


def test_a_wrong_method_is_told_the_right_ones(client):
    answer = client.put("/api/search")
    refused(answer, 405, "GET", "POST")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert client.delete("/api/photos/1").headers["allow"] == "GET, HEAD, OPTIONS"
    options = client.options("/api/uploads")
    assert (options.status_code, options.headers["allow"]) == (204, "OPTIONS, POST")


def test_head_gives_the_headers_of_get_and_no_body(client):
    for path in ("/", "/api/status", "/api/photos/1/thumbnail", "/api/photos/1/original", "/static/app.js"):
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert {name: head.headers[name] for name in get.headers} == dict(get.headers), path


def test_originals_are_given_in_parts_and_only_once(client):
    photo = client.get("/api/photos/1").json()
    with open(photo["path"], "rb") as file:
        data = file.read()
    whole = client.get("/api/photos/1/original")
    tag = whole.headers["etag"]
    assert whole.content == data and whole.headers["accept-ranges"] == "bytes"
    for asked, wanted in (("bytes=0-9", data[:10]), ("bytes=20-", data[20:]), ("bytes=-7", data[-7:])):
        part = client.get("/api/photos/1/original", headers={"Range": asked})
        assert (part.status_code, part.content) == (206, wanted), asked
        assert part.headers["content-range"].endswith(f"/{len(data)}")
    assert part.headers["content-range"] == f"bytes {len(data) - 7}-{len(data) - 1}/{len(data)}"
    beyond = client.get("/api/photos/1/original", headers={"Range": f"bytes={len(data)}-"})
    refused(beyond, 416)
    assert beyond.headers["content-range"] == f"bytes */{len(data)}"
    for odd in ("bytes=5-1", "lines=1-2", "bytes=0-1,4-5", "bytes=-"):
        assert client.get("/api/photos/1/original", headers={"Range": odd}).status_code == 200
    for known, status in ((tag, 206), ('"another"', 200)):
        got = client.get("/api/photos/1/original", headers={"Range": "bytes=0-3", "If-Range": known})
        assert got.status_code == status
    assert whole.headers["cache-control"] == "private, no-cache"  # asked again each time: the file may have gone
    for header in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        again = client.get("/api/photos/1/original", headers={"If-None-Match": header})
        assert (again.status_code, again.content) == (304, b"")


def test_a_fifo_in_the_place_of_a_photo_is_not_opened(client, drawn_photos, tmp_path, encoded):
    """Every route that would read the photo answers at once."""
    import os
    import time

    from interleave_index.service import Index

    state = client.server
    mine = tmp_path / "mine.png"
    mine.write_bytes(encoded(drawn_photos.red_disc.rgb[:50]))
    with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
        index.ingest(mine)
    number = client.get("/api/photos", params={"limit": 1}).json()["photos"][0]["id"]
    mine.unlink()
    os.mkfifo(mine)
    started = time.monotonic()
    assert client.get(f"/api/photos/{number}/original").status_code == 410
    assert client.get(f"/api/photos/{number}/display").status_code == 200  # made of the thumbnail
    assert client.post("/api/ground", json={"photo": number, "query": "[red]"}).status_code == 200
    asked = {"parts": [{"photo": number, "box": [0, 0, 20, 20]}], "ground": "exact"}
    assert client.post("/api/search", json=asked).status_code == 200
    assert client.post("/api/heat", json={"photo": number, "query": "[red]"}).status_code == 200
    assert time.monotonic() - started < 10


def test_a_disk_that_does_not_answer_costs_its_own_requests_and_no_others(make_server, monkeypatch):
    import threading

    client = make_server(file_seconds=0.2)
    back = threading.Event()
    monkeypatch.setattr("interleave_index.web.photos._made", lambda *_: (back.wait(20), b"")[1])
    try:
        for _ in range(8):
            refused(client.get("/api/photos/1/display"), 503, "disk with the photos")
        assert client.get("/api/photos/1").status_code == 200
        assert client.post("/api/search", json={"query": "red"}).status_code == 200
    finally:
        back.set()


def test_uploads_and_searches_go_when_their_time_is_over(client, drawn_photos, encoded, monkeypatch):
    client.post("/api/uploads", content=encoded(drawn_photos.red_disc.rgb))
    search = client.post("/api/search", json={"query": "red"}).json()["search"]
    state = client.server
    state.uploads.sweep()
    state.searches.sweep()
    assert len(state.uploads) == 1
    monkeypatch.setattr("interleave_index.web.uploads.KEPT_SECONDS", -1.0)
    monkeypatch.setattr("interleave_index.web.searches.KEPT_SECONDS", -1.0)
    state.uploads.sweep()
    state.searches.sweep()
    assert len(state.uploads) == 0
    refused(client.post("/api/export", json={"search": search, "form": "paths"}), 410)


def test_uploads_under_way_are_bounded_for_one_client_and_for_all():
    from interleave_index.web.intake import Intake
    from interleave_index.web.problems import Refused

    intake = Intake(100)
    for client in ("a", "b", "b", "c"):
        intake.begin(client)
    intake.take("a", 70)  # its only request
    intake.take("b", 25)
    for client, count in (("b", 1), ("c", 6)):
        with pytest.raises(Refused, match="too many uploads"):
            intake.take(client, count)
    intake.end("a", 70)
    intake.take("c", 60)
    assert intake.held == 85


def test_searches_of_one_client_do_not_push_out_those_of_another(client, monkeypatch):
    from interleave_index.grammar import Query
    from interleave_index.records import Filters
    from interleave_index.web.problems import Refused
    from interleave_index.web.searches import Searches

    monkeypatch.setattr("interleave_index.web.searches.HELD", 6)
    searches = Searches()

    def begin(who):
        return searches.begin(Query("red"), Filters(), None, "auto", fold=True, client=who).name

    mine = [begin("me"), begin("me")]
    theirs = [begin("them") for _ in range(20)]
    assert [searches.get(name).name for name in mine] == mine
    assert [searches.get(name).name for name in theirs[-4:]] == theirs[-4:]
    with pytest.raises(Refused):
        searches.get(theirs[0])


def test_the_log_keeps_its_length_under_attack(caplog):
    import logging

    from interleave_index.web.logs import RECORDS, TRACEBACKS, Sparing

    now = [0.0]
    log = logging.Logger("attacked")
    log.addHandler(caplog.handler)
    log.addFilter(Sparing(lambda: now[0]))
    for number in range(100):
        try:
            raise ValueError(f"number {number}")
        except ValueError as error:
            log.error("failed", exc_info=error)
    assert len(caplog.records) == RECORDS
    assert sum(record.exc_info is not None for record in caplog.records) == TRACEBACKS
    assert "number 7" in caplog.records[7].getMessage()
    now[0] = 61
    log.error("calm")
    assert f"{100 - RECORDS} more" in caplog.records[-1].getMessage()


@pytest.mark.parametrize(
    ("after", "count"), [("2024", 1), (2024, 1), ("20240731", 1), ("2015-07", 2), ("2025", 0), ("2024-07-31T13:00", 0)]
)
def test_a_date_means_what_it_means_on_the_command_line(make_server, tmp_path, draw, after, count):
    from PIL import Image

    from interleave_index.service import Index

    client = make_server()
    state = client.server
    for year in (2015, 2024):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"{year}:07:31 12:00:00"
        picture = Image.fromarray(draw.paint({"red": draw.rectangle(10, 10, 60 + year % 30, 50)}))
        picture.save(tmp_path / f"{year}.jpg", exif=exif)
    with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
        index.ingest([tmp_path / "2015.jpg", tmp_path / "2024.jpg"])
    asked = {"query": "red", "filters": {"after": after}, "stacks": False}
    assert len(client.post("/api/search", json=asked).json()["hits"]) == count
    for wrong in ("yesterday", "2024-13", "2024-01-01T00:00:00Z", 1722400000, 0, True, [2024], "99999999"):
        refused(client.post("/api/search", json={"query": "red", "filters": {"after": wrong}}), 422, "after")


def test_pictures_that_are_sent_never_lie_on_the_disk(client, drawn_photos, monkeypatch):
    """A picture of several MiB, alone and beside a query, both in a form: no file is made for it."""
    from tempfile import SpooledTemporaryFile

    def refuse(_):
        raise AssertionError("a picture was written to the disk")

    monkeypatch.setattr(SpooledTemporaryFile, "rollover", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (1100, 1100, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(file.getvalue()) > 3 * 2**20
    assert client.post("/api/uploads", files={"file": ("large.png", file.getvalue())}).status_code == 201
    request = json.dumps({"parts": [{"upload": "a"}, {"text": "red"}]})
    answer = client.post("/api/search", data={"request": request}, files={"a": ("large.png", file.getvalue())})
    assert answer.status_code == 200 and answer.json()["hits"]


def test_a_file_that_is_gone_is_gone_for_those_who_had_it_too(client, drawn_photos, tmp_path, encoded):
    from interleave_index.service import Index

    state = client.server
    mine = tmp_path / "mine.png"
    mine.write_bytes(encoded(drawn_photos.red_disc.rgb[:50]))
    with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
        index.ingest(mine)
    number = client.get("/api/photos", params={"limit": 1}).json()["photos"][0]["id"]
    tag = client.get(f"/api/photos/{number}/original").headers["etag"]
    mine.unlink()
    assert client.get(f"/api/photos/{number}/original", headers={"If-None-Match": tag}).status_code == 410


def test_a_page_of_photos_costs_as_many_readings_of_the_catalog_whatever_its_length(client):
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    asked = []

    def count(*words):
        asked.append(words[2])

    event.listen(Engine, "before_cursor_execute", count)
    try:
        counts = []
        for limit in (1, 6):
            client.get("/api/photos", params={"limit": limit})
            asked.clear()
            assert len(client.get("/api/photos", params={"limit": limit}).json()["photos"]) == limit
            counts.append(len(asked))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert counts[0] == counts[1]
