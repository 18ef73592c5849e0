"""The vector of a whole query of words and pictures, by composition: dual encoders read no sentences with pictures.

Words alone are one text, joined by blanks in their order, brackets or not: its vector is the text tower's, so that
plain text ranks exactly as the encoder ranks it. With pictures, the legend is the sum of the vector of all words
together (weight: the mean of their parts') and of the vectors of the pictures and parts (each with its weight), scaled
to length 1. Pictures alone are their weighted mean, so that a photo finds itself. Negatives take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...geometry import unit
from ...records import Floats, ResolvedPart


def words_of(parts: Sequence[ResolvedPart]) -> str:
    """The words of a query as one text."""
    return " ".join(part.label for part in parts if part.kind == "text")


def compose(
    parts: Sequence[ResolvedPart], dim: int, text: Callable[[str], Floats], visual: Callable[[ResolvedPart], Floats]
) -> Floats:
    """(D,) float32 legend of captions and entities, of unit length; zeros for no parts.

    Args:
        parts: without negatives.
        dim: D.
        text: vector of one text.
        visual: vector of one picture or part.

    >>> east, north = np.eye(2, dtype=np.float32)
    >>> parts = [ResolvedPart("caption", "text", "near"), ResolvedPart("entity", "picture", "[photo:1]", weight=2)]
    >>> [round(float(x), 3) for x in compose(parts, 2, lambda words: east, lambda part: north)]
    [0.447, 0.894]
    """
    worded = [part for part in parts if part.kind == "text"]
    total = np.zeros(dim, np.float32)
    if worded:
        total += np.float32(np.mean([part.weight for part in worded])) * text(words_of(parts))
    for part in parts:
        if part.kind != "text":
            total += np.float32(part.weight) * visual(part)
    return unit(total)
