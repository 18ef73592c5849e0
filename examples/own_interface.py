"""Put a model of your own behind the index: here a histogram of colours, with the tiles of a grid as regions.

    python examples/own_interface.py PHOTOS PICTURE

An interface embeds photos, regions and queries into one space, and can look at one photo again. Storage, search,
filters, export and the page work with any class that derives from `Interface`; see docs/api.md, "Interface".
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interleave_index import Index, Picture, Query
from interleave_index.errors import InputError
from interleave_index.geometry import box_mask, encode_rle, fit, unit
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.protocol import Interface
from interleave_index.records import (
    RGB,
    Box,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)

LEVELS, TILES = 4, 3  # levels of each colour channel; tiles of each side
DIM = LEVELS**3


class Colours(Interface):
    """Pictures only: a query with words is refused with a reason."""

    # Vectors of two spaces are never compared: change `checkpoint` whenever the numbers would change.
    space = Space(interface="colours", checkpoint="c0" * 32, preprocessing="upright RGB as it is", dim=DIM)

    @property
    def calibration(self) -> Calibration:
        """What a match by chance looks like: plain pictures of random colours. Curves come from each library itself."""
        rng = np.random.default_rng(0)
        bank = np.stack([_embed(rng.integers(0, 256, (1, 8, 3), np.uint8)) for _ in range(64)])
        return Calibration(captions=bank, phrases=bank, pictures=bank, regions=bank)

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        return [self._encode(photo) for photo in photos]

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        vectors = {role: [_part(p) for p in query if p.role == role] for role in ("caption", "entity", "negative")}
        positive = vectors["caption"] + vectors["entity"]
        return QueryEncoding(
            legend=unit(np.sum(positive, axis=0)),
            entities=_stack(vectors["entity"]),
            negatives=_stack(vectors["negative"]),
        )

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        encoded, found = self._encode(photo), []
        for number, part in enumerate(p for p in query if p.role == "entity"):
            scores = encoded.regions @ _part(part)
            best, box = int(scores.argmax()), _tiles(photo.shape[:2])[int(scores.argmax())]
            found.append(GroundedMask(number, encode_rle(box_mask(box, photo.shape[:2])), box, float(scores[best])))
        return found

    def _encode(self, photo: RGB) -> PhotoEncoding:
        size = (photo.shape[0], photo.shape[1])
        small = fit(size, 512)  # masks are stored with a long side of at most 512
        boxes = _tiles(size)
        regions = [_embed(photo[int(y0) : int(y1), int(x0) : int(x1)]) for x0, y0, x1, y1 in boxes]
        return PhotoEncoding(
            image=_embed(photo),
            regions=_stack(regions),
            boxes=np.array(boxes, np.float32),
            areas=np.full(len(boxes), 1 / len(boxes), np.float32),
            scores=np.ones(len(boxes), np.float32),
            masks=tuple(encode_rle(box_mask(box, small)) for box in _tiles(small)),
        )


def _part(part: ResolvedPart) -> Floats:
    if part.photo is not None:
        inside = np.ones(part.photo.shape[:2], bool) if part.mask is None else part.mask
        return _embed(part.photo[inside][None])
    if part.vector is not None:  # already indexed, and its file is gone
        return part.vector
    raise InputError(f"the part {part.label!r} has no pixels; this interface reads pictures, not words")


def _embed(pixels: RGB) -> Floats:
    levels = (pixels.reshape(-1, 3) // (256 // LEVELS)).astype(int)
    index = levels @ np.array([LEVELS**2, LEVELS, 1])
    return unit(np.sqrt(np.bincount(index, minlength=DIM)))


def _tiles(size: tuple[int, ...]) -> list[Box]:
    rows, columns = (np.linspace(0, side, TILES + 1).round() for side in size[:2])
    return [
        (float(columns[c]), float(rows[r]), float(columns[c + 1]), float(rows[r + 1]))
        for r in range(TILES)
        for c in range(TILES)
    ]


def _stack(vectors: list[Floats]) -> Floats:
    return np.stack(vectors) if vectors else np.zeros((0, DIM), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Index.open(folder, interface=Colours(), create=True) as index:
        print(f"{index.ingest(args.photos).added} photos")
        for hit in index.search(Query(Picture(args.picture)), top_k=5):
            print(f"{hit.rank}  {hit.score:.3f}  {hit.photo.path!r}")


if __name__ == "__main__":
    main()
