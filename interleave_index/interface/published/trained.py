"""A model that was trained on COCO over any pair, as an index uses it."""

from __future__ import annotations

from pathlib import Path

from ...records import Space
from ...regular import sha256_of
from .folder import WEIGHTS
from .interface import PublishedFind
from .pair import load_pair
from .parts import is_file
from .prepared import bank_material, read_prepared, write_prepared

EVERY = 4  # of the package's captions, for the banks


def load_trained(folder: Path, *, device: str = "cpu") -> PublishedFind:
    """The result of `train --data coco`.

    Args:
        folder: as the training writes it.
        device: where the network runs, as torch names it.
    Raises:
        WeightsMissing: it holds none, or is damaged.
    """
    model, config = load_pair(folder, device=device)
    table, calibration = read_prepared(folder, "the training writes it at its end, run it again")
    space = Space(
        interface=folder.resolve().name,
        checkpoint=sha256_of(folder / WEIGHTS),
        preprocessing=f"long side at most {model.network.long}, pillow bilinear, padded to {model.network.stride}; "
        f"{_called(config['pair']['vision'])} with {_called(config['pair']['language'])}",
        dim=model.interface.config.width,
    )
    return PublishedFind(model, space, table, calibration)


def _called(part: str) -> str:
    """What a part of a pair is called in the space: a file by its name, wherever it lies."""
    return Path(part).name if is_file(part) else part


def prepare_pair(folder: Path) -> None:
    """Make the class table and the banks of calibration of a trained model, from the package's own captions."""
    model, config = load_pair(folder)
    write_prepared(folder, model, config["class_names"], *bank_material(every=EVERY))
