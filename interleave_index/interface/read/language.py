"""READ's language model over one photo: the photo is read once, then questions are answered in batches.

Everything before the question is the same for all of them, and a causal model does not look ahead: keys, values and
states of the system's words and of the image tokens are computed once and shared. Knows no masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...records import RGB
from .loading import Parts
from .prompts import BEFORE, SEG, START, SUPPLIED, Question

MOST_TOKENS = 64  # of an answer
MOST_TOGETHER = 16  # questions that are answered together; each holds its own copy of the photo's keys and values


@dataclass(frozen=True, slots=True)
class ReadPhoto:
    """What the language model keeps of a photo.

    Attributes:
        layers: keys and values of every layer, each (1, heads, n, width), of the words before the photo and its tokens.
        tokens: (g * g, D) last states of the image tokens, over the middle square of the photo.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    tokens: Tensor


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the language model.

    Attributes:
        ids: of its tokens.
        emitting: (k, D) the states that emit a [SEG], one for each of them.
    """

    ids: tuple[int, ...]
    emitting: Tensor


class Language:
    """The language side of READ.

    Args:
        parts: of the model; nothing is copied.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seg, self._start = (parts.tokenizer.convert_tokens_to_ids(word) for word in (SEG, START))

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self._parts.llava.lm_head.weight.device
        return device

    # --- the photo ----------------------------------------------------------------------------

    @torch.inference_mode()
    def read_photo(self, photo: RGB) -> ReadPhoto:
        """Run the vision tower and everything up to the end of the photo, once for all questions."""
        words = self._parts.llava.get_input_embeddings()(torch.tensor([self.ids_before()], device=self.device))
        pictures = self.image_tokens(photo)
        given = torch.cat([words, pictures.to(words.dtype)], dim=1)
        out = self._parts.llava.model.language_model(inputs_embeds=given, use_cache=True)
        layers = tuple((layer.keys, layer.values) for layer in out.past_key_values.layers)
        return ReadPhoto(layers, out.last_hidden_state[0, words.shape[1] :])

    def ids_before(self) -> list[int]:
        """Token ids up to <im_start>, after which the photo comes."""
        ids: list[int] = self._parts.tokenizer(BEFORE)["input_ids"]
        return ids[: ids.index(self._start) + 1]

    def ids_after(self, text: str) -> list[int]:
        """Token ids of what follows the photo."""
        ids: list[int] = self._parts.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def image_tokens(self, photo: RGB) -> Tensor:
        """(1, g * g, D) projected patches of the photo's middle square."""
        view, llava = self._parts.view, self._parts.llava
        pixels = view.tensors([view.prepare(photo)], self.device)["pixel_values"]
        dtype = llava.model.vision_tower.dtype
        features = llava.get_image_features(pixels.to(dtype), return_dict=True).pooler_output
        return torch.stack(list(features))

    # --- answers ------------------------------------------------------------------------------

    @torch.inference_mode()
    def generate(self, photo: ReadPhoto, questions: Sequence[Question]) -> list[Said]:
        """Let the model answer freely, by its likeliest words; one answer a question, in order."""
        answers: list[Said] = []
        for start in range(0, len(questions), MOST_TOGETHER):
            some = [self.ids_after(question.after_photo()) for question in questions[start : start + MOST_TOGETHER]]
            answers += self._generate(_Run(self, photo, some))
        return answers

    @torch.inference_mode()
    def supply(self, photo: ReadPhoto, questions: Sequence[Question], answer: str = SUPPLIED) -> list[Said]:
        """Answer for the model, by words with [SEG] in them, as the published validation does (teacher forcing)."""
        answers: list[Said] = []
        for start in range(0, len(questions), MOST_TOGETHER):
            some = questions[start : start + MOST_TOGETHER]
            asked = [self.ids_after(question.after_photo()) for question in some]
            forced = [self.ids_after(question.after_photo(answer)) for question in some]
            states = _Run(self, photo, forced).states
            for before, ids, row in zip(asked, forced, states, strict=True):
                of_row = row[len(row) - len(ids) :]
                places = [place for place in range(len(before), len(ids)) if ids[place] == self._seg]
                answers.append(Said(tuple(ids[len(before) :]), of_row[[place - 1 for place in places]]))
        return answers

    def text(self, said: Said) -> str:
        """The words of an answer, without [SEG]."""
        words: str = self._parts.tokenizer.decode(list(said.ids), skip_special_tokens=True)
        return " ".join(words.replace(SEG, " ").split())

    def _generate(self, run: _Run) -> list[Said]:
        end = self._parts.tokenizer.eos_token_id
        ids: list[list[int]] = [[] for _ in range(run.count)]
        emitting: list[list[Tensor]] = [[] for _ in range(run.count)]
        going = set(range(run.count))
        states = run.states[:, -1]
        for _ in range(MOST_TOKENS):
            tokens = self._parts.llava.lm_head(states).argmax(dim=-1)
            for row in sorted(going):
                token = int(tokens[row])
                ids[row].append(token)
                if token == self._seg:
                    emitting[row].append(states[row])
                if token == end:
                    going.discard(row)
            if not going:
                break
            states = run.extend(tokens)
        width = states.shape[-1]
        stacked = [torch.stack(rows) if rows else states.new_zeros((0, width)) for rows in emitting]
        return [Said(tuple(words), rows) for words, rows in zip(ids, stacked, strict=True)]


class _Run:
    """Several texts after one photo, padded on their left, and what the model makes of them token by token.

    Attributes:
        count: of texts.
        states: (n, L, D) last states, each text at the end of its row.
    """

    def __init__(self, language: Language, photo: ReadPhoto, texts: Sequence[Sequence[int]]) -> None:
        from transformers import DynamicCache

        self._llava, device = language._parts.llava, language.device
        self.count, longest = len(texts), max(len(ids) for ids in texts)
        self._cache = DynamicCache()
        for number, (keys, values) in enumerate(photo.layers):
            rows = (self.count, -1, -1, -1)
            self._cache.update(keys.expand(rows), values.expand(rows), number)
        before = photo.layers[0][0].shape[2]
        padded = torch.tensor([[0] * (longest - len(ids)) + list(ids) for ids in texts], device=device)
        real = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in texts], device=device)
        self._mask = torch.cat([real.new_ones((self.count, before)), real], dim=1)
        self._next = before + real.sum(1, keepdim=True)
        positions = (before + real.cumsum(1) - 1).clamp(min=0)
        self.states = self._forward(padded, positions)

    def extend(self, tokens: Tensor) -> Tensor:
        """(n, D) states after one more token a row."""
        self._mask = torch.cat([self._mask, self._mask.new_ones((self.count, 1))], dim=1)
        states = self._forward(tokens[:, None], self._next)
        self._next = self._next + 1
        return states[:, -1]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        states: Tensor = self._llava.model.language_model(
            inputs_embeds=self._llava.get_input_embeddings()(ids),
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        return states
