"""What models cost on this machine before any is here: their operations by what the machine multiplies a second.

The figure is a bound from below: matrices alone are timed, and a model does more than multiply them.
"""

from __future__ import annotations

import time
from pathlib import Path

SECONDS = 0.3  # of one measurement
SIDES = {"cpu": 1024, "cuda": 8192, "mps": 4096}  # of the matrices


def operations_per_second(device: str, dtype: str = "auto") -> float:
    """Operations a second in products of matrices, a multiplication with its addition counted as two.

    Args:
        device: as torch names it.
        dtype: as the setting `models.dtype`.
    """
    import torch

    from .dual_encoder import torch_dtype

    side = SIDES.get(device, SIDES["cpu"])
    left = torch.rand(side, side, device=device).to(torch_dtype(dtype, device))

    def multiply() -> None:
        (left @ left)[0, 0].item()  # waits for the device

    multiply()
    fastest, end = float("inf"), time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:  # the fastest: what else runs on the machine may be over soon
        multiply()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * side**3 / fastest


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not be there yet."""
    import shutil

    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
