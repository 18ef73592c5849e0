"""READ as released: what the language model answers of a photo, and the mask of every [SEG] in it.

The state that emits a [SEG], the one before it, is the query: its products with the states of the image tokens are the
similarity map, the map gives 30 points, and SAM's decoder gets the points, a padding point, and the state projected
to one more token. A photo for which the model answers without [SEG], or whose mask is empty, does not show the thing.
Source: READ (Qian et al., Reasoning to Attend, CVPR 2025) and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...geometry import size_of
from ...grounding.compatible import ReadPoints, ReadSettings, read_points, read_similarity
from ...models.segmenters.framing import IMAGENET, Frame
from ...records import RGB, BoolMask, Floats
from .loading import SPECIAL, Parts, load_parts

MOST_TOKENS = 64  # of an answer
SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions."
)
PHRASE, SENTENCE = ("What is {} in this image? Please output segmentation mask.", "{} Please output segmentation mask.")
LARGE = 5120  # width of the 13B language model; its points come from the grid as it is


@dataclass(frozen=True, slots=True)
class Segment:
    """One [SEG] of an answer.

    Attributes:
        mask: (H, W) bool.
        quality: SAM's predicted IoU.
        similarity: (g, g) float32 map over the middle square of the photo.
        points: what SAM's decoder was shown.
    """

    mask: BoolMask
    quality: float
    similarity: Floats
    points: ReadPoints


@dataclass(frozen=True, slots=True)
class Answer:
    """What READ answered: words, and one segment for every [SEG] in them."""

    text: str
    segments: tuple[Segment, ...]


class Read:
    """READ from a released folder.

    Args:
        folder: see `loading.load_parts`.
        device: as torch names it.
        dtype: of the weights.
        settings: of the points; None takes those of the model's size.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        settings: ReadSettings | None = None,
    ) -> None:
        self._parts: Parts = load_parts(folder, device=device, dtype=dtype)
        self._device, self._dtype = device, dtype
        wide = self._parts.llava.config.text_config.hidden_size
        self._settings = settings or ReadSettings(downsample=1 if wide >= LARGE else 2)
        tokenizer = self._parts.tokenizer
        self._seg, self._start = (tokenizer.convert_tokens_to_ids(word) for word in SPECIAL[:2])

    @torch.inference_mode()
    def ask(self, photo: RGB, question: str) -> Answer:
        """Ask for one thing in one photo.

        Args:
            photo: (H, W, 3) uint8, upright.
            question: a phrase (``the left dog``) or a sentence that ends in a mark (``What cuts bread?``).
        """
        before, after = self._prompt(question)
        pictures = self._image_tokens(photo)
        embed = self._parts.llava.get_input_embeddings()
        first = torch.cat([embed(before), pictures, embed(after)], dim=1)
        states, ids = self._continue(first)
        text = self._parts.tokenizer.decode(ids, skip_special_tokens=True)
        tokens = states[0, before.shape[1] : before.shape[1] + pictures.shape[1]]
        emitting = [states[0, first.shape[1] - 1 + n] for n, token in enumerate(ids) if token == self._seg]
        return Answer(text.replace(SPECIAL[0], "").strip(), self._segments(photo, tokens, emitting))

    # --- the answer ---------------------------------------------------------------------------

    def _prompt(self, question: str) -> tuple[Tensor, Tensor]:
        """Token ids (1, n) up to <im_start>, and from <im_end> on; the image lies between."""
        question = question.strip()
        asked = (SENTENCE if question.endswith((".", "?", "!")) else PHRASE).format(question)
        tokenizer = self._parts.tokenizer
        start, end = SPECIAL[1:]
        head = tokenizer(f"{SYSTEM} USER: {start}")["input_ids"]
        tail = tokenizer(f"{end}\n{asked} ASSISTANT:", add_special_tokens=False)["input_ids"]
        return self._ids(head[: head.index(self._start) + 1]), self._ids(tail)

    def _ids(self, ids: list[int]) -> Tensor:
        return torch.tensor([ids], device=self._device)

    def _image_tokens(self, photo: RGB) -> Tensor:
        """(1, g * g, D) projected patches of the photo's middle square."""
        view = self._parts.view
        pixels = view.tensors([view.prepare(photo)], torch.device(self._device))["pixel_values"]
        features = self._parts.llava.get_image_features(pixels.to(self._dtype), return_dict=True).pooler_output
        return torch.stack(list(features))

    def _continue(self, given: Tensor) -> tuple[Tensor, list[int]]:
        """Greedy words after the prompt.

        Returns:
            (1, n, D) last states after the final norm, of the prompt and of all words but the last; the words' ids.
        """
        model, head = self._parts.llava.model.language_model, self._parts.llava.lm_head
        states: list[Tensor] = []
        ids: list[int] = []
        cache: Any = None
        while True:
            out = model(inputs_embeds=given, past_key_values=cache, use_cache=True)
            states.append(out.last_hidden_state)
            cache = out.past_key_values
            ids.append(int(head(out.last_hidden_state[:, -1]).argmax()))
            if ids[-1] == self._parts.tokenizer.eos_token_id or len(ids) >= MOST_TOKENS:
                return torch.cat(states, dim=1), ids
            given = self._parts.llava.get_input_embeddings()(self._ids([ids[-1]]))

    # --- its masks ----------------------------------------------------------------------------

    def _segments(self, photo: RGB, tokens: Tensor, queries: list[Tensor]) -> tuple[Segment, ...]:
        if not queries:
            return ()
        sam = self._parts.sam
        size = size_of(photo)
        frame = Frame(size, int(sam.config.prompt_encoder_config.image_size), True)
        embedded = sam.get_image_embeddings(frame.pixels(photo, *IMAGENET, self._device).to(self._dtype))
        return tuple(self._segment(frame, embedded, tokens, query) for query in queries)

    def _segment(self, frame: Frame, embedded: Tensor, tokens: Tensor, query: Tensor) -> Segment:
        sam = self._parts.sam
        similarity = read_similarity(tokens.float().cpu().numpy(), query.float().cpu().numpy())
        points = read_points(similarity, frame.size, self._settings)
        placed = torch.from_numpy(frame.points(points.soft))[None, None].to(self._device)
        labels = torch.from_numpy(points.labels.astype(np.int32))[None, None].to(self._device)
        sparse, dense = sam.prompt_encoder(input_points=placed, input_labels=labels, input_boxes=None, input_masks=None)
        token = self._parts.head(query)[None, None, None]
        logits, quality = sam.mask_decoder(
            image_embeddings=embedded,
            image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=torch.cat([sparse.to(token.dtype), token], dim=2),
            dense_prompt_embeddings=dense.to(token.dtype),
            multimask_output=False,
        )
        (mask,) = frame.masks(logits[0, 0])
        side = round(len(similarity) ** 0.5)
        return Segment(mask, float(quality.flatten()[0]), similarity.reshape(side, side), points)
