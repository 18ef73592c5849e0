"""A find-mini bundle on disk: weights, sizes, tokenizer and calibration in one folder.

config.json         sizes, preprocessing, names of classes and of the vocabulary, calibration constants, what it was
                    trained on
model.safetensors   weights, vectors of the vocabulary (`vocabulary`), weights of the region scorer (`rating`) and the
                    calibration banks (`bank.*`), float16
tokenizer.json      the text tower's vocabulary
words.txt           the words that it was trained with, and how often they occurred; may be left out
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from ...errors import WeightsMissing
from ...models.hub import local
from ...models.text.tower import load_tokenizer
from ...whole_files import replaced
from ..calibration import Calibration, Curve, QueryKind, read_curves
from .caption_expansion import Vocabulary
from .model import MiniConfig, MiniModel
from .region_scorer import REGION_FEATURES, UNFITTED, RegionScorer

CONFIG, WEIGHTS, TOKENIZER, WORDS = "config.json", "model.safetensors", "tokenizer.json", "words.txt"
FORMAT = 1
DIGITS = 4  # of the constants in config.json
UNUSED = ("alike", "bank.phrases", "class_table")  # tensors that files of earlier editions still hold
SCORE_WEIGHT = 3.0  # of regions beside their cosine, see `Calibration`
EDITION = 8  # raised when the same weights give other vectors
VOCABULARY, SCORER = "vocabulary", "rating"


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a folder holds.

    Attributes:
        model: in eval mode, float32.
        calibration: banks and constants.
        vocabulary: names that pictures in a sentence are read as; empty where training saw none.
        scorer: of masks as regions.
        config: the whole of config.json.
        checkpoint: sha256 of weights, sizes and vocabulary together, hex.
    """

    model: MiniModel
    calibration: Calibration
    vocabulary: Vocabulary
    scorer: RegionScorer
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
        raise WeightsMissing(
            f"bundle {folder} is damaged: {' '.join(repr(error).split())[:300]}; copy or train it again"
        ) from error


def _read(folder: Path) -> Bundle:
    config = local.read_config(folder, form=FORMAT)
    content = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    banks = {name: content.pop(f"bank.{name}").numpy() for name in ("captions", "pictures", "regions")}
    for name in UNUSED:
        content.pop(name, None)
    sizes, tokenizer = MiniConfig(**config["sizes"]), load_tokenizer(folder / TOKENIZER)
    _check_shapes(sizes, tokenizer, content, folder)
    model = MiniModel(sizes, tokenizer)
    names = tuple(config.get(VOCABULARY, ()))
    vectors = content.pop(VOCABULARY, torch.zeros(0, model.interface.config.width))
    if len(names) != len(vectors):
        raise ValueError(f"{len(names)} names for {len(vectors)} vectors of the vocabulary")
    scorer = RegionScorer(_scorer_weights(content.pop(SCORER, torch.tensor(UNFITTED))))
    try:
        model.load_state_dict(content)
    except RuntimeError as error:
        raise WeightsMissing(
            f"{folder / WEIGHTS} does not fit the sizes in {CONFIG}: {str(error).splitlines()[-1].strip()[:300]}"
        ) from error
    banks["phrases"] = banks["captions"]  # phrases are read as captions are
    calibration = Calibration.of_banks(banks, read_curves(config["calibration"]), score_weight=SCORE_WEIGHT)
    model.eval().requires_grad_(False)
    model.vision.channels_last()
    return Bundle(model, calibration, Vocabulary(names, vectors), scorer, config, fingerprint(folder))


def _check_shapes(sizes: MiniConfig, tokenizer: Tokenizer, content: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse weights that do not fit, before a model of those sizes takes memory.

    Raises:
        WeightsMissing: a tensor of the model is missing or of another shape.
    """
    with torch.device("meta"):
        expected = MiniModel(sizes, tokenizer).state_dict()
    for name, value in expected.items():
        found = tuple(content[name].shape) if name in content else None
        if found != tuple(value.shape):
            raise WeightsMissing(
                f"{folder / WEIGHTS} does not fit the sizes in {CONFIG}: {name} "
                f"{'is missing' if found is None else f'has shape {found}'}, expected {tuple(value.shape)}"
            )


def _scorer_weights(weights: Tensor) -> Tensor:
    """Weights as the scorer takes them. Up to edition 7 a tenth feature stood before the constant: 1 for a proposal."""
    features = len(REGION_FEATURES)
    return weights if len(weights) == features + 1 else torch.cat([weights[:features], weights[features:].sum()[None]])


def save_bundle(
    folder: Path,
    model: MiniModel,
    calibration: Calibration,
    facts: dict[str, Any],
    vocabulary: Vocabulary,
    scorer: RegionScorer | None,
) -> None:
    """Write a bundle, every tensor in float16.

    Args:
        facts: what else belongs into config.json: ``class_names``, ``trained_on``, ``preprocessing``, ``name``.
        scorer: None where it could not be fitted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach() for name, value in model.state_dict().items()}
    tensors[VOCABULARY] = vocabulary.vectors
    if scorer is not None:
        tensors[SCORER] = scorer.weights
    banks = {"captions": calibration.captions, "pictures": calibration.pictures, "regions": calibration.regions}
    tensors |= {f"bank.{name}": torch.from_numpy(np.asarray(bank)) for name, bank in banks.items()}
    halves = {
        name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in tensors.items()
    }
    save_file(halves, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors leaves it to its owner alone
    model.text.tokenizer.save(str(folder / TOKENIZER))
    config = {
        "format": FORMAT,
        **facts,
        VOCABULARY: list(vocabulary.names),
        "sizes": asdict(model.config),
        "calibration": {},
    }
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    save_curves(folder, calibration.curves)


def save_curves(folder: Path, curves: dict[QueryKind, Curve]) -> None:
    """Put other curves into a bundle; its vectors, and so its space, stay what they are."""
    config = local.read_config(folder)
    config["calibration"] = {
        kind: {name: round(value, DIGITS) for name, value in asdict(curve).items()} for kind, curve in curves.items()
    }
    with replaced(folder / CONFIG) as draft:
        draft.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def fingerprint(folder: Path) -> str:
    """sha256 over weights, sizes, tokenizer and vocabulary: two bundles with one fingerprint give the same vectors."""
    digest = hashlib.sha256(str(EDITION).encode())
    config = local.read_config(folder)
    digest.update(json.dumps(config["sizes"], sort_keys=True).encode())
    if VOCABULARY in config:
        digest.update(json.dumps(config[VOCABULARY]).encode())
    for name in (WEIGHTS, TOKENIZER):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
