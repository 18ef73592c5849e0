"""A find-mini bundle on disk: weights, sizes, tokenizer and calibration in one folder.

config.json         sizes, preprocessing, names of the class table and of the vocabulary, calibration constants, what
                    it was trained on
model.safetensors   weights, the class table (`class_table`), vectors of the vocabulary (`vocabulary`), weights of the
                    rating (`rating`), what regions have alike (`alike`) and the calibration banks (`bank.*`),
                    float16; bundles of older releases lack the vocabulary, the rating, or what regions have alike
tokenizer.json      the text tower's vocabulary
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from ..errors import WeightsMissing
from ..models.text import load_tokenizer
from .find.alike import Alike
from .find.model import FindModel, MiniConfig
from .find.rating import Rating
from .find.readings import Vocabulary
from .protocol import Calibration

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
FORMAT = 1
VOCABULARY, RATING, ALIKE = "vocabulary", "rating", "alike"
BANKS = ("captions", "phrases", "pictures", "regions")


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a folder holds.

    Attributes:
        model: in eval mode, float32.
        class_table: (K + 1, C) name vectors, background last.
        calibration: banks and constants.
        vocabulary: names that pictures in a sentence are read as, or None.
        rating: what masks are worth as regions, or None.
        alike: what regions have in common, or None.
        config: the whole of config.json.
        checkpoint: sha256 of weights, sizes and vocabulary together, hex.
    """

    model: FindModel
    class_table: Tensor
    calibration: Calibration
    vocabulary: Vocabulary | None
    rating: Rating | None
    alike: Alike | None
    config: dict[str, Any]
    checkpoint: str


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle.

    Raises:
        WeightsMissing: a file is not there, is damaged, or is of another format.
    """
    for name in (CONFIG, WEIGHTS, TOKENIZER):
        if not (folder / name).is_file():
            raise WeightsMissing(
                f"no {name} in {folder}; expected a folder with {CONFIG}, {WEIGHTS} and {TOKENIZER}, "
                "as `interleave-index train` writes it"
            )
    try:
        return _read(folder)
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError, OSError) as error:
        raise WeightsMissing(f"bundle {folder} is damaged: {' '.join(repr(error).split())}; copy or train it again"
                             ) from error


def _read(folder: Path) -> Bundle:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if config.get("format") != FORMAT:
        raise WeightsMissing(
            f"{folder / CONFIG} is of format {config.get('format')}, expected {FORMAT}; "
            "train again or use the release that wrote it"
        )
    content = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    banks = {name: content.pop(f"bank.{name}").numpy() for name in BANKS}
    table, words = content.pop("class_table"), content.pop(VOCABULARY, None)
    vocabulary = None if words is None else _vocabulary(config[VOCABULARY], words)
    weights, direction = content.pop(RATING, None), content.pop(ALIKE, None)
    rating = None if weights is None else Rating(weights)
    alike = None if direction is None else Alike(F.normalize(direction, dim=0))
    model = FindModel(MiniConfig(**config["sizes"]), load_tokenizer(folder / TOKENIZER))
    try:
        model.load_state_dict(content)
    except RuntimeError as error:
        raise WeightsMissing(
            f"{folder / WEIGHTS} does not fit the sizes in {CONFIG}: {str(error).splitlines()[-1].strip()}"
        ) from error
    constants = config["calibration"]
    calibration = Calibration(
        **banks, slope=constants["slope"], offset=constants["offset"], cutoff=constants["cutoff"], stand_in=False
    )
    model.eval().requires_grad_(False)
    model.vision.channels_last()
    return Bundle(model, table, calibration, vocabulary, rating, alike, config, fingerprint(folder))


def _vocabulary(names: list[str], vectors: Tensor) -> Vocabulary:
    if len(names) != len(vectors):
        raise ValueError(f"{len(names)} names for {len(vectors)} vectors of the vocabulary")
    return Vocabulary(tuple(names), vectors)


def save_bundle(
    folder: Path,
    model: FindModel,
    class_table: Tensor,
    calibration: Calibration,
    facts: dict[str, Any],
    vocabulary: Vocabulary | None = None,
    rating: Rating | None = None,
    alike: Alike | None = None,
) -> None:
    """Write a bundle, every tensor in float16.

    Args:
        facts: what else belongs into config.json: ``class_names``, ``trained_on``, ``preprocessing``, ``name``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach() for name, value in model.state_dict().items()} | {
        "class_table": class_table.detach()
    }
    if vocabulary is not None:
        tensors[VOCABULARY], facts = vocabulary.vectors, {**facts, VOCABULARY: list(vocabulary.names)}
    if rating is not None:
        tensors[RATING] = rating.weights
    if alike is not None:
        tensors[ALIKE] = alike.direction
    tensors |= {f"bank.{name}": torch.from_numpy(np.asarray(getattr(calibration, name))) for name in BANKS}
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in tensors.items()
    }
    save_file(halves, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    model.text.tokenizer.save(str(folder / TOKENIZER))
    constants = {"slope": calibration.slope, "offset": calibration.offset, "cutoff": calibration.cutoff}
    config = {"format": FORMAT, **facts, "sizes": model.config.to_json(), "calibration": constants}
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """sha256 over weights, sizes, tokenizer and vocabulary: two bundles with one fingerprint give the same vectors."""
    digest = hashlib.sha256()
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    digest.update(json.dumps(config["sizes"], sort_keys=True).encode())
    if VOCABULARY in config:
        digest.update(json.dumps(config[VOCABULARY]).encode())
    for name in (WEIGHTS, TOKENIZER):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
