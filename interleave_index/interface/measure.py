"""How fast an interface takes photos in on this machine."""

from __future__ import annotations

import time
from datetime import datetime

import numpy as np

from ..models.hub import Speed, keep_speed
from ..records import RGB
from .protocol import Interface

SIDE = (768, 1024)  # (height, width) of the measured photos, as decoding hands them over
BATCH, SECONDS = 16, 4.0


def measure_speed(interface: Interface, *, seconds: float = SECONDS, batch: int = BATCH) -> Speed:
    """Photos a second of `encode_photos`, proposals and regions counted; decoding and writing are not. Remembered.

    Args:
        seconds: at least so long, after one batch that is not counted.
        batch: photos of a call.
    """
    photos = drawn_photos(batch)
    interface.encode_photos(photos)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not done:
        interface.encode_photos(photos)
        done += batch
    found = Speed(checkpoint=interface.space.checkpoint, device=str(getattr(interface, "device", "cpu")),
                  dtype=str(getattr(interface, "dtype", "float32")).removeprefix("torch."),
                  photos_per_s=round(done / spent, 2), measured_at=datetime.now().isoformat(timespec="seconds"))
    keep_speed(found)
    return found


def drawn_photos(count: int) -> list[RGB]:
    """Pictures of coloured waves with a few discs on them, all different."""
    made = []
    y, x = np.mgrid[: SIDE[0], : SIDE[1]].astype(np.float32)
    for number in range(count):
        random = np.random.default_rng(number)
        waves = [np.sin(x * random.uniform(0.003, 0.03) + y * random.uniform(0.003, 0.03)) for _ in range(3)]
        photo = (np.stack(waves, -1) * 100 + 128).astype(np.uint8)
        for _ in range(6):
            disc = (x - random.uniform(0, SIDE[1])) ** 2 + (y - random.uniform(0, SIDE[0])) ** 2
            photo[disc < random.uniform(40, 180) ** 2] = random.integers(0, 255, 3)
        made.append(photo)
    return made
