"""Dual encoders from a checkpoint folder, through transformers; `families` is the table of them.

Whole photos and texts get the vectors that the model itself gives. Regions and patches come from the opened tower (see
`dual_towers`). Nothing is ever downloaded here and no program of a checkpoint is run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import ModelError, WeightsMissing
from ...geometry import unit
from ...records import RGB, Floats
from . import local
from .dual_towers import TOWERS
from .families import dim_of, family_of, types
from .heads import HEADS, blip_2_queries
from .pixels import Preparation, Prepared, Preprocessing, read_preprocessing
from .pretrained import build, reader

TEXTS_AT_A_TIME = 64
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")

Method = Literal["attention", "patches"]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What an encoder makes of one prepared photo; rows are unit vectors.

    Attributes:
        image: (D,) float32.
        regions: (R, D) float32.
        patches: (h * w, D) float32; none when they were not asked for, or where the family has none.
    """

    image: Floats
    regions: Floats
    patches: Floats


class DualEncoder:
    """A frozen dual encoder.

    Args:
        folder: config.json, weights, tokenizer and preprocessor files.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    Raises:
        WeightsMissing: a file is not there.
        ModelError: it is no dual encoder, or its files do not fit each other.
        BackendMissing: transformers is not installed.

    Attributes:
        name: of the checkpoint on the hub, else the name of its folder.
        checkpoint: SHA-256 of the weights.
        dim: D.
        preprocessing: of photos.
        has_patches: whether it gives vectors of regions and patches; else regions are cut out.
        has_query_vectors: whether it compares a text with several vectors of a photo, see `query_vectors`.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        facts = local.describe(folder)
        family = family_of(facts.config)
        if family is None:
            raise ModelError(
                f"{folder} has model_type {facts.config.get('model_type')!r} in its config.json, expected "
                f"one of {', '.join(types())}"
            )
        self.name = facts.name if facts.revision else folder.name
        self.checkpoint = local.checkpoint_of(folder)
        self.preprocessing: Preparation = read_preprocessing(folder, facts.config)
        self.device, self.dtype = torch.device(device), torch_dtype(dtype, device)
        self._family, self._heads = family, HEADS[family.heads]
        self._model = build(folder, family.model, device, self.dtype)
        self._check_input(folder, facts.config)
        self._tower = TOWERS[family.tower](self._model, self._heads)
        self._tokenizer = _tokenizer(folder)
        self._text_length = self._context()
        self.has_patches = family.tower != "whole"
        self.has_query_vectors = family.heads == "blip-2"
        self.dim = int(dim_of(self._model.config.to_dict()) or 0)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """(N, D) float32 unit vectors of texts; what is longer than the model reads is cut off."""
        vectors = [np.zeros((0, self.dim), np.float32)]
        padding: Any = True if self._family.masked else "max_length"
        wanted = ("input_ids", "attention_mask") if self._family.masked else ("input_ids",)
        for start in range(0, len(texts), TEXTS_AT_A_TIME):
            batch = [self._cased(text) for text in texts[start : start + TEXTS_AT_A_TIME]]
            tokens = self._tokenizer(
                batch, padding=padding, truncation=True, max_length=self._text_length, return_tensors="pt"
            )
            inputs = {name: tokens[name].to(self.device) for name in wanted}
            vectors.append(_array(self._heads.text(self._model, inputs)))
        return unit(np.concatenate(vectors))

    def prepare(self, photo: RGB) -> Prepared:
        """A photo at the size of the model's input; may run in another thread than the model."""
        return self.preprocessing.prepare(photo)

    @torch.inference_mode()
    def encode_images(
        self,
        prepared: Sequence[Prepared],
        coverages: Sequence[Floats] | None = None,
        *,
        method: Method = "attention",
        patches: bool = False,
    ) -> list[EncodedImage]:
        """Encode prepared photos and parts of them in one forward pass.

        Args:
            prepared: from `prepare`.
            coverages: per photo (R, h, w) float32, 0 to 1, of its patch grid; None asks for no regions.
            method: ``attention`` or ``patches``; see `dual_towers`.
            patches: also give every patch's vector.
        """
        output = self._tower.forward(self._inputs(prepared))
        images = unit(_array(output.image))
        none = np.zeros((0, self.dim), np.float32)
        wants_patches = self.has_patches and (patches or method == "patches")
        dense = unit(_array(self._tower.patches(output))) if wants_patches else None
        regions = [none] * len(prepared)
        if coverages is not None and any(len(rows) for rows in coverages):
            padded = _padded(coverages, output.real.shape[1])
            if dense is not None and method == "patches":
                pooled = padded.numpy() @ dense
            else:
                pooled = _array(self._tower.pool(output, padded.to(self.device)))
            regions = [unit(rows[: len(wanted)]) for rows, wanted in zip(pooled, coverages, strict=True)]
        cells = output.real.sum(1).tolist()
        return [
            EncodedImage(images[n], regions[n], dense[n, : cells[n]] if patches and dense is not None else none)
            for n in range(len(prepared))
        ]

    @torch.inference_mode()
    def query_vectors(self, prepared: Sequence[Prepared]) -> Floats:
        """(N, Q, D) float32 unit vectors of BLIP-2's learned queries, of which an index keeps the mean.

        The model itself compares a text with the nearest of them.
        """
        return _array(blip_2_queries(self._model, self._inputs(prepared)))

    def beyond_context(self, text: str) -> str:
        """The end of a text that lies beyond what the model reads; mostly empty."""

        def is_too_long(length: int) -> bool:
            tokens = self._tokenizer(self._cased(text[:length]), verbose=False)["input_ids"]
            return len(tokens) > self._text_length

        # not every tokenizer gives the places of its tokens: the longest beginning of the text that fits is searched
        lengths = range(1, len(text) + 1)
        return text[bisect_left(lengths, True, key=is_too_long) :] if is_too_long(len(text)) else ""

    def _cased(self, text: str) -> str:
        """A text in the case that the model was trained on."""
        return text.lower() if self._family.lower else text

    def _context(self) -> int:
        """Tokens of a text at most, by the text tower, the tokenizer and the family's processor."""
        text = self._model.config.get_text_config()
        if self._family.heads == "blip-2":
            text = self._model.config.qformer_config  # which reads the texts; the language model is not loaded
        limits = [int(self._tokenizer.model_max_length)]
        positions = getattr(text, "max_position_embeddings", None)
        limits += [int(positions) - self._family.reserved] if positions else []
        limits += [self._family.context] if self._family.context else []
        return min(limits)

    def _inputs(self, prepared: Sequence[Prepared]) -> dict[str, Tensor]:
        inputs = self.preprocessing.tensors(prepared, self.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.dtype)
        return inputs

    def _check_input(self, folder: Path, config: dict[str, Any]) -> None:
        vision = getattr(self._model.config, "vision_config", None)
        side = getattr(vision, "image_size", None)
        wanted = tuple(side) if isinstance(side, (list, tuple)) else (side, side)
        steps = self.preprocessing
        is_known = self._family.checked and side is not None
        if is_known and isinstance(steps, Preprocessing) and steps.mode != "native" and steps.input != wanted:
            raise ModelError(
                f"{folder} prepares photos at {steps.input[0]}x{steps.input[1]}, but its model takes "
                f"{wanted[0]}x{wanted[1]}; its preprocessor file is not of this model"
            )
        if not getattr(vision, "vision_use_head", True) or not getattr(vision, "use_head", True):
            raise ModelError(f"{folder} has no pooling head, expected a vision tower that gives image vectors")


def torch_dtype(name: str, device: str) -> torch.dtype:
    """A dtype by name; ``auto`` is half precision where the device is made for it.

    >>> torch_dtype("auto", "cpu"), torch_dtype("float16", "cuda")
    (torch.float32, torch.float16)
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float16 if device == "mps" else torch.float32


def _padded(coverages: Sequence[Floats], cells: int) -> Tensor:
    """(N, R, P) float32: coverages side by side, with rows and cells that are in none of them left 0."""
    padded = torch.zeros(len(coverages), max(len(rows) for rows in coverages), cells)
    for n, rows in enumerate(coverages):
        flat = rows.reshape(len(rows), -1)
        padded[n, : len(rows), : flat.shape[1]] = torch.from_numpy(flat)
    return padded


def _tokenizer(folder: Path) -> Any:
    if not any(file.name in VOCABULARIES or file.suffix == ".model" for file in folder.iterdir()):
        # the library would make an empty one up
        raise WeightsMissing(
            f"{folder} holds no tokenizer, expected tokenizer.json, vocab.json, vocab.txt or spiece.model; "
            "get the model again"
        )
    return reader(folder, "AutoTokenizer")


def _array(rows: Tensor) -> Floats:
    return rows.float().cpu().numpy()
