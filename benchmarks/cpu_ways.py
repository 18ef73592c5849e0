"""Ways to run a dual encoder on a processor (precision, memory format, compilation): times side by side, vectors.

    python -m benchmarks.cpu_ways PHOTO... [--family siglip2] [--size base-16] [--batch 8] [--scale 1]

The encoder has the true size and random weights; `--scale` makes those of its layers larger, which makes it the more
sensitive to rounding. The ways take turns in every round, each round begins with another one, so that other work on the
machine meets all alike; the fastest round of each counts. Cosines are those of
image and region vectors with the vectors of plain float32, the worst of all photos, as they are and with the mean photo
taken off, which is what tells photos apart.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.dual_ingest import SIZES, save_model
from interleave_index.geometry import unit
from interleave_index.ingest.decode import load_picture
from interleave_index.models.hub.dual_encoder import DualEncoder, EncodedImage
from interleave_index.records import Floats

REGIONS = 20  # of every photo


def scaled(encoder: DualEncoder, scale: float) -> DualEncoder:
    """The encoder with larger weights."""
    with torch.no_grad():
        for name, weights in encoder._model.named_parameters():
            if weights.ndim > 1 and "vision" in name and "embed" not in name:
                weights.mul_(scale)
    return encoder


def channels_last(encoder: DualEncoder) -> DualEncoder:
    """The encoder with weights of convolutions in that memory format."""
    encoder._model.to(memory_format=torch.channels_last)
    return encoder


def compiled(encoder: DualEncoder) -> DualEncoder:
    """The encoder with its layers compiled."""
    vision = encoder._model.vision_model
    vision.encoder.forward = torch.compile(vision.encoder.forward)
    return encoder


def coverages(encoder: DualEncoder, photos: int) -> list[Floats]:
    """Of every photo so many regions: blocks of its patch grid."""
    side = int(encoder.preprocessing.grid((600, 800))[0])  # type: ignore[union-attr]
    random = np.random.default_rng(0)
    shares = np.zeros((photos, REGIONS, side, side), np.float32)
    for photo in shares:
        for region in photo:
            top, left = random.integers(0, side // 2, 2)
            region[top : top + side // 3, left : left + side // 3] = 1
    return list(shares)


def worst_cosine(found: Floats, wanted: Floats) -> tuple[float, float]:
    """Of matching rows: as they are, and with the mean of the wanted rows taken off both."""
    mean = wanted.mean(0)
    plain = (unit(found) * unit(wanted)).sum(1).min()
    centred = (unit(found - mean) * unit(wanted - mean)).sum(1).min()
    return float(plain), float(centred)


def vectors(encoded: Sequence[EncodedImage]) -> dict[str, Floats]:
    """All image vectors, and all region vectors."""
    return {
        "image": np.stack([one.image for one in encoded]),
        "regions": np.concatenate([one.regions for one in encoded]),
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--family", default="siglip2", choices=("clip", "siglip2"))
    parser.add_argument("--size", default="base-16", choices=SIZES)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="of the weights of the vision layers")
    parser.add_argument("--compile", action="store_true", help="also compiled, which takes a minute to begin with")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = save_model(Path(place) / "model", given.family, given.size)

        def loaded(dtype: str) -> DualEncoder:
            return scaled(DualEncoder(folder, dtype=dtype), given.scale)

        ways = {
            "float32": loaded("float32"),
            "float32, channels last": channels_last(loaded("float32")),
            "bfloat16": loaded("bfloat16"),
            "bfloat16, channels last": channels_last(loaded("bfloat16")),
        }
        if given.compile:
            ways |= {
                "float32, compiled": compiled(loaded("float32")),
                "bfloat16, compiled": compiled(loaded("bfloat16")),
            }
        print(json.dumps(measure(ways, given)))


def measure(ways: dict[str, DualEncoder], given: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds a photo of every way, how many times as fast as float32, and the worst cosines."""
    first = ways["float32"]
    pictures = [load_picture(path, max_pixels=200_000_000) for path in given.photos[: given.batch]]
    prepared, shares = [first.prepare(picture) for picture in pictures], coverages(first, len(pictures))
    fastest, found = dict.fromkeys(ways, float("inf")), {}
    for number in range(given.rounds + 1):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.perf_counter()
            found[name] = ways[name].encode_images(prepared, shares, patches=True)
            if number:  # the first round warms up, and compiles
                fastest[name] = min(fastest[name], time.perf_counter() - start)
    wanted = vectors(found["float32"])
    figures: dict[str, Any] = {}
    for name, encoded in found.items():
        cosines = {part: worst_cosine(rows, wanted[part]) for part, rows in vectors(encoded).items()}
        figures[name] = {
            "ms_per_photo": round(1000 * fastest[name] / len(prepared), 1),
            "times_as_fast": round(fastest["float32"] / fastest[name], 2),
            **{f"{part}_cosine": round(plain, 6) for part, (plain, _) in cosines.items()},
            **{f"{part}_cosine_centred": round(centred, 6) for part, (_, centred) in cosines.items()},
        }
    settings = {
        "family": given.family,
        "scale": given.scale,
        "size": given.size,
        "photos": len(prepared),
        "threads": torch.get_num_threads(),
    }
    return {**settings, "ways": figures}


if __name__ == "__main__":
    main()
