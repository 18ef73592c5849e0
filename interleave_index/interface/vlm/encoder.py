"""Interleaved encoders from a checkpoint folder, through the classes of transformers.

Sentences and photos get the vectors that the model itself gives. Nothing is ever downloaded here and no program of a
checkpoint is run, so that prompts are written in `families` and not taken from its chat template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ...errors import ConfigError, ModelError
from ...geometry import unit
from ...models.hub import local
from ...models.hub.dual_encoder import torch_dtype
from ...models.hub.pretrained import build, reader
from ...records import RGB, Floats
from .families import FAMILIES, Family
from .pixels import Pixels
from .words import PromptWords

MOST_TOKENS = 8192  # of an input without pictures, as both families are run by their authors

Sentence: TypeAlias = tuple[str | RGB, ...]  # words, and prepared pictures in their places


@dataclass(frozen=True, slots=True)
class EncodedPhoto:
    """What an encoder makes of one prepared photo; rows are unit vectors.

    Attributes:
        image: (D,) float32.
        regions: (R, D) float32.
        patches: (h * w, D) float32, the last hidden states of its tokens.
    """

    image: Floats
    regions: Floats
    patches: Floats


def family_of(config: dict[str, Any]) -> type[Family] | None:
    """The family of a checkpoint by its config.json, or None when it is no interleaved encoder."""
    return FAMILIES.get(str(config.get("model_type")))


def dim_of(config: dict[str, Any]) -> int | None:
    """Length of a checkpoint's vectors by its config.json, or None where that does not say it."""
    family = family_of(config)
    length = config.get("text_config", {}).get(family.length) if family else None
    return None if length is None else int(length)


class InterleavedEncoder:
    """A frozen interleaved encoder.

    Args:
        folder: config.json, weights, tokenizer and preprocessor files.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        width: how many numbers of a vector are kept; 0 keeps all.
    Raises:
        WeightsMissing: a file is not there.
        ModelError: it is no interleaved encoder.
        ConfigError: a width or dtype that the model does not have.
        BackendMissing: transformers is not installed, or is too old for the model.

    Attributes:
        name: of the checkpoint on the hub, else the name of its folder.
        checkpoint: SHA-256 of the weights.
        dim: D.
        pixels: how pictures are prepared.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto", width: int = 0) -> None:
        facts = local.describe(folder)
        family = family_of(facts.config)
        if family is None:
            raise ModelError(
                f"{folder} has model_type {facts.config.get('model_type')!r} in its config.json, expected "
                f"one of {', '.join(FAMILIES)}"
            )
        self.name = facts.name if facts.revision else folder.name
        self.checkpoint = local.checkpoint_of(folder)
        self.device, self.dtype = torch.device(device), _dtype(family, folder, dtype, device)
        self.pixels: Pixels = family.pixels_of(folder)
        model = build(folder, family.model_class, device, self.dtype)
        self.dim = _width(int(getattr(model.config.text_config, family.length)), width)
        tokenizer = reader(folder, "AutoTokenizer")
        self._family = family(model, tokenizer, self.pixels)
        self._words = PromptWords(tokenizer)
        frame = self._words.count(self._family.framed("", worded=True))
        positions = int(model.config.text_config.max_position_embeddings)
        self._text_length = max(1, min(MOST_TOKENS, positions) - frame)

    @torch.inference_mode()
    def encode_sentences(self, sentences: Sequence[Sentence]) -> list[Floats]:
        """(D,) float32 unit vectors, each of a whole sentence with its pictures, in one forward pass.

        Words that are longer than the model reads are cut off; the pictures of a sentence are all read.
        """
        if not len(sentences):
            return []
        texts = [self._written(sentence) for sentence in sentences]
        pictures = [piece for sentence in sentences for piece in sentence if not isinstance(piece, str)]
        return list(self._unit(self._family.sentences(texts, pictures)))

    @torch.inference_mode()
    def encode_photos(self, prepared: Sequence[RGB], coverages: Sequence[Floats] | None = None) -> list[EncodedPhoto]:
        """Encode prepared photos and parts of them together.

        Args:
            prepared: from `Pixels.prepare`.
            coverages: per photo (R, h, w) float32, 0 to 1, of its tokens; None asks for no regions.
        """
        states = self._family.photos(prepared, coverages)
        images = self._unit(states.images)
        return [
            EncodedPhoto(image, self._unit(regions), self._unit(cells))
            for image, regions, cells in zip(images, states.regions, states.cells, strict=True)
        ]

    def length(self, sentence: Sentence) -> int:
        """A number that grows with the tokens of a sentence, four a token, for putting like with like."""
        return sum(len(piece) if isinstance(piece, str) else 4 * self.pixels.tokens(piece) for piece in sentence)

    def beyond_context(self, text: str) -> str:
        """The end of a text that lies beyond what the model reads; mostly empty."""
        return text[len(self._words.within(text, self._text_length)[0]) :]

    def _written(self, sentence: Sentence) -> str:
        """The input of a sentence, with a place for every picture."""
        pieces, left = [], self._text_length
        worded = False
        for piece in sentence:
            if isinstance(piece, str):
                words, left = self._words.within(piece, left)
                worded = worded or bool(words)
                pieces.append(self._words.plain(words))
            else:
                pieces.append(self._family.picture(self.pixels.tokens(piece)))
        return self._family.framed(" ".join(piece for piece in pieces if piece), worded=worded)

    def _unit(self, vectors: Tensor) -> Floats:
        """The first numbers of each vector, scaled to length 1."""
        return unit(vectors[:, : self.dim].float().cpu().numpy())


def _width(dim: int, width: int) -> int:
    """How many numbers of a vector of length `dim` are kept; 0 asks for all."""
    if not 0 <= width <= dim:
        raise ConfigError(f"models.width is {width}, expected at most {dim}, the length of the model's vectors, or 0")
    return width or dim


def _dtype(family: type[Family], folder: Path, name: str, device: str) -> torch.dtype:
    dtype = torch_dtype(name, device)
    if dtype != torch.float16 or family.half:
        return dtype
    if name == "float16":
        raise ConfigError(f"models.dtype is float16, which {folder.name} overflows; expected bfloat16 or float32")
    return torch.float32
