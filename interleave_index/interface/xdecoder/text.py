"""The language side of X-Decoder and SEEM: UniCL's tower, whose state at the end of a text stands for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ...models.text.language import UniclNetwork, tokens_of
from ..published.text import plain_name

BATCH = 81  # texts of one pass: those of one class name
BACKGROUND = "background"
END_OF_WORD = "</w>"  # what CLIP's tokenizer puts behind every word


def _templates() -> tuple[str, ...]:
    """The sentences of Radford et al. (CLIP, arXiv 2103.00020) for classes of photos, and the bare name with a stop."""
    photos = (
        "bad",
        "low resolution",
        "cropped",
        "bright",
        "dark",
        "close-up",
        "black and white",
        "pixelated",
        "jpeg corrupted",
        "blurry",
        "good",
    )
    looks = ("hard to see", "clean", "dirty", "cool", "large", "nice", "weird", "small")
    works = ("sculpture", "rendering", "tattoo", "drawing", "painting", "doodle", "sketch", "rendition")
    made_of = ("embroidered", "plastic", "origami", "toy", "cartoon", "plushie")
    sentences = ["{}.", *(f"a photo of {which} {{}}." for which in ("many", "my", "one")), "itap of my {}."]
    for article in ("a", "the"):
        sentences += [f"a {kind} photo of {article} {{}}." for kind in photos]
        sentences += [f"a photo of {article} {look} {{}}." for look in looks]
        sentences += [f"a {work} of {article} {{}}." for work in works]
        sentences += [f"{work} of {article} {{}}." for work in ("graffiti", "art", "itap", "a photo")]
        sentences += [f"{article} {kind} {{}}." for kind in made_of]
        sentences.append(f"{article} {{}} in a video game.")
    return tuple(sentences)


TEMPLATES = _templates()


class TextSide:
    """Texts into the space of photos.

    Args:
        network: the tower, in eval mode, on the device of the decoder.
        tokenizer: CLIP's.
        project: (..., width) states to (..., C).
        context: tokens of a text at most.
    """

    def __init__(
        self, network: UniclNetwork, tokenizer: Tokenizer, project: Callable[[Tensor], Tensor], context: int
    ) -> None:
        self._network, self._tokenizer, self._project, self._context = network, tokenizer, project, context

    def beyond_context(self, text: str) -> str:
        """The end of a text that lies beyond what the tower reads; empty where all is read."""
        _, spans = tokens_of(self._tokenizer, text, self._context)
        read = int(spans[:, 1].max()) if len(spans) else 0
        return text[read:].strip()

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> Tensor:
        """(N, C) of whole texts, not of unit length; attention is causal, so that padding changes nothing."""
        rows = []
        for start in range(0, len(texts), BATCH):
            coded = [self._ids(text) for text in texts[start : start + BATCH]]
            ends = torch.tensor([len(ids) - 1 for ids in coded], device=self._device)
            states = self._network(torch.nn.utils.rnn.pad_sequence(coded, batch_first=True))
            rows.append(self._project(states[torch.arange(len(ends), device=self._device), ends]))
        return torch.cat(rows)

    @torch.inference_mode()
    def expressions(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(1, T, C) tokens of all texts in one row, and the (N, C) vector of each text as a whole."""
        tokens = [self._project(self._network(self._ids(text)[None])[0]) for text in texts]
        return torch.cat(tokens)[None], torch.stack([rows[-1] for rows in tokens])

    def class_table(
        self,
        names: Sequence[str],
        *,
        descriptions: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Tensor:
        """(K + 1, C) class vectors of unit length, background added as the last one.

        Args:
            descriptions: the names are whole sentences already, and are not put into the templates.
            progress: called with names done, and how many there are in all.
        """
        rows = []
        for number, name in enumerate([*names, BACKGROUND]):
            templates = ("{}",) if descriptions and number < len(names) else TEMPLATES
            word = name if descriptions else plain_name(name)
            rows.append(self._mean([template.format(word) for template in templates]))
            progress(number + 1, len(names) + 1)
        return torch.stack(rows)

    def _mean(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(F.normalize(self.vectors(texts), dim=-1).mean(0), dim=-1)

    # --- captions -------------------------------------------------------------------------------

    @property
    def words(self) -> Tensor:
        """(V, width) embeddings of all words."""
        return self._network.token_embedding.weight

    def read(self, ids: Tensor) -> Tensor:
        """(B, T) ids to (B, T, C) projected states."""
        return self._project(self._network(ids))

    @property
    def ends(self) -> tuple[int, int]:
        """Ids of the beginning and the end of every text."""
        ids = self._tokenizer.encode("").ids
        return int(ids[0]), int(ids[-1])

    def sentence(self, ids: Sequence[int]) -> str:
        """The first sentence that ids spell, up to the end of the text or the first full stop."""
        start, end = self.ends
        kept = list(ids[1:] if ids and ids[0] == start else ids)
        words = kept[: kept.index(end)] if end in kept else kept
        spelt = self._tokenizer.decode(words).replace(END_OF_WORD, " ")
        return " ".join(spelt.partition(".")[0].split())

    @property
    def _device(self) -> torch.device:
        return self._network.token_embedding.weight.device

    def _ids(self, text: str) -> Tensor:
        return tokens_of(self._tokenizer, text, self._context)[0].to(self._device)
