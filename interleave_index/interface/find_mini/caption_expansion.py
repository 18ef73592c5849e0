"""Pictures in queries, read in words: the likely names of a picture count beside its own embedding.

A small vision tower is often unsure of a part of a photo, but the right name is mostly among its first few, and the
text tower knows well what that name means, alone and in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..find.prompter import Sentence

MOST_CAPTIONS = 5  # of a sentence, the likeliest ones, and names of a picture
SHARPNESS = 40.0  # of the cosines between pictures and names
EXPANSION_WEIGHT = 3.0  # of the captions with names, to the sentence without its pictures


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names that pictures may have.

    Attributes:
        names: N of them, N may be 0.
        vectors: (N, D) unit vectors of the names as phrases.
    """

    names: tuple[str, ...]
    vectors: Tensor

    def named(self, vectors: Tensor, shown: Tensor) -> Tensor:
        """(E, D) vectors of pictures, drawn halfway to those of their likely names.

        Args:
            vectors: (E, D) unit vectors of the pictures as entities.
            shown: (E, D) unit vectors of the towers' embeddings of the pictures.
        """
        best = (SHARPNESS * shown.float() @ self.vectors.T).topk(min(MOST_CAPTIONS, len(self.names)), dim=1)
        names = torch.einsum("ek,ekd->ed", best.values.softmax(1), self.vectors[best.indices])
        return F.normalize(vectors + F.normalize(names, dim=1), dim=1)

    def captions(self, sentence: Sentence, shown: Tensor) -> tuple[list[str], Tensor]:
        """The likeliest captions that have names in place of a sentence's pictures.

        Args:
            shown: (E, D) as `named` takes them; those of text entities are not used.
        Returns:
            captions, likeliest first; (K,) weights that add up to 1.
        """
        log_chances = (SHARPNESS * shown.float() @ self.vectors.T).log_softmax(1)
        beams: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for entity, is_visual in enumerate(sentence.visual):
            if not is_visual:
                continue
            best = log_chances[entity].topk(min(MOST_CAPTIONS, len(self.names)))
            steps = list(zip(best.values.tolist(), best.indices.tolist(), strict=True))
            longer = [(chance + step, (*names, name)) for chance, names in beams for step, name in steps]
            beams = sorted(longer, reverse=True)[:MOST_CAPTIONS]
        weights = torch.tensor([chance for chance, _ in beams]).softmax(0)
        return [with_names(sentence, [self.names[name] for name in names]) for _, names in beams], weights


def with_names(sentence: Sentence, names: Sequence[str]) -> str:
    """The sentence with names in place of its visual entities, in order.

    >>> with_names(Sentence("a [INTERACTIVE] runs", ((2, 15),), (True,)), [""])
    'a runs'
    """
    text, at, left = "", 0, iter(names)
    for (start, end), is_visual in zip(sentence.spans, sentence.visual, strict=True):
        text += sentence.text[at:start] + (next(left) if is_visual else sentence.text[start:end])
        at = end
    return " ".join((text + sentence.text[at:]).split())
