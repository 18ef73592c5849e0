"""READ's language model over one photo: the photo is read once, then questions are answered side by side.

Everything before the question is the same for all of them, and a causal model does not look ahead: keys, values and
states of the system's words and of the image tokens are computed once and shared. Knows no masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...records import RGB
from .loading import Parts
from .prompts import BEFORE, SEG, START, SUPPLIED, Question, after_photo

MOST_TOKENS = 64  # of an answer
MOST_TOGETHER = 32  # questions that are answered together


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
    Attributes:
        seg, end: ids of [SEG] and of the token that ends an answer.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.seg, self._start = (int(parts.tokenizer.convert_tokens_to_ids(word)) for word in (SEG, START))
        self.end = int(parts.tokenizer.eos_token_id)

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
            some = questions[start : start + MOST_TOGETHER]
            answers += self._generate(_Run(self, photo), [self.ids_after(after_photo(str(one))) for one in some])
        return answers

    @torch.inference_mode()
    def supply(self, photo: ReadPhoto, questions: Sequence[Question]) -> list[Said]:
        """Answer for the model, by words with [SEG] in them, as the published validation does (teacher forcing)."""
        answers: list[Said] = []
        for start in range(0, len(questions), MOST_TOGETHER):
            some = questions[start : start + MOST_TOGETHER]
            asked = [self.ids_after(after_photo(str(question))) for question in some]
            forced = [self.ids_after(after_photo(str(question), SUPPLIED)) for question in some]
            states = _Run(self, photo).extend(dict(enumerate(forced)))
            for row, (before, ids) in enumerate(zip(asked, forced, strict=True)):
                places = [place for place in range(len(before), len(ids)) if ids[place] == self.seg]
                answers.append(Said(tuple(ids[len(before) :]), states[row][[place - 1 for place in places]]))
        return answers

    def text(self, said: Said) -> str:
        """The words of an answer, without [SEG]."""
        words: str = self._parts.tokenizer.decode(list(said.ids), skip_special_tokens=True)
        return " ".join(words.replace(SEG, " ").split())

    def _generate(self, run: _Run, texts: Sequence[list[int]]) -> list[Said]:
        said: list[list[int]] = [[] for _ in texts]
        emitting: list[list[Tensor]] = [[] for _ in texts]
        states = run.extend(dict(enumerate(texts)))
        for _ in range(MOST_TOKENS):
            rows = list(states)
            last = torch.stack([states[row][-1] for row in rows])
            tokens = self._parts.llava.lm_head(last).argmax(dim=-1).tolist()
            for row, state, token in zip(rows, last, tokens, strict=True):
                said[row].append(token)
                if token == self.seg:
                    emitting[row].append(state)
            going = {row: [token] for row, token in zip(rows, tokens, strict=True) if token != self.end}
            if not going:
                break
            states = run.extend(going)
        none = states[next(iter(states))].new_zeros((0, run.width))
        stacked = [torch.stack(rows) if rows else none for rows in emitting]
        return [Said(tuple(words), rows) for words, rows in zip(said, stacked, strict=True)]


class _Run:
    """Several texts after one photo, side by side in one sequence: each sees the photo and itself, and no other.

    So the keys and values of the photo are there once, however many texts follow it.

    Args:
        language: that reads them.
        photo: that they follow.
    Attributes:
        width: of a state.
    """

    def __init__(self, language: Language, photo: ReadPhoto) -> None:
        from transformers import DynamicCache

        self._llava, self._device = language._parts.llava, language.device
        self._cache = DynamicCache()
        for number, (keys, values) in enumerate(photo.layers):
            self._cache.update(keys, values, number)
        self._before = photo.layers[0][0].shape[2]
        self._rows = torch.zeros(0, dtype=torch.long, device=self._device)  # the text of every token so far
        self._lengths: dict[int, int] = {}
        self.width = int(photo.tokens.shape[-1])

    def extend(self, texts: Mapping[int, Sequence[int]]) -> dict[int, Tensor]:
        """Append tokens to texts, by their numbers; (n, D) last states of what was appended to each."""
        tokens: list[int] = []
        rows: list[int] = []
        positions: list[int] = []
        for row, ids in texts.items():
            done = self._before + self._lengths.get(row, 0)
            tokens += ids
            rows += [row] * len(ids)
            positions += range(done, done + len(ids))
            self._lengths[row] = done + len(ids) - self._before
        states: Tensor = self._llava.model.language_model(
            inputs_embeds=self._llava.get_input_embeddings()(torch.tensor([tokens], device=self._device)),
            attention_mask=self._mask(torch.tensor(rows, device=self._device)),
            position_ids=torch.tensor([positions], device=self._device),
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        parts = states[0].split([len(some) for some in texts.values()])
        return dict(zip(texts, parts, strict=True))

    def _mask(self, rows: Tensor) -> Tensor:
        """(1, 1, n, all tokens) added to the attention of new tokens of these texts; takes note of them."""
        earlier = len(self._rows)
        self._rows = torch.cat([self._rows, rows])
        places = torch.arange(len(self._rows), device=self._device)
        seen = (rows[:, None] == self._rows) & (places <= places[earlier:, None])
        seen = torch.cat([seen.new_ones((len(rows), self._before)), seen], dim=1)
        dtype = self._llava.get_input_embeddings().weight.dtype
        mask = torch.zeros(seen.shape, dtype=dtype, device=self._device)
        return mask.masked_fill(~seen, torch.finfo(dtype).min)[None, None]
