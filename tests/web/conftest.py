"""A server over the drawn photos, in this process, asked by ASGI."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import shutil
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `web` is not installed")

from PIL import Image
from starlette.testclient import TestClient

from interleave_index.config import Config
from interleave_index.interface.toy import ToyInterface
from interleave_index.records import RGB
from interleave_index.service import Index
from interleave_index.web.app import create_app
from interleave_index.web.serve import serve
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
    """Make a client of a server over a copy of the drawn photos, or another index; settings are `ServeSettings`'s."""
    opened: list[TestClient] = []

    def make(build: Callable[[], Any] = ToyInterface, index: Path = _ingested, **settings: Any) -> TestClient:
        folder = tmp_path / f"served-{len(opened)}"
        shutil.copytree(index, folder)
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


HOSTILE = "<img src=x onerror=\"document.title='taken'\"> of <b>Ilse</b>"
PAGE = """\
---
title: Shapes & <i>things</i>
lang: en
---

# Round things

\N{DOG FACE} A red disc ![](red_disc.png) lies beside a blue triangle ![](blue_triangle.png) on white paper.

# Square things

A green square stands alone ![](green_square.png), and one ![far away](gone.png) is not here.
"""


@pytest.fixture(scope="session")
def texts_folder(drawn_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn photos with a page, a note in a sidecar that looks like HTML, and a file of captions beside them."""
    folder = tmp_path_factory.mktemp("noted")
    for path in sorted(drawn_photos.folder.iterdir()):
        shutil.copy(path, folder)
    (folder / "page.md").write_text(PAGE, "utf-8")
    (folder / "purple_stripe.txt").write_text(HOSTILE, "utf-8")
    captions = [{"file": "yellow_disc_on_black.png", "text": "a yellow disc in the night"}]
    (folder / "captions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in captions), "utf-8")
    return folder


@pytest.fixture(scope="session")
def texts_index(texts_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of these photos and texts, by the toy."""
    place = tmp_path_factory.mktemp("noted-index") / "index"
    config = Config().with_flags(models_interface="toy", ingest_workers=0)
    with Index.open(place, config=config, interface=ToyInterface(), create=True) as index:
        index.ingest(texts_folder)
    return place


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


@pytest.fixture(scope="session")
def run_to_end() -> Callable[[Callable[[], Coroutine[Any, Any, None]]], None]:
    """Run a coroutine function in an event loop of its own, in a thread: that of the browser runs in this one."""

    def run_to_end(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(story())).result(120)

    return run_to_end


# --- a real browser --------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Report failures without a collection of garbage in between; it takes a second, which what passes does not pay.

    Playwright leaves greenlets behind; when one dies while pytest parses the source of a failed test, CPython 3.11
    loses count of its stack and the whole session ends (SystemError: AST constructor recursion depth mismatch).
    """
    if call.excinfo is None:
        return (yield)
    gc.collect()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless, driven by Playwright; skips where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no test of the page")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(
            "no browser: none of " + ", ".join(BROWSERS) + " is on the path; on Debian, apt-get install chromium"
        )
    with playwright.sync_playwright() as driver:
        # Root, as in a container, may not make the sandbox; pages come from this test's own server.
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def serve_page(_ingested: Path, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Serve a copy of the drawn photos (or another index) at a free port; gives the address."""
    running: list[tuple[threading.Event, threading.Thread]] = []

    def start(index: Path = _ingested, **settings: Any) -> str:
        folder = tmp_path / f"paged-{len(running)}"
        shutil.copytree(index, folder)
        ready, stop, addresses = threading.Event(), threading.Event(), list[str]()
        config = Config().with_flags(models_interface="toy", ingest_workers=0)

        def listening(address: str) -> None:
            addresses.append(address)
            ready.set()

        def run() -> None:
            serve(str(folder), config, ServeSettings(port=0, **settings), stop=stop, ready=listening)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        running.append((stop, thread))
        assert ready.wait(60)
        return addresses[0]

    yield start
    for stop, thread in running:
        stop.set()
        thread.join(30)


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address; what the page's console says against it fails the test."""
    opened: list[tuple[Any, list[str]]] = []

    def new(
        address: str, wait: str = "[data-ready]", before: Callable[[Any], None] | None = None, **options: Any
    ) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 860}} | options))
        page = context.new_page()
        trouble: list[str] = []
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.set_default_timeout(20_000)
        opened.append((context, trouble))
        page.trouble = trouble
        if before is not None:
            before(page)
        page.goto(address)
        page.wait_for_selector(wait)
        return page

    yield new
    for context, _ in opened:
        context.close()
    assert [words for _, trouble in opened for words in trouble] == []
