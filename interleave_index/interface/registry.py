"""The models there are: listed, described and loaded by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, WeightsMissing
from .find_mini import WEIGHTS

if TYPE_CHECKING:
    from ..models.segmenters.grounders import Grounders
    from .model_info import Described
    from .protocol import Interface

BUNDLED = {"find-mini": WEIGHTS}


def names() -> list[str]:
    """Interfaces that work without any download."""
    return [*BUNDLED, "toy"]


def described(name: str) -> Described:
    """What is known of a model without building it; `error` of it says why it cannot be used."""
    from .model_info import describe

    return describe(name, BUNDLED)


def load(
    name: str = "find-mini",
    *,
    device: str = "auto",
    offline: bool = False,
    dtype: str = "auto",
    regions: str = "attention",
    proposals: str = "find-mini",
    grounding: str = "auto",
    grounders: str = "",
) -> Interface:
    """Build an interface. Opens no connection.

    Args:
        name: ``find-mini``, ``toy``, the folder that `interleave-index train` wrote or that of a checkpoint as a
            hub holds it, or the name of a model that was pulled or imported; ``read`` or ``read:FOLDER`` for READ,
            which only grounds.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        offline: never touch the network; loading does not, with or without it.
        dtype: of a dual encoder: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        regions: how a dual encoder makes region vectors: ``attention``, ``patches`` or ``crop``.
        proposals: name of the interface whose masks become the regions of a dual encoder.
        grounding: how a photo is looked at again: ``own``, ``points``, or ``auto``, which takes points for a dual
            encoder and where grounders are named.
        grounders: names or folders of models that segment or detect, by commas; loaded when first needed.
    Raises:
        WeightsMissing: no such name or folder, or one that was not pulled.
        ModelError: the device is not there.
        BackendMissing: the model needs a package that is not installed.
    """
    if name == "read" or name.startswith("read:"):
        from .read.interface import ReadInterface

        return ReadInterface(name, device=torch_device(device))
    named = tuple(filter(None, (one.strip() for one in grounders.split(","))))
    if "model_type" in _config(_folder_of(name)):
        from .dual import BestRegion, DualInterface
        from .points import PointGrounder

        return DualInterface.load(
            _folder_of(name),
            device=torch_device(device),
            dtype=dtype,
            method=regions,
            proposals=proposals,
            offline=offline,
            grounder=BestRegion() if grounding == "own" else PointGrounder(lambda: _grounders(named, device)),
        )
    found = _trained(name, device, dtype)
    if grounding == "own" or (grounding == "auto" and not named):
        return found
    from .points import PointsInterface

    return PointsInterface(found, lambda: _grounders(named, device))


def _grounders(names: tuple[str, ...], device: str) -> Grounders:
    from ..models.segmenters.grounders import Grounders, load_grounders

    return load_grounders(names, device=torch_device(device)) if names else Grounders()


def _trained(name: str, device: str, dtype: str = "auto") -> Interface:
    """An interface that brings masks and vectors of its own."""
    if name == "toy":
        from .toy import ToyInterface

        return ToyInterface()
    folder = _folder_of(name)
    if _config(folder).get("kind") == "find-published":
        from .published.interface import PublishedFind

        return PublishedFind(folder, device=torch_device(device), dtype=dtype)
    if _config(folder).get("kind") == "find-pair":
        from .published.trained import TrainedFind

        return TrainedFind(folder, device=torch_device(device))
    from .find_mini.interface import FindMini

    return FindMini(folder, device=torch_device(device))


def _folder_of(name: str) -> Path:
    from ..models.hub import local

    if name in BUNDLED or name == "toy":
        return BUNDLED.get(name, Path(name))

    if not Path(name).is_dir() and not local.is_hub_name(name) and not local.is_imported(name):
        raise WeightsMissing(
            f"no model {name!r}, expected one of {', '.join(names())}, the folder of a model, or owner/name of a hub"
        )
    return local.find(name)


def _config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder; a dual encoder has a ``model_type``."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def torch_device(name: str) -> str:
    """The device that a setting names, as torch names it.

    Raises:
        ModelError: it is not there.
    """
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
