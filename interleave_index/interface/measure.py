"""How fast an interface takes photos in on this machine."""

from __future__ import annotations

import time
from datetime import datetime

from ..models.hub.local import Speed, keep_speed
from .generic import drawn_pictures
from .protocol import Interface

SIDE = (768, 1024)  # (height, width) of the measured photos, as decoding hands them over
BATCH, SECONDS = 16, 4.0


def measure_speed(interface: Interface, *, seconds: float | None = None, batch: int | None = None) -> Speed:
    """Photos a second of `encode_photos`, proposals and regions counted; decoding and writing are not. Remembered.

    Args:
        seconds: at least so long, after one batch that is not counted; None is `SECONDS`.
        batch: photos of a call; None is `BATCH`.
    """
    seconds, batch = SECONDS if seconds is None else seconds, BATCH if batch is None else batch
    photos = drawn_pictures(batch, SIDE)
    interface.encode_photos(photos)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not done:
        interface.encode_photos(photos)
        done += batch
    speed = Speed(
        checkpoint=interface.space.checkpoint,
        device=interface.capabilities.device,
        dtype=interface.capabilities.dtype,
        photos_per_s=round(done / spent, 2),
        measured_at=datetime.now().isoformat(timespec="seconds"),
    )
    keep_speed(speed)
    return speed
