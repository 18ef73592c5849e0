"""The interface room: what turns photos and queries into one space.

`protocol` is the seam, `load` builds an interface by name, `find` is the FIND network, `find_mini` the bundled
model on top of it, `bundle` its files, `toy` a weightless stand-in for tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, WeightsMissing

if TYPE_CHECKING:
    from .protocol import Interface

BUNDLED = {"find-mini": Path(__file__).parent / "weights" / "find-mini"}


def names() -> list[str]:
    """Interfaces that work without any download."""
    return [*BUNDLED, "toy"]


def load(name: str = "find-mini", *, device: str = "auto", offline: bool = False) -> Interface:
    """Build an interface.

    Args:
        name: ``find-mini``, ``toy``, or the folder of a bundle that `interleave-index train` wrote.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        offline: never touch the network; none of today's interfaces does, with or without it.
    Raises:
        WeightsMissing: no such name or folder.
        ModelError: the device is not there.
    """
    if name == "toy":
        from .toy import ToyInterface

        return ToyInterface()
    folder = BUNDLED.get(name, Path(name))
    if not folder.is_dir():
        raise WeightsMissing(
            f"no model {name!r}, expected one of {', '.join(names())} or the folder of a trained model"
        )
    from .find_mini import FindMini

    return FindMini(folder, device=_device(device))


def _device(name: str) -> str:
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there.get(name, False):
        raise ModelError(
            f"device {name!r} is not available here, expected auto or one of "
            f"{', '.join(kind for kind, on in there.items() if on)}"
        )
    return name
