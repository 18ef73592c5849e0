"""Make the picture of the README from the demo's index: one question as a page, shot by a headless browser.

    make demo && .venv/bin/python tools/picture_of_report.py

Only the demo's own photos come into it. Needs Chromium (or Chrome) on the path.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from interleave_index import Index
from interleave_index.demo.run import questions
from interleave_index.export.asked import query_pictures
from interleave_index.export.page import Section, write_report

WIDTH, TALLEST = 1280, 2400
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of a demo that has run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/report.png"))
    parser.add_argument("--question", type=int, default=4, help="1 to 5")
    parser.add_argument("--hits", type=int, default=4)
    args = parser.parse_args()
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is on the path, expected one to render the page")

    pictures = {path.stem: path for path in (args.demo / "queries").iterdir()}
    question = questions(pictures)[args.question - 1]
    with tempfile.TemporaryDirectory() as folder, Index.open(args.demo / "index") as index:
        answer = index.search(question.query, args.hits, ground="exact")
        section = Section(answer, question.heading, question.note, query_pictures(question.query, index.load_picture))
        page = write_report([section], Path(folder) / "page.html", title="interleave-index", load_pixels=index.pixels)
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--window-size={WIDTH},{TALLEST}",
                f"--screenshot={shot}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        with Image.open(shot) as picture:
            whole = picture.convert("RGB")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    _without_empty_rows_below(whole).quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size // 1024} KiB")


def _without_empty_rows_below(picture: Image.Image) -> Image.Image:
    ground = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))  # type: ignore[arg-type]
    box = ImageChops.difference(picture, ground).getbbox() or (0, 0, *picture.size)
    return picture.crop((0, 0, picture.width, min(picture.height, box[3] + 24)))


if __name__ == "__main__":
    main()
