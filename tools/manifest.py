"""Lists the photos that a model is trained on and proves that none of them is near a held-out one.

    python tools/manifest.py --held-out val-0.tar --out manifest.tsv.gz PACK.tar...

Writes a gzip'd table, one line a photo, tabs between: key, source, origin (repository and file where the record names
them), sha256 of the stored JPEG, 64-bit perceptual hash in hex, Hamming distance to the nearest held-out photo.
Any photo within `--distance` bits of a held-out one is listed, nothing is written and the exit status is 1. Sources
that training leaves out are left out here too.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interleave_index.ingest.phash import phash
from interleave_index.training.data import EXCLUDED_SOURCES, NEAR_HELD_OUT

HEADER = "key", "source", "origin", "sha256", "phash", "nearest_held_out"
DISTANCE = 8  # bits; unrelated photos differ in about 32, resized and recompressed copies in at most 4


class Line(NamedTuple):
    """One training photo; `nearest` is its Hamming distance to the closest held-out photo, 64 where there is none."""

    key: str
    source: str
    origin: str
    sha256: str
    hash: int
    nearest: int

    def text(self) -> str:
        columns = self.key, self.source, self.origin, self.sha256, f"{self.hash:016x}", str(self.nearest)
        return "\t".join(" ".join(column.split()) for column in columns)


def records(pack: Path) -> Iterator[tuple[dict[str, str], bytes]]:
    """Each photo's record and JPEG, in the order of the pack."""
    jpeg = b""
    with tarfile.open(pack) as tar:
        for member in tar:
            stream = tar.extractfile(member)
            data = stream.read() if stream else b""
            if member.name.endswith(".jpg"):
                jpeg = data
            else:
                yield json.loads(data), jpeg


def hashed(jpeg: bytes) -> int:
    with Image.open(io.BytesIO(jpeg)) as photo:
        return phash(photo.convert("RGB"))


def lines(pack: Path, held_out: NDArray[np.uint64]) -> Iterator[Line]:
    """The lines of one pack."""
    for record, jpeg in records(pack):
        if record["source"] in EXCLUDED_SOURCES or record["key"] in NEAR_HELD_OUT:
            continue
        value = hashed(jpeg)
        nearest = int(np.bitwise_count(held_out ^ np.uint64(value)).min(initial=64))
        origin = "/".join(part for part in (record.get("repository"), record.get("orig")) if part)
        yield Line(record["key"], record["source"], origin, hashlib.sha256(jpeg).hexdigest(), value, nearest)


def write(out: Path, table: list[Line]) -> None:
    """The same table gives the same bytes."""
    part = out.with_name(out.name + ".part")
    with part.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write("".join(f"{row}\n" for row in ("\t".join(HEADER), *(line.text() for line in table))).encode())
    part.rename(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packs", nargs="+", type=Path)
    parser.add_argument("--held-out", type=Path, required=True, help="pack that no training photo may be near")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--distance", type=int, default=DISTANCE, help="bits that count as near")
    args = parser.parse_args()
    held_out = np.array([hashed(jpeg) for _, jpeg in records(args.held_out)], np.uint64)
    table = [line for pack in args.packs for line in lines(pack, held_out)]
    near = [line for line in table if line.nearest <= args.distance]
    for line in near:
        print(f"{line.key} ({line.source}) is {line.nearest} bits from a photo of {args.held_out}", file=sys.stderr)
    if near:
        print(
            f"{len(near)} of {len(table)} photos are within {args.distance} bits of {args.held_out}, expected none; "
            "take them out of the packs; no manifest is written",
            file=sys.stderr,
        )
        return 1
    write(args.out, table)
    print(
        f"wrote {args.out}: {len(table)} photos, nearest {min((line.nearest for line in table), default=64)} bits "
        f"from the {len(held_out)} of {args.held_out}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
