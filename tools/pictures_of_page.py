"""Make the pictures of docs/page.md from the demo's photos: a server, a headless browser, the states worth showing.

    make demo && .venv/bin/python tools/pictures_of_page.py

Only the demo's own photos come into it. Needs Chromium (or Chrome) on the path, and the extra `web`.
"""

import argparse
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from interleave_index import Config, Index
from interleave_index.web.serve import serve
from interleave_index.web.settings import ServeSettings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 780}

NOTES = """\
# A year by the water

In the morning a white sailing boat lay before the mountains ![](sailing-boat-by-day.jpg) and in the evening it was
still there, dark against the sky. ![](sailing-boat-by-night.jpg)

# On the road

We took the red car ![](red-car.jpg) up to the lake ![](mountain-lake.jpg) and slept in a house in the snow.
![](house-in-snow.jpg)

# In the air

At dusk balloons rose over the field. ![](balloons-at-dusk.jpg)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of a demo that has run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    args = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the path, expected one to render the page")
    photos = Path(tempfile.gettempdir()) / "Pictures"  # its name is in the pictures
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(args.demo / "photos", photos)
        with Index.open(f"{folder}/index", create=True) as index:
            index.ingest(photos)
        addresses: list[str] = []
        ready, stop = threading.Event(), threading.Event()

        def listening(address: str) -> None:
            addresses.append(address)
            ready.set()

        settings = ServeSettings(port=0, roots=(photos,))
        index_at = f"{folder}/index"
        server = threading.Thread(target=lambda: serve(index_at, Config(), settings, ready=listening, stop=stop))
        server.start()
        try:
            ready.wait(120)
            with sync_playwright() as driver:
                started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
                shoot(started, addresses[0], args.demo, args.out)
                (photos / "notes.md").write_text(NOTES, encoding="utf-8")
                with Index.open(index_at) as index:
                    index.ingest(photos)
                shoot_texts(started, addresses[0], args.out)
                started.close()
        finally:
            stop.set()
            server.join()
            shutil.rmtree(photos)


def shoot(browser: Any, address: str, demo: Path, out: Path) -> None:
    """The states, in the order of the page that describes them."""
    page = opened(browser, address, viewport=DESKTOP)
    page.set_input_files("#compose input[type=file]", demo / "queries" / "harbour.jpg")
    page.wait_for_selector(".chip.of-picture")
    page.click(".chip.of-picture")
    page.click(".menu >> text=Mark a part")
    page.wait_for_timeout(1500)
    place = page.locator(".marker .stage img").bounding_box()
    page.mouse.move(place["x"] + 3, place["y"] + 3)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] - 3, place["y"] + place["height"] * 0.3, steps=4)
    with page.expect_response("**/api/ground", timeout=60_000):
        page.mouse.up()
    page.wait_for_timeout(800)
    shot(page, out / "page-mark.png")
    page.click("#use-part")
    page.locator(".words").last.fill("over mountains")
    ask(page)
    shot(page, out / "page-hits.png")
    page.click("#wipe")
    page.fill(".words", "[a boat] under [the sky]")
    ask(page)
    page.locator(".card .open").first.click()
    page.wait_for_selector("#all-regions")
    place = page.locator(".viewer .stage img").bounding_box()
    page.mouse.click(place["x"] + place["width"] * 0.5, place["y"] + place["height"] * 0.55)
    page.wait_for_selector(".picked")
    page.wait_for_timeout(1200)
    shot(page, out / "page-viewer.png")
    dark = opened(browser, address, viewport=PHONE, color_scheme="dark", is_mobile=True, has_touch=True)
    dark.fill(".words", "[a boat] under [the sky]")
    ask(dark)
    shot(dark, out / "page-phone.png")


def shoot_texts(browser: Any, address: str, out: Path) -> None:
    """Texts and photos that answer one query."""
    page = opened(browser, address, viewport=DESKTOP)
    page.locator("#target input[value=both]").check(force=True)
    page.fill(".words", "[a boat] under [the sky]")
    ask(page)
    shot(page, out / "page-texts.png")


def opened(browser: Any, address: str, **options: Any) -> Any:
    """The page in a context of its own, ready."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(60_000)
    page.goto(address)
    page.wait_for_selector("[data-ready]")
    return page


def ask(page: Any) -> None:
    """Search, and wait until the masks are painted."""
    with page.expect_response(lambda answer: answer.url.endswith("/api/search")):
        page.locator(".words").last.press("Enter")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)


def shot(page: Any, path: Path) -> None:
    """A picture of few colours, small enough to be kept."""
    page.mouse.move(0, 0)  # nothing is pointed at
    page.wait_for_timeout(300)
    page.screenshot(path=path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, kmeans=3, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
