"""What differs between the families of interleaved encoders: the class, the prompt, and how a vector is pooled.

*Qwen3-VL-Embedding* (Li et al., Qwen3-VL-Embedding and Qwen3-VL-Reranker, 2026): a causal language model whose input is
a chat with an instruction, the same for queries and documents. The vector is the hidden state of the last token. A
region is that pooling kept to a mask: the tokens that close the chat are read once more for each region, and see of the
photo only the tokens under its mask.

*EmbeddingGemma 2*: a language model that sees in both directions. The vector is the mean of all projected hidden
states. Texts carry the prompt of a search; pictures alone carry none. A region is that mean with the tokens under its
mask in place of those of the whole photo.

In both a mask of everything gives the photo's own vector.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...records import RGB, Floats
from .pixels import GemmaPixels, Pixels, QwenPixels

INSTRUCTION = "Represent the user's input."
SEARCH = "task: search result | query: "
MOST_PIXELS = 1800 * 32 * 32  # of a picture, as the authors of Qwen3-VL-Embedding run it
LEAST = 1e-4  # coverage under which a token is not seen at all


@dataclass(frozen=True, slots=True)
class PhotoStates:
    """What a model made of a batch of photos, each alone in its input.

    Attributes:
        images: (N, D), not of unit length.
        regions: by photo (R, D), not of unit length; empty where none were asked for.
        cells: by photo (h * w, D), the last hidden states of its tokens.
    """

    images: Tensor
    regions: list[Tensor]
    cells: list[Tensor]


class Family(ABC):
    """One family with a loaded checkpoint.

    Args:
        model: of transformers.
        tokenizer: of the same checkpoint.
        pixels: how its pictures are prepared.

    Attributes:
        model_class: name of the class of transformers.
        length: what the configuration of its language model calls the length of a vector.
        padding: side on which shorter inputs of a batch are filled up.
        half: whether float16 holds what the model computes.
    """

    model_class: ClassVar[str]
    length: ClassVar[str]
    padding: ClassVar[Literal["left", "right"]]
    half: ClassVar[bool] = True

    def __init__(self, model: Any, tokenizer: Any, pixels: Pixels) -> None:
        self._model, self._tokenizer, self._pixels = model, tokenizer, pixels
        self._image = int(model.config.image_token_id)
        self._tokenizer.padding_side = self.padding

    @staticmethod
    @abstractmethod
    def pixels_of(folder: Path) -> Pixels:
        """How the pictures of a checkpoint are prepared."""

    @abstractmethod
    def framed(self, content: str, *, worded: bool) -> str:
        """The whole input around the content, which holds words where `worded`."""

    @property
    @abstractmethod
    def _around(self) -> tuple[int, int]:
        """Ids of the tokens before and after a picture."""

    def picture(self, tokens: int) -> str:
        """The place of a picture of so many tokens, as it stands in the content."""
        before, image, after = self._tokenizer.convert_ids_to_tokens([self._around[0], self._image, self._around[1]])
        return f"{before}{image * tokens}{after}"

    @abstractmethod
    def sentences(self, texts: Sequence[str], pictures: Sequence[RGB]) -> Tensor:
        """(N, D) vectors, not of unit length, of whole inputs with all their prepared pictures in order."""

    @abstractmethod
    def photos(self, pictures: Sequence[RGB], coverages: Sequence[Floats] | None) -> PhotoStates:
        """Photos, each alone in its input, and masked parts of them.

        Args:
            pictures: prepared.
            coverages: per photo (R, h, w) float32, 0 to 1, of its tokens; None asks for no regions.
        """

    def _inputs(self, texts: Sequence[str], pictures: Sequence[RGB]) -> dict[str, Tensor]:
        tokens = self._tokenizer(list(texts), padding=True, return_tensors="pt")
        device = self._model.device
        return {
            "input_ids": tokens["input_ids"].to(device),
            "attention_mask": tokens["attention_mask"].to(device),
            **self._pixels.tensors(pictures, device, self._model.dtype),
        }

    def _alone(self, pictures: Sequence[RGB]) -> dict[str, Tensor]:
        """Inputs of photos, each alone."""
        texts = [self.framed(self.picture(self._pixels.tokens(picture)), worded=False) for picture in pictures]
        return self._inputs(texts, pictures)


class Qwen3VL(Family):
    """Qwen3-VL-Embedding."""

    model_class = "Qwen3VLModel"
    length = "hidden_size"
    padding = "left"

    @staticmethod
    def pixels_of(folder: Path) -> Pixels:
        """See `Family.pixels_of`."""
        return QwenPixels(folder, MOST_PIXELS)

    @property
    def _around(self) -> tuple[int, int]:
        return int(self._model.config.vision_start_token_id), int(self._model.config.vision_end_token_id)

    def framed(self, content: str, *, worded: bool) -> str:
        """See `Family.framed`."""
        return (
            f"<|im_start|>system\n{INSTRUCTION}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
            "<|im_start|>assistant\n"
        )

    def sentences(self, texts: Sequence[str], pictures: Sequence[RGB]) -> Tensor:
        """See `Family.sentences`."""
        inputs = self._placed(self._inputs(texts, pictures))
        states: Tensor = self._model(**inputs, use_cache=False).last_hidden_state
        return states[:, -1].float()  # filled up on the left, so that all inputs end here

    def photos(self, pictures: Sequence[RGB], coverages: Sequence[Floats] | None) -> PhotoStates:
        """See `Family.photos`."""
        inputs = self._placed(self._alone(pictures))
        shown = inputs["input_ids"] == self._image
        # The photos are read up to the last of their tokens; what closes the chat is the same for all, and is read
        # once for the photo and once for each region against the same keys and values.
        close = shown.shape[1] - 1 - int(shown[0].nonzero().max())
        ids, mask, places = inputs.pop("input_ids"), inputs.pop("attention_mask"), inputs.pop("position_ids")
        opened = self._model(
            input_ids=ids[:, :-close],
            attention_mask=mask[:, :-close],
            position_ids=places[:, :, :-close],
            use_cache=True,
            **inputs,
        )
        shown = shown[:, :-close]
        counts = shown.sum(1).tolist()
        most = max((len(rows) for rows in coverages), default=0) if coverages is not None else 0
        seen = mask[:, None, :-close].float().log().repeat(1, 1 + most, 1)  # 0 of tokens, -inf of what fills up
        for n, rows in enumerate(coverages if coverages is not None else ()):
            for region, bias in enumerate(_bias(rows, seen.device), start=1):
                seen[n, region, shown[n]] = bias
        closed = self._model.language_model(
            inputs_embeds=self._model.get_input_embeddings()(ids[:, -close:].repeat(1, 1 + most)),
            attention_mask=_each_alone(seen, close).to(opened.last_hidden_state.dtype),
            position_ids=places[:, :, -close:].repeat(1, 1, 1 + most),
            past_key_values=opened.past_key_values,
            use_cache=True,
        )
        pooled = closed.last_hidden_state[:, close - 1 :: close].float()
        cells = opened.last_hidden_state[shown].float().split(counts)
        wanted = [len(rows) for rows in coverages] if coverages is not None else [0] * len(pictures)
        regions = [pooled[n, 1 : 1 + count] for n, count in enumerate(wanted)]
        return PhotoStates(pooled[:, 0], regions, list(cells))

    def _placed(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Inputs with the place of every token: in the sentence, and down and across in its picture."""
        places, _ = self._model.get_rope_index(
            inputs["input_ids"],
            (inputs["input_ids"] == self._image).int(),
            image_grid_thw=inputs.get("image_grid_thw"),
            attention_mask=inputs["attention_mask"],
        )
        return {**inputs, "position_ids": places}


class Gemma2(Family):
    """EmbeddingGemma 2."""

    model_class = "EmbeddingGemma2Model"
    length = "embedding_dim"
    padding = "right"
    half = False  # its activations lie beyond float16

    @staticmethod
    def pixels_of(folder: Path) -> Pixels:
        """See `Family.pixels_of`."""
        return GemmaPixels(folder)

    @property
    def _around(self) -> tuple[int, int]:
        return int(self._model.config.boi_token_id), int(self._model.config.eoi_token_id)

    def framed(self, content: str, *, worded: bool) -> str:
        """See `Family.framed`."""
        return f"{SEARCH}{content}" if worded else content

    def sentences(self, texts: Sequence[str], pictures: Sequence[RGB]) -> Tensor:
        """See `Family.sentences`."""
        inputs = self._inputs(texts, pictures)
        states = self._model(**inputs).last_hidden_state.float()
        real = inputs["attention_mask"][:, :, None].float()
        mean: Tensor = (states * real).sum(1) / real.sum(1)
        return mean

    def photos(self, pictures: Sequence[RGB], coverages: Sequence[Floats] | None) -> PhotoStates:
        """See `Family.photos`."""
        inputs = self._alone(pictures)
        states = self._model(**inputs).last_hidden_state.float()
        shown = inputs["input_ids"] == self._image
        others = (inputs["attention_mask"].bool() & ~shown)[:, :, None].float()
        beside = (states * others).sum(1)
        cells = list(states[shown].split(shown.sum(1).tolist()))
        images = torch.stack([rows.sum(0) for rows in cells]) + beside
        regions = [] if coverages is not None else [images[:0]] * len(pictures)
        for n, rows in enumerate(coverages if coverages is not None else ()):
            shares = _bias(rows, states.device).exp()
            # as many tokens as the photo has, so that those beside the photo keep their weight
            regions.append(shares @ cells[n] * (len(cells[n]) / shares.sum(1, keepdim=True)) + beside[n])
        return PhotoStates(images, regions, cells)


FAMILIES: dict[str, type[Family]] = {"qwen3_vl": Qwen3VL, "embedding_gemma2": Gemma2}


def _bias(coverage: Floats, device: torch.device) -> Tensor:
    """(R, P) log of a coverage, -inf where there is none; a mask that no token shows looks at everything."""
    flat = torch.from_numpy(coverage).to(device).flatten(1)
    nothing = (flat < LEAST).all(1, keepdim=True)
    bias = flat.log().masked_fill(flat < LEAST, float("-inf"))
    return bias.masked_fill(nothing, 0.0)


def _each_alone(seen: Tensor, length: int) -> Tensor:
    """The attention of B pieces of text of one length that follow one beginning and see nothing of each other.

    Args:
        seen: (N, B, P), added to the attention of every token of a piece over the beginning.
        length: tokens of a piece.
    Returns:
        (N, 1, B * length, P + B * length) float32.
    """
    count, pieces, _ = seen.shape
    inside = torch.full((length, length), float("-inf"), device=seen.device).triu(1)
    own = torch.full((pieces, length, pieces, length), float("-inf"), device=seen.device)
    own[torch.arange(pieces), :, torch.arange(pieces)] = inside
    own = own.reshape(pieces * length, pieces * length).expand(count, -1, -1)
    return torch.cat([seen.repeat_interleave(length, 1), own], -1)[:, None]
