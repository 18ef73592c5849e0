"""Pulling models from a hub: a small server on this machine serves the hub's protocol."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from interleave_index.errors import ModelError, WeightsMissing
from interleave_index.models.hub import local
from interleave_index.models.hub.pull import pull

pytest.importorskip("huggingface_hub")
COMMIT, NAME = "a" * 40, "someone/tiny-clip"
CARD = "---\nlicense: apache-2.0\ntags:\n- x\n---\n# Tiny\n"
FILES = {
    "config.json": json.dumps({"model_type": "clip", "projection_dim": 24}).encode(),
    "README.md": CARD.encode(),
    "model.safetensors": bytes(range(256)) * 8192,
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"pickled",
    "onnx/model.onnx": b"other form",
    "flax_model.msgpack": b"other form",
    "train.py": b"print('no')",
}


class Server(ThreadingHTTPServer):
    """Carries what its pages are made of."""

    place: "Place"


class Hub(BaseHTTPRequestHandler):
    """The few pages of a hub that a pull asks for."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        place = self.server.place
        place.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if "/api/models/" in self.path:
            known = NAME in self.path and not place.guarded
            found = self.tree() if "/tree/" in self.path else self.facts()
            return self.reply(200, json.dumps(found).encode()) if known else self.refuse()
        file = re.sub(rf"^/{NAME}/resolve/[^/]+/", "", self.path.split("?")[0])
        data = place.files[file]
        etag = hashlib.sha256(FILES[file]).hexdigest() if file == "model.safetensors" else git_sha(FILES[file])
        start = int(m[1]) if (m := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
        if start and place.refuse_ranges:
            return self.reply(503, b"busy")
        cut = place.cut if file == "model.safetensors" and body else None
        self.reply(
            206 if start else 200,
            data[start:],
            {
                "ETag": f'"{etag}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{etag}"',
                **({"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}),
            },
            body,
            cut,
        )

    def refuse(self):
        code = {"X-Error-Code": "GatedRepo"} if self.server.place.guarded else {"X-Error-Code": "RepoNotFound"}
        self.reply(403 if self.server.place.guarded else 404, b"{}", {**code, "X-Error-Message": "no"})

    def facts(self):
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": git_sha(data),
                **(
                    {"lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
                    if name == "model.safetensors"
                    else {}
                ),
            }
            for name, data in FILES.items()
        ]
        return {
            "id": NAME,
            "modelId": NAME,
            "sha": COMMIT,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 1,
            "likes": 0,
            "tags": [],
            "siblings": siblings,
            "cardData": {"license": "apache-2.0"},
        }

    def tree(self):
        return [{"type": "file", "path": name, "size": len(data), "oid": git_sha(data)} for name, data in FILES.items()]

    def reply(self, status, data, headers=None, body=True, cut=None):
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(data)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data[:cut])
            if cut is not None:
                self.close_connection = True


class Place:
    """What the server holds, how it behaves, and what it was asked."""

    def __init__(self):
        self.files, self.asked, self.guarded, self.cut = dict(FILES), [], False, None
        self.refuse_ranges = False


def git_sha(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A hub on this machine, and a home of its own for what is pulled."""
    server = Server(("127.0.0.1", 0), Hub)
    server.place = Place()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv(local.HOME_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "shared"))
    yield server.place
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_pull_takes_what_loading_needs_and_keeps_checksums_and_licence(place):
    found = pull(NAME)
    taken = {file.name for file in found.folder.iterdir() if file.is_file()}
    assert taken == {"config.json", "README.md", "model.safetensors", "tokenizer.json", "pulled.json"}
    assert found.files["model.safetensors"] == hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    assert (found.name, found.revision, found.licence) == (NAME, COMMIT, "apache-2.0")
    assert local.find(NAME) == found.folder == local.folder_of(NAME)
    assert local.pulled() == [NAME] and local.damaged(found) == []
    (found.folder / "config.json").write_text("{}")
    assert local.damaged(found) == ["config.json"]


def test_a_pull_that_was_cut_short_is_not_used_and_goes_on_where_it_stopped(place):
    place.cut, place.refuse_ranges = 1_000_000, True
    with pytest.raises(WeightsMissing, match=r"could not be pulled.*run the same command again to go on"):
        pull(NAME)
    with pytest.raises(WeightsMissing, match=r"pulled only in part; get it with: interleave-index models pull"):
        local.find(NAME)
    assert local.pulled() == []
    place.cut, place.asked, place.refuse_ranges = None, [], False
    found = pull(NAME)
    assert (found.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    weights = [line for line in place.asked if line.startswith("GET") and "model.safetensors" in line]
    assert len(weights) == 1 and weights[0].endswith("bytes=1000000-")
    assert not any(line.startswith("GET") and "tokenizer.json" in line for line in place.asked)


def test_a_connection_that_breaks_is_taken_up_again_within_one_pull(place):
    place.cut = 1_000_000
    updates = []
    found = pull(NAME, progress=lambda done, total, file: updates.append((done, total)))
    assert (found.folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    ranges = [line.split()[-1] for line in place.asked if "bytes=" in line]
    assert ranges == ["bytes=1000000-", "bytes=2000000-"]
    assert updates == sorted(updates) and updates[-1][0] == updates[-1][1]


def test_weights_that_are_not_what_the_hub_promised_are_thrown_away(place):
    place.files["model.safetensors"] = bytes(len(FILES["model.safetensors"]))
    with pytest.raises(ModelError, match="another checksum than the hub promises"):
        pull(NAME)
    assert local.pulled() == [] and not (local.folder_of(NAME) / "model.safetensors").exists()


def test_pulling_again_fetches_no_file_twice(place):
    pull(NAME)
    place.asked = []
    pull(NAME)
    assert not any(line.startswith("GET") and "/resolve/" in line for line in place.asked)


@pytest.mark.parametrize(
    ("name", "guarded", "words"),
    [
        ("someone/else", False, r"no model someone/else"),
        (NAME, True, r"guarded: accept its licence"),
        ("./folder", False, "expected owner/name"),
    ],
)
def test_a_name_that_cannot_be_pulled_is_one_clear_error(place, name, guarded, words):
    place.guarded = guarded
    with pytest.raises(WeightsMissing, match=words):
        pull(name)


def test_offline_asks_nobody(place):
    with pytest.raises(ModelError, match="cannot be pulled offline"):
        pull(NAME, offline=True)
    with pytest.raises(WeightsMissing, match=f"interleave-index models pull {NAME}"):
        local.find(NAME)
    assert place.asked == []


def test_a_hub_that_is_out_of_reach_is_one_clear_error(place, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsMissing, match="could not be pulled"):
        pull(NAME)


def test_measured_speeds_are_remembered_by_model_device_and_precision(place):
    for speed, dtype in ((1.0, "float32"), (9.0, "bfloat16"), (2.0, "float32")):
        local.keep_speed(local.Speed("abc", "cpu", dtype, speed, "2026-01-01T00:00:00"))
    assert {(row.dtype, row.photos_per_s) for row in local.speeds()} == {("float32", 2.0), ("bfloat16", 9.0)}


def test_a_model_in_the_cache_of_other_programs_is_found_if_it_is_whole(place, tmp_path):
    repository = tmp_path / "shared" / "models--someone--tiny-clip"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_bytes(FILES["config.json"])
    with pytest.raises(WeightsMissing, match="is not on this machine"):
        local.find(NAME)
    (snapshot / "model.safetensors").write_bytes(FILES["model.safetensors"])
    assert local.find(NAME) == snapshot
    assert place.asked == []


def test_the_command_pulls_and_tells_where_it_is(place, capsys, tmp_path):
    from interleave_index.cli import main

    with pytest.raises(SystemExit) as end:
        main(["models", "pull", NAME, "--json", "--index", str(tmp_path / "none")])
    shown = json.loads(capsys.readouterr().out)
    assert end.value.code == 0 and shown["folder"] == str(local.folder_of(NAME)) and shown["licence"] == "apache-2.0"
    assert set(shown["files"]) == {"config.json", "README.md", "model.safetensors", "tokenizer.json"}
    with pytest.raises(SystemExit) as end:
        main(["models", "pull", "someone/else"])
    assert end.value.code == 1 and capsys.readouterr().err.startswith("error: the hub has no model someone/else")
