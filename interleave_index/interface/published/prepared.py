"""What a model makes once of its own texts and pictures: the class table, and the banks of calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...errors import WeightsMissing
from ...geometry import unit
from ...records import RGB, Floats
from ...whole_files import replaced
from ..calibration import BANKS, Calibration
from ..find.adapter import to_array
from ..generic import drawn_pictures, generic_captions
from .folder import PREPARED
from .model import PublishedModel

PICTURES = 16  # drawn ones, where there are no others
REMEDY = "import it again with --language"  # where a model was not prepared


class Preparable(Protocol):
    """What the banks are made with: a model that gives vectors of texts."""

    def encode_captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) of captions."""

    def encode_phrase(self, phrase: str) -> Floats:
        """(D,) of a text entity by itself."""


def bank_material(
    captions: Sequence[str] | None = None, pictures: Sequence[RGB] | None = None, *, every: int = 3
) -> tuple[Sequence[str], Sequence[RGB]]:
    """What banks are made of; None takes each `every`-th of the package's own captions, and drawn pictures."""
    captions = generic_captions()[::every] if captions is None else captions
    return captions, drawn_pictures(PICTURES) if pictures is None else pictures


@torch.inference_mode()
def write_prepared(
    folder: Path,
    model: PublishedModel,
    class_names: Sequence[str],
    captions: Sequence[str],
    pictures: Sequence[RGB],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make the class table and the banks of a model and write them into its folder.

    Args:
        captions: of things in general; pictures: of many kinds. Both stand for queries without a meaning here.
        progress: called with texts and pictures done, and how many there are in all.
    """
    of_table = 2
    total = of_table + 2 * len(captions) + len(pictures)
    table = model.class_table(class_names)
    progress(of_table, total)

    def see(picture: RGB) -> tuple[Floats, Floats]:
        proposals = model.proposals(model.view(picture), table)
        best = int(proposals.quality()[0].argmax())
        return to_array(proposals.image[0]), to_array(proposals.vectors[0, best])

    banks = make_banks(model, see, captions, pictures, lambda done, _: progress(of_table + done, total))
    save_prepared(folder, table, banks)


def make_banks(
    model: Preparable,
    see: Callable[[RGB], tuple[Floats, Floats]],
    captions: Sequence[str],
    pictures: Sequence[RGB],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Floats]:
    """The banks of calibration by name, unit vectors; arguments as of `write_prepared`.

    Args:
        see: of a picture its (D,) image vector, and that of its best region.
    """
    total, done = 2 * len(captions) + len(pictures), 0
    rows: dict[str, list[Floats]] = {name: [] for name in BANKS}
    for caption in captions:
        rows["captions"].append(model.encode_captions([caption])[0])
        rows["phrases"].append(model.encode_phrase(caption))
        done += 2
        progress(done, total)
    for picture in pictures:
        for name, vector in zip(("pictures", "regions"), see(picture), strict=True):
            rows[name].append(vector)
        done += 1
        progress(done, total)
    return {name: unit(np.stack(vectors)) for name, vectors in rows.items()}


def save_prepared(folder: Path, table: Tensor, banks: Mapping[str, Floats]) -> None:
    """Write a class table and banks, of which there may be none, into the folder of a model."""
    tensors = {f"bank.{name}": torch.from_numpy(vectors) for name, vectors in banks.items()}
    with replaced(folder / PREPARED) as draft:
        save_file({"class_table": table.cpu().contiguous(), **tensors}, draft)


def read_prepared(folder: Path, remedy: str = REMEDY) -> tuple[Tensor, Calibration]:
    """(K + 1, D) class table and the calibration of a model.

    Raises:
        WeightsMissing: the model was not prepared; `remedy` is what to do.
    """
    content = _read(folder, remedy)
    banks = {name: content[f"bank.{name}"].numpy() for name in BANKS}
    return content["class_table"], Calibration.of_banks(banks, stand_in=True)


def read_class_table(folder: Path) -> Tensor:
    """(K + 1, D) class table of a model, which may have no banks; see `read_prepared`."""
    return _read(folder, REMEDY)["class_table"]


def _read(folder: Path, remedy: str) -> dict[str, Tensor]:
    file = folder / PREPARED
    if not file.is_file():
        raise WeightsMissing(f"model {folder.name} has no {PREPARED}, which its language model makes; {remedy}")
    content: dict[str, Tensor] = load_file(file)
    return content
