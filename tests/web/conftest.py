"""A server over the drawn photos, in this process, asked through its ASGI door."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")

from PIL import Image
from starlette.testclient import TestClient

from interleave_index.config import Config
from interleave_index.interface.toy import ToyInterface
from interleave_index.records import RGB
from interleave_index.web.app import create_app
from interleave_index.web.settings import ServeSettings
from interleave_index.web.state import State

HOST = "http://127.0.0.1:8765"
TOKEN = "a-token-of-the-tests-0123456789"


def png(rgb: RGB) -> bytes:
    """The picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_server(_ingested: Path, tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Make a client of a server over a copy of the drawn photos; settings are those of `ServeSettings`."""
    opened: list[TestClient] = []

    def make(build: Callable[[], Any] = ToyInterface, **settings: Any) -> TestClient:
        folder = tmp_path / f"served-{len(opened)}"
        shutil.copytree(_ingested, folder)
        config = Config().with_flags(models_interface="toy", ingest_workers=0)
        state = State(str(folder), config, ServeSettings(**settings), build=build)
        client = TestClient(create_app(state), base_url=HOST, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        client.server = state  # type: ignore[attr-defined]
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_server: Callable[..., TestClient], drawn_photos: Any) -> TestClient:
    """A server with default settings, which may ingest below the folder of the drawn photos."""
    return make_server(roots=(drawn_photos.folder,))


@pytest.fixture
def ask(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Search by parts or by the string form; gives the JSON of the answer, which must be a good one."""

    def ask(*parts: Any, **more: Any) -> dict[str, Any]:
        body = {"query": parts[0]} if isinstance(parts[0], str) else {"parts": list(parts)}
        answer = client.post("/api/search", json=body | more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    return ask


@pytest.fixture(scope="session")
def encoded() -> Callable[[RGB], bytes]:
    """`png`: a picture as the bytes of a file."""
    return png


@pytest.fixture(scope="session")
def token() -> str:
    """A token that is long enough."""
    return TOKEN
