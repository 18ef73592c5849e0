"""Qwen3-VL-Reranker: a chat model that reads a query and a document together and answers yes or no.

The prompt, the instruction and the score are those of its authors (Li et al., Qwen3-VL-Embedding and Qwen3-VL-Reranker,
2026): the logistic function of the logit of "yes" less that of "no" at the last token. Pictures go in as for
Qwen3-VL-Embedding (`pixels`), at most 1800 tokens each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import ModelError
from ...models.batching import Batcher
from ...models.hub import local
from ...models.hub.dual_encoder import torch_dtype
from ...models.hub.pretrained import build, reader
from ...records import RGB, Floats
from ..reranker import Sentence
from .encoder import MOST_TOKENS
from .families import Qwen3VL
from .words import PromptWords

TASK = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
INSTRUCTION = "Given a search query, retrieve relevant candidates that answer the query."
YES, NO = "yes", "no"
ON_CPU, ON_ACCELERATOR = (2, 8), (8, 64)  # pairs of the first batch and of the largest


class QwenReranker:
    """A frozen Qwen3-VL-Reranker.

    Args:
        folder: config.json, weights, tokenizer and preprocessor files.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    Raises:
        WeightsMissing: a file is not there.
        ModelError: its vocabulary has no word for yes or no.
        BackendMissing: transformers is not installed, or is too old for the model.

    Attributes:
        name: of the checkpoint on the hub, else the name of its folder.
        batcher: how many pairs go through the model at a time.
    """

    reads_pictures = True

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        facts = local.describe(folder)
        self.name = facts.name if facts.revision else folder.name
        self.batcher = Batcher(*(ON_CPU if device == "cpu" else ON_ACCELERATOR))
        model = build(folder, "Qwen3VLForConditionalGeneration", device, torch_dtype(dtype, device))
        tokenizer = reader(folder, "AutoTokenizer")
        self._pixels = Qwen3VL.pixels_of(folder)
        self._family = Qwen3VL(model.model, tokenizer, self._pixels)
        self._words = PromptWords(tokenizer)
        ids = [_id_of(tokenizer, word, folder) for word in (YES, NO)]
        yes, no = model.get_output_embeddings().weight[ids].float()
        self._direction = yes - no
        frame = self._words.count(_framed("", ""))
        positions = int(model.config.text_config.max_position_embeddings)
        self._text_length = max(1, min(MOST_TOKENS, positions) - frame)

    @property
    def at_a_time(self) -> int:
        """See `Reranker.at_a_time`."""
        return self.batcher.size

    def prepare(self, picture: RGB) -> RGB:
        """See `Reranker.prepare`."""
        return self._pixels.prepare(picture)

    def beyond_context(self, text: str) -> str:
        """See `Reranker.beyond_context`."""
        return text[len(self._words.within(text, self._text_length)[0]) :]

    def scores(self, query: Sentence, candidates: Sequence[Sentence]) -> Floats:
        """See `Reranker.scores`. Pairs go through the model in batches, as many at a time as fit into memory."""
        return np.array(self.batcher.run(candidates, lambda some: self._score(query, some)), np.float32)

    @torch.inference_mode()
    def _score(self, query: Sentence, candidates: Sequence[Sentence]) -> list[float]:
        asked, left = self._written(query, self._text_length)
        texts = [_framed(asked, self._written(candidate, left, "")[0]) for candidate in candidates]
        pictures = [
            piece
            for candidate in candidates
            for piece in (*query, *candidate)  # each pair is an input of its own, with all its pictures
            if not isinstance(piece, str)
        ]
        states = self._family.sentences(texts, pictures)
        chances: list[float] = (states @ self._direction).sigmoid().tolist()
        return chances

    def _written(self, pieces: Sentence, tokens: int, between: str = " ") -> tuple[str, int]:
        """Words of at most so many tokens with a place for every picture, and how many tokens are left."""
        written = []
        for piece in pieces:
            if isinstance(piece, str):
                words, tokens = self._words.within(piece, tokens)
                written.append(self._words.plain(words))
            else:
                written.append(self._family.picture(self._pixels.tokens(piece)))
        return between.join(filter(None, written)), tokens


def _framed(query: str, document: str) -> str:
    """The whole input of a pair."""
    return (
        f"<|im_start|>system\n{TASK}<|im_end|>\n<|im_start|>user\n"
        f"<Instruct>: {INSTRUCTION}<Query>:{query}\n<Document>:{document}<|im_end|>\n<|im_start|>assistant\n"
    )


def _id_of(tokenizer: Any, word: str, folder: Path) -> int:
    number = tokenizer.get_vocab().get(word)
    if number is None:
        raise ModelError(f"the vocabulary of {folder} has no word {word!r}, expected a reranker that answers yes or no")
    return int(number)
