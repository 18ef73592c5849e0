"""Pictures in queries, read in words: what each is likely called speaks beside what it looks like (find-mini only).

A small vision tower is often unsure of a part of a photo, but the right name is mostly among its first few, and the
text tower knows well what that name means, alone and in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..find.model import Sentence

READINGS = 5  # ways to say a sentence, the likeliest ones
SHARPNESS = 40.0  # of the cosines between pictures and names
READ = 3.0  # how much the readings of a sentence say, to what it says without its pictures


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names that pictures may have.

    Attributes:
        names: N of them.
        vectors: (N, D) unit vectors of the names as phrases.
    """

    names: tuple[str, ...]
    vectors: Tensor

    def named(self, vectors: Tensor, seen: Tensor) -> Tensor:
        """(E, D) vectors of pictures, drawn halfway to what their likely names mean.

        Args:
            vectors: (E, D) unit vectors of the pictures as entities.
            seen: (E, D) unit vectors of what the towers see there.
        """
        best = (SHARPNESS * seen.float() @ self.vectors.T).topk(min(READINGS, len(self.names)), dim=1)
        names = torch.einsum("ek,ekd->ed", best.values.softmax(1), self.vectors[best.indices])
        return F.normalize(vectors + F.normalize(names, dim=1), dim=1)

    def readings(self, sentence: Sentence, seen: Tensor) -> tuple[list[str], Tensor]:
        """The likeliest ways to say a sentence with names in place of its pictures.

        Args:
            seen: (E, D) unit vectors of the entities; those of text entities are not looked at.
        Returns:
            sentences, likeliest first; (K,) weights that add up to 1.
        """
        chances = (SHARPNESS * seen.float() @ self.vectors.T).log_softmax(1)
        ways: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for entity, visual in enumerate(sentence.visual):
            if visual:
                best = chances[entity].topk(min(READINGS, len(self.names)))
                steps = list(zip(best.values.tolist(), best.indices.tolist(), strict=True))
                further = [(chance + step, (*way, name)) for chance, way in ways for step, name in steps]
                ways = sorted(further, reverse=True)[:READINGS]
        weights = torch.tensor([chance for chance, _ in ways]).softmax(0)
        return [said(sentence, [self.names[name] for name in way]) for _, way in ways], weights


def said(sentence: Sentence, names: Sequence[str]) -> str:
    """The sentence with names where its visual entities stand, in order.

    >>> said(Sentence("a [INTERACTIVE] runs", ((2, 15),), (True,)), [""])
    'a runs'
    """
    text, at, left = "", 0, iter(names)
    for (start, end), visual in zip(sentence.spans, sentence.visual, strict=True):
        text += sentence.text[at:start] + (next(left) if visual else sentence.text[start:end])
        at = end
    return " ".join((text + sentence.text[at:]).split())
