"""Make the coastline of the page's map from Natural Earth's land, 1:50 million, which is in the public domain.

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python tools/coastline.py package/land-50m.json

Lines are simplified (Douglas and Peucker 1973), small islands fall away, places are rounded to hundredths of a degree.
"""

import argparse
import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Line = NDArray[np.float64]  # (N, 2) longitude, latitude
OUT = Path(__file__).parent.parent / "interleave_index" / "web" / "static" / "coastline.js"
STEPS = 100  # of a degree
HEAD = """\
// Coastlines of the world for the map. Made by tools/coastline.py from Natural Earth's land at 1:50 million
// (https://www.naturalearthdata.com), which is in the public domain, as packed in the npm package world-atlas 2.0.2:
//
// {licence}
//
// LAND is base64 of one list of numbers: for each ring its count of points, then of each point the steps of
// 1/{steps} degree from the point before (longitude, latitude), the first of all from 0, 0. A number is written 7 bits
// a byte, low bits first, the eighth bit says that more follow; its sign is the lowest bit.
export const STEPS = {steps};
export const LAND = "{data}";
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("land", type=Path, help="land-50m.json, with the package's LICENSE beside it")
    parser.add_argument("--tolerance", type=float, default=0.05, help="degrees that a line may be off")
    parser.add_argument("--smallest", type=float, default=0.03, help="square degrees of the smallest island")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rings = [simplified(ring, args.tolerance) for ring in rings_of(json.loads(args.land.read_text()))]
    kept = [ring for ring in rings if len(ring) > 3 and abs(area(ring)) >= args.smallest]
    licence = (args.land.parent / "LICENSE").read_text().strip().replace("\n", "\n// ").replace("// \n", "//\n")
    data = base64.b64encode(packed(kept)).decode("ascii")
    args.out.write_text(HEAD.format(licence=licence, steps=STEPS, data=data))
    points = sum(len(ring) for ring in kept)
    print(f"{len(kept)} of {len(rings)} rings, {points} points, {args.out.stat().st_size / 1024:.1f} KiB")


def rings_of(topology: dict[str, Any]) -> list[Line]:
    """Every ring of a TopoJSON file's object `land`; the last point is the first again."""
    scale, translate = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + translate for arc in topology["arcs"]]

    def line(numbers: list[int]) -> Line:
        pieces = [arcs[n] if n >= 0 else arcs[~n][::-1] for n in numbers]
        return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])

    found: list[Line] = []
    for shape in topology["objects"]["land"]["geometries"]:
        polygons = shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]]
        found += [line(ring) for polygon in polygons for ring in polygon]
    return found


def simplified(line: Line, tolerance: float) -> Line:
    """The points without which the line would be off by more than the tolerance.

    Source: Douglas and Peucker (1973).
    """
    kept = np.zeros(len(line), bool)
    kept[[0, len(line) // 2, -1]] = True  # a ring begins where it ends: its middle holds it open
    open_spans = [(0, len(line) // 2), (len(line) // 2, len(line) - 1)]
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        between = line[first + 1 : last]
        along = line[last] - line[first]
        length = np.hypot(*along)
        beside = between - line[first]
        distance = np.abs(along[0] * beside[:, 1] - along[1] * beside[:, 0]) / length if length else np.hypot(*beside.T)
        if distance.max() > tolerance:
            farthest = first + 1 + int(distance.argmax())
            kept[farthest] = True
            open_spans += [(first, farthest), (farthest, last)]
    return line[kept]


def area(ring: Line) -> float:
    """Square degrees inside, by the shoelace formula; the sign tells the direction."""
    x, y = ring.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def packed(rings: list[Line]) -> bytes:
    """The rings as the head of the written file describes them."""
    numbers: list[int] = []
    before = np.zeros(2, np.int64)
    for ring in rings:
        rounded = np.rint(ring * STEPS).astype(np.int64)
        steps = np.diff(np.concatenate([before[None], rounded]), axis=0)
        numbers += [len(ring), *steps.ravel().tolist()]
        before = rounded[-1]
    return b"".join(varint(number) for number in numbers)


def varint(number: int) -> bytes:
    """A whole number in few bytes where it is small."""
    rest = abs(number) << 1 | (number < 0)
    found = bytearray()
    while rest > 127:
        found.append(rest & 127 | 128)
        rest >>= 7
    found.append(rest)
    return bytes(found)


if __name__ == "__main__":
    main()
