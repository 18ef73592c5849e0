"""Make the model card's picture of weaknesses: things asked of the demo's photos, and the masks that find-mini gives.

    make demo && .venv/bin/python tools/picture_of_masks.py

Only the demo's own photos come into it.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from interleave_index.export.masks import paint
from interleave_index.grammar import Query
from interleave_index.ingest.decode import decode
from interleave_index.interface.registry import load
from interleave_index.query.resolve import resolve

ASKED = (
    ("cat.png", "the eyes"),
    ("motorcycle.png", "a wheel"),
    ("coffee.png", "a spoon"),
    ("astronaut.png", "a rocket"),
    ("temple.jpg", "a person"),
    ("photographer.png", "a camera"),
    ("astronaut.png", "a helmet"),
    ("coins.png", "a coin"),
)
WIDE, HIGH, LINE, COLUMNS = 300, 220, 22, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="folder of a demo that has run")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/weaknesses.png"))
    parser.add_argument("asked", nargs="*", metavar="FILE=WORDS", help="instead of what the card shows")
    args = parser.parse_args()
    asked = [tuple(one.split("=", 1)) for one in args.asked] or ASKED
    model = load("find-mini", device="cpu")
    rows = -(-len(asked) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * WIDE, rows * (HIGH + LINE)), "white")
    for number, (file, words) in enumerate(asked):
        photo = decode((args.demo / "photos" / file).read_bytes()).rgb
        (found,) = model.ground(photo, resolve(Query.parse(f"[{words}]"), None, 0, Path).parts)
        cell = Image.fromarray(paint(photo, {0: found.mask.decode()}))
        cell.thumbnail((WIDE - 8, HIGH - 4))
        left, top = number % COLUMNS * WIDE, number // COLUMNS * (HIGH + LINE)
        sheet.paste(cell, (left + 4, top + LINE))
        ImageDraw.Draw(sheet).text((left + 6, top + 5), f"{words} ({found.score:.2f})", fill="black")
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
