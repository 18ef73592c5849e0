"""What a model makes once of its own texts and pictures: the class table, and the banks of calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
from .folder import PREPARED
from .model import PublishedModel

PICTURES = 16  # drawn ones, where there are no others


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
    total = 2 + 2 * len(captions) + len(pictures)
    table = model.class_table(class_names)
    rows: dict[str, list[Floats]] = {name: [] for name in BANKS}
    done = 2
    progress(done, total)
    for caption in captions:
        rows["captions"].append(model.encode_captions([caption])[0])
        rows["phrases"].append(model.encode_phrase(caption))
        done += 2
        progress(done, total)
    for picture in pictures:
        proposals = model.proposals(model.view(picture), table)
        best = int(proposals.quality()[0].argmax())
        rows["pictures"].append(to_array(proposals.image[0]))
        rows["regions"].append(to_array(proposals.vectors[0, best]))
        done += 1
        progress(done, total)
    banks = {f"bank.{name}": torch.from_numpy(unit(np.stack(vectors))) for name, vectors in rows.items()}
    with replaced(folder / PREPARED) as draft:
        save_file({"class_table": table.cpu().contiguous(), **banks}, draft)


def read_prepared(folder: Path, remedy: str = "import it again with --language") -> tuple[Tensor, Calibration]:
    """(K + 1, D) class table and the calibration of a model.

    Raises:
        WeightsMissing: the model was not prepared; `remedy` is what to do.
    """
    file = folder / PREPARED
    if not file.is_file():
        raise WeightsMissing(f"model {folder.name} has no {PREPARED}, which its language model makes; {remedy}")
    content = load_file(file)
    banks = {name: content[f"bank.{name}"].numpy() for name in BANKS}
    return content["class_table"], Calibration.of_banks(banks, stand_in=True)
