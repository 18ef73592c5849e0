"""Released files of X-Decoder and SEEM with random weights and small widths, and the tokenizer that goes with them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from interleave_index.interface.find.prompts import TextTokens
from interleave_index.interface.generic import drawn_pictures
from interleave_index.interface.importing import import_released
from interleave_index.interface.xdecoder.config import DecoderConfig, Version
from interleave_index.interface.xdecoder.importing import prepare
from interleave_index.interface.xdecoder.network import FamilyNetwork, FamilySizes
from interleave_index.models.text.language import UniclNetwork
from interleave_index.models.vision.focal import FocalSizes
from interleave_index.models.vision.sam_vit import SamSizes
from tests.interface.published.published_toys import LANGUAGE, clip_tokenizer

SIDES = (64, 96)
WORDS = 120


def tiny_sizes(family: str = "seem", version: Version | None = "v0", *, sam: bool = False) -> FamilySizes:
    """As small as the form allows; photos become 64 to 96 pixels."""
    interface = DecoderConfig(
        family="xdecoder" if family == "xdecoder" else "seem",
        version=version,
        width=32,
        ffn=32,
        layers=3,
        queries=13,
        text_width=32,
        memories=4,
    )
    if sam:
        backbone = SamSizes(
            width=48, depth=2, heads=4, inner=96, window=4, whole=(1,), image_size=96, channels=(8, 16, 32, 64)
        )
        decoder = {"heads": 4, "ffn": 32, "layers": 1}
        return FamilySizes(backbone, "deform", decoder, interface, language_layer=2, short=94, long=96)
    decoder = {"heads": 8, "ffn": 32, "layers": 1}
    backbone_sizes = FocalSizes("focal_dw", 8, (1, 1, 1, 1), 2)
    return FamilySizes(backbone_sizes, "fpn", decoder, interface, language_layer=2, short=SIDES[0], long=SIDES[1])


def random_state(sizes: FamilySizes, seed: int = 0) -> dict[str, Tensor]:
    """A state dict in the released form: network, text tower, and what training leaves in a file."""
    torch.manual_seed(seed)
    network = FamilyNetwork(sizes)
    tower = UniclNetwork(width=sizes.interface.text_width, heads=1, layers=sizes.language_layer, vocabulary=WORDS)
    with torch.no_grad():
        for parameter in (*network.parameters(), *tower.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))
        network.predictor.decoder_norm.weight.mul_(3)  # masks and classes that differ from query to query
        network.predictor.query_feat.weight.mul_(10)
    state = {name: value.detach().clone() for name, value in network.state_dict().items()}
    state |= {LANGUAGE + name: value.detach().clone() for name, value in tower.state_dict().items()}
    state["criterion.empty_weight"] = torch.ones(134)
    if sizes.interface.family == "seem":
        state["dilation_kernel"] = torch.ones(1, 1, 3, 3)
    return state


def write_released(home: Path, name: str, sizes: FamilySizes) -> tuple[Path, Path]:
    """A released file of these sizes, and a folder with the tokenizer."""
    home.mkdir(parents=True, exist_ok=True)
    torch.save(random_state(sizes), home / f"{name}.pt")
    tokenizer = home / "clip"
    tokenizer.mkdir(exist_ok=True)
    clip_tokenizer().save(str(tokenizer / "tokenizer.json"))
    return home / f"{name}.pt", tokenizer


def imported(home: Path, name: str, sizes: FamilySizes) -> Path:
    """Folder of a tiny model, imported and prepared with three classes."""
    file, tokenizer = write_released(home, name, sizes)
    version = sizes.interface.version
    found = import_released(
        file, name, language=str(tokenizer), sides=(sizes.short, sizes.long), seem_version=version, home=home
    )
    config = json.loads((found.folder / "config.json").read_text(encoding="utf-8"))
    config["class_names"] = ["dog", "cat", "sky-other-merged"]  # the 81 sentences of 133 names take their time
    (found.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    prepare(found.folder, ["a dog", "a red disc"], drawn_pictures(2))
    return found.folder


def unpadded(tokens: Tensor) -> TextTokens:
    """Tokens of which none is padding."""
    return TextTokens(tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool))
