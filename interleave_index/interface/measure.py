"""How fast models are on this machine, and in which precision a processor does best at the same vectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from ..models.hub.local import Speed, keep_speed
from ..records import Floats, PhotoEncoding, ResolvedPart
from .dual.proposals import Proposer
from .generic import drawn_pictures, generic_captions
from .protocol import Interface

SIDE = (768, 1024)  # (height, width) of the measured photos, as decoding hands them over
BATCH, SECONDS = 16, 4.0
TEXTS = 8  # whose vectors are compared
PLAIN, HALF = "float32", "bfloat16"
CAPABLE = ("AVX512", "SVE256")  # processors that may multiply bfloat16, as torch names what they can do


def measure_precisions(build: Callable[[str], Interface], dtype: str = "auto") -> list[Speed]:
    """Photos a second of one model in the precisions that it may run in on this machine. Remembered.

    What is timed is `encode_photos`, with proposals and regions; decoding and writing are not.

    On a processor that may multiply bfloat16 it is measured in that too, and its vectors are compared with those of
    float32; `models.hub.local.measured_dtype` chooses by it. Everywhere else there is one measurement.

    Args:
        build: gives the interface for a setting `models.dtype`.
        dtype: as the settings have it; any but ``auto`` is measured alone.
    """
    import torch

    plain = build(PLAIN if dtype == "auto" else dtype)
    speed, wanted = _measured(plain, None)
    on_cpu, takes = plain.capabilities.device == "cpu", plain.capabilities.dtype == PLAIN
    if dtype != "auto" or not (on_cpu and takes) or torch.backends.cpu.get_cpu_capability() not in CAPABLE:
        return [speed]
    del plain  # two models at once may not fit into memory
    half = build(HALF)
    if half.capabilities.dtype != HALF:  # a model with one precision
        return [speed]
    return [speed, _measured(half, wanted)[0]]


def measure_proposals(proposer: Proposer, checkpoint: str, device: str) -> Speed:
    """Photos a second of a maker of masks. Remembered."""
    photos = drawn_pictures(1, SIDE)  # SAM asks hundreds of points of each
    return _remembered(checkpoint, device, PLAIN, _photos_per_s(proposer.propose, photos, SECONDS))


def _measured(interface: Interface, wanted: Floats | None) -> tuple[Speed, Floats]:
    """The speed, with how near the vectors are to the wanted ones, and the vectors."""
    photos = drawn_pictures(BATCH, SIDE)
    vectors = _vectors(interface, interface.encode_photos(photos))
    cosine = None if wanted is None else round(float((vectors * wanted).sum(1).min()), 6)
    capabilities, rate = interface.capabilities, _photos_per_s(interface.encode_photos, photos, SECONDS)
    speed = _remembered(interface.space.checkpoint, capabilities.device, capabilities.dtype, rate, cosine)
    return speed, vectors


def _vectors(interface: Interface, encodings: Sequence[PhotoEncoding]) -> Floats:
    """Unit vectors of photos, of their regions and of some texts, one below the other."""
    texts = [(ResolvedPart("caption", "text", caption),) for caption in generic_captions()[:TEXTS]]
    legends = [encoding.legend for encoding in interface.encode_queries(texts)]
    return np.concatenate([*(np.vstack([one.image[None], one.regions]) for one in encodings), np.stack(legends)])


def _photos_per_s(work: Callable[[Sequence[Any]], object], photos: Sequence[Any], seconds: float) -> float:
    """Photos a second of some work over batches of the same photos; after one that is not counted."""
    work(photos)
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds or not done:
        work(photos)
        done += len(photos)
    return round(done / spent, 2)


def _remembered(checkpoint: str, device: str, dtype: str, rate: float, cosine: float | None = None) -> Speed:
    speed = Speed(checkpoint, device, dtype, rate, datetime.now().isoformat(timespec="seconds"), cosine)
    keep_speed(speed)
    return speed
