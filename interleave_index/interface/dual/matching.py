"""BLIP's image-text matching as a reranker: a text encoder that looks at the photo says whether the two match.

Li et al., BLIP, 2022: the second column of the softmax over the two outputs of the matching head. It reads words only,
and was trained on captions of what is there, so that pictures and negatives of a query are not shown to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...models.batching import Batcher
from ...models.hub import local
from ...models.hub.dual_encoder import torch_dtype
from ...models.hub.pixels import Preparation, read_preprocessing
from ...models.hub.pretrained import build, reader
from ...records import RGB, Floats
from ..reranker import Sentence

ON_CPU, ON_ACCELERATOR = (4, 16), (16, 128)  # pairs of the first batch and of the largest


class BlipMatcher:
    """A frozen BLIP with its matching head.

    Args:
        folder: config.json, weights, tokenizer and preprocessor file.
        device: ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
    Raises:
        WeightsMissing: a file is not there.
        BackendMissing: transformers is not installed.

    Attributes:
        name: of the checkpoint on the hub, else the name of its folder.
        batcher: how many pairs go through the model at a time.
    """

    reads_pictures = False

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        facts = local.describe(folder)
        self.name = facts.name if facts.revision else folder.name
        self.batcher = Batcher(*(ON_CPU if device == "cpu" else ON_ACCELERATOR))
        self._device, self._dtype = torch.device(device), torch_dtype(dtype, device)
        self._model = build(folder, "BlipForImageTextRetrieval", device, self._dtype)
        self._tokenizer = reader(folder, "AutoTokenizer")
        self._pixels: Preparation = read_preprocessing(folder, facts.config)
        self._text_length = int(self._model.config.text_config.max_position_embeddings)

    @property
    def at_a_time(self) -> int:
        """See `Reranker.at_a_time`."""
        return self.batcher.size

    def prepare(self, picture: RGB) -> RGB:
        """See `Reranker.prepare`."""
        prepared: RGB = np.asarray(self._pixels.prepare(picture))
        return prepared

    def beyond_context(self, text: str) -> str:
        """See `Reranker.beyond_context`."""
        places = self._tokenizer(text, return_offsets_mapping=True, verbose=False)["offset_mapping"]
        if len(places) <= self._text_length:
            return ""
        return text[places[self._text_length - 1][0] :]  # the last place is that of the closing token

    def scores(self, query: Sentence, candidates: Sequence[Sentence]) -> Floats:
        """See `Reranker.scores`: of the words of the query with the photo of each candidate; its words are not read."""
        text = " ".join(piece for piece in query if isinstance(piece, str))
        photos = [piece for candidate in candidates for piece in candidate if not isinstance(piece, str)]
        return np.array(self.batcher.run(photos, lambda some: self._score(text, some)), np.float32)

    @torch.inference_mode()
    def _score(self, text: str, photos: Sequence[RGB]) -> list[float]:
        tokens = self._tokenizer([text], truncation=True, max_length=self._text_length, return_tensors="pt")
        pixels = self._pixels.tensors(photos, self._device)["pixel_values"].to(self._dtype)
        seen = self._model.vision_model(pixel_values=pixels).last_hidden_state
        read = self._model.text_encoder(
            input_ids=tokens["input_ids"].to(self._device).expand(len(photos), -1),
            attention_mask=tokens["attention_mask"].to(self._device).expand(len(photos), -1),
            encoder_hidden_states=seen,
        ).last_hidden_state
        chances: list[float] = self._model.itm_head(read[:, 0]).float().softmax(-1)[:, 1].tolist()
        return chances
