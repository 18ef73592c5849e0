"""A model that was trained on COCO over any pair, as an index uses it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ...errors import WeightsMissing
from ...records import Space
from ..calibration import BANKS, Calibration
from ..generic import drawn_pictures, generic_captions
from .folder import PREPARED
from .interface import PublishedFind, encode_segments
from .pair import WEIGHTS, TrainedNetwork, load_pair

PICTURES, EVERY = 16, 4  # pictures of the banks; every so many of the package's captions


class TrainedFind(PublishedFind):
    """The result of `train --data coco` as an index uses it.

    Args:
        folder: as the training writes it.
        device: where the network runs, as torch names it.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self.model, config = load_pair(folder, device=device)
        self._table, self._calibration = _read_prepared(folder)
        sizes = cast(TrainedNetwork, self.model.network).sizes
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        self._space = Space(
            interface=folder.resolve().name,
            checkpoint=digest,
            preprocessing=f"long side at most {sizes.long}, pillow bilinear, padded to 32; "
            f"{config['pair']['vision']} with {config['pair']['language']}",
            dim=self.model.network.predictor.config.width,
        )


def prepare_pair(folder: Path, *, device: str = "cpu") -> None:
    """Make the class table and the banks of calibration of a trained model, from the package's own captions."""
    model, config = load_pair(folder, device=device)
    table = model.class_table(config["class_names"])
    captions = generic_captions()[::EVERY]
    rows: dict[str, list[Tensor]] = {
        "captions": [torch.from_numpy(row) for row in model.encode_captions(captions)],
        "phrases": [torch.from_numpy(model.encode_phrase(caption)) for caption in captions],
        "pictures": [],
        "regions": [],
    }
    for picture in drawn_pictures(PICTURES):
        segments = encode_segments(model, picture, table)
        rows["pictures"].append(segments.image.cpu())
        rows["regions"].append(segments.vectors[int(segments.quality.argmax())].cpu())
    banks = {f"bank.{name}": F.normalize(torch.stack(some), dim=-1) for name, some in rows.items()}
    save_file({"class_table": table.contiguous(), **banks}, folder / PREPARED)


def _read_prepared(folder: Path) -> tuple[Tensor, Calibration]:
    if not (folder / PREPARED).is_file():
        raise WeightsMissing(f"{folder} has no {PREPARED}, which the training writes at its end; run it again")
    content = load_file(folder / PREPARED)
    banks = {name: content[f"bank.{name}"].numpy() for name in BANKS}
    return content["class_table"], Calibration.of_banks(banks, stand_in=True)
