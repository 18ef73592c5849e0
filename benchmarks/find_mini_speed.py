"""How fast the bundled model is: one photo with its regions and masks, one text query, the bare network; its size.

    python benchmarks/find_mini_speed.py [--photos DIR] [--runs 5]

Prints medians over runs and, as the bound, the network's own forward pass on the same squashed pixels.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from interleave_index.ingest.decode import decode
from interleave_index.interface.find import tasks
from interleave_index.interface.find_mini import WEIGHTS
from interleave_index.interface.find_mini.interface import FindMini
from interleave_index.records import ResolvedPart

QUERIES = ("a dog runs on the beach", "two people on a bench", "a red car in front of a house", "food on a white plate")


def median_seconds(call: Callable[[], object], runs: int) -> float:
    call()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos; drawn noise without it")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    files = sorted(args.photos.glob("*.jpg"))[:16] if args.photos else []
    rng = np.random.default_rng(0)
    photos = [decode(file.read_bytes()).rgb for file in files]
    photos = photos or [rng.integers(0, 255, (768, 1024, 3), np.uint8) for _ in range(16)]
    model = FindMini(WEIGHTS)
    one = median_seconds(lambda: model.encode_photos(photos[:1]), args.runs)
    batch = median_seconds(lambda: model.encode_photos(photos), args.runs) / len(photos)
    with torch.inference_mode():
        bare = median_seconds(lambda: tasks.propose(model.network, model._views(photos)[0]), args.runs) / len(photos)
    queries = [(ResolvedPart("caption", "text", text),) for text in QUERIES]
    text = median_seconds(lambda: [model.encode_query(query) for query in queries], args.runs) / len(queries)
    size = sum(file.stat().st_size for file in WEIGHTS.iterdir()) / 2**20
    print(
        json.dumps(
            {
                "one_photo_per_s": round(1 / one, 1),
                "batch_photos_per_s": round(1 / batch, 1),
                "network_alone_photos_per_s": round(1 / bare, 1),
                "text_query_ms": round(1000 * text, 2),
                "bundle_MiB": round(size, 1),
                "threads": torch.get_num_threads(),
            }
        )
    )


if __name__ == "__main__":
    main()
