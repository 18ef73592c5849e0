"""A released file of X-Decoder or SEEM into a folder; what its keys do not tell is told by whoever imports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from ...geometry import unit
from ...models.hub import local
from ...records import RGB, Floats
from ..published.importing import Release, Sides, preset_of, with_sides
from ..published.keys import sort_keys
from ..published.prepared import bank_material, make_banks, save_prepared
from .config import Version
from .folder import FORMAT, load_family
from .keys import family_shapes, sizes_of
from .model import XDecoderModel
from .network import PRESETS, family_sides


def release(state: Mapping[str, Tensor], version: Version | None, heads: int, sides: Sides) -> Release:
    """What a state dict of the family is.

    Args:
        version: of SEEM; None for X-Decoder.
        heads: attention heads of the decoder, which no tensor shows.
        sides: shorter and longest side that photos are resized to; None takes the one of the released scripts.
    Raises:
        InputError: SEEM without a version, or X-Decoder with one.
        ModelError: tensors that show sizes are missing.
    """
    sizes = with_sides(sizes_of(state, version, heads), sides)
    family = sizes.interface.family
    keys = sort_keys(state, sizes, family_shapes(sizes))
    named = "X-Decoder" if family == "xdecoder" else "SEEM"
    preset = preset_of(sizes, family_sides(sizes.backbone), PRESETS)
    return Release(named, family, FORMAT, sizes, keys, preset, (heads, version))


def prepare(
    folder: Path,
    captions: Sequence[str] | None = None,
    pictures: Sequence[RGB] | None = None,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Make the class table of an imported model, and of X-Decoder the banks of calibration.

    Args:
        captions, pictures: None takes every third of the package's own captions, and drawn pictures.
        progress: called with names, texts and pictures done, and how many there are in all.
    """
    model = load_family(folder, device=device)
    names = local.read_config(folder)["class_names"]
    captions, pictures = bank_material(captions, pictures)
    classes = len(names) + 1
    total = classes + (2 * len(captions) + len(pictures) if isinstance(model, XDecoderModel) else 0)
    table = model.class_table(names, progress=lambda done, _: progress(done, total))
    banks: dict[str, Floats] = {}
    if isinstance(model, XDecoderModel):
        banks = make_banks(
            model, _seeing(model, table), captions, pictures, lambda done, _: progress(classes + done, total)
        )
    save_prepared(folder, table, banks)


def _seeing(model: XDecoderModel, table: Tensor) -> Callable[[RGB], tuple[Floats, Floats]]:
    def see(picture: RGB) -> tuple[Floats, Floats]:
        _, quality, vectors = model.everything(model.view(picture, bicubic=True), table)
        return model.encode_image(picture), unit(vectors[quality.argmax()].cpu().numpy())

    return see
