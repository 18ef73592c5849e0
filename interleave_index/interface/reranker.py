"""What is known of a reranker: a model that is shown a query and one candidate together and says whether they fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from ..records import RGB, Floats

Sentence: TypeAlias = tuple[str | RGB, ...]  # words, and pictures in their places


class Reranker(Protocol):
    """Anything that says how likely a candidate answers a query."""

    @property
    def name(self) -> str:
        """Of the model, as answers name it."""

    @property
    def reads_pictures(self) -> bool:
        """Whether pictures and negatives may stand in a query; else only the words of what is looked for are shown."""

    @property
    def at_a_time(self) -> int:
        """How many candidates go through the model at a time at present."""

    def prepare(self, picture: RGB) -> RGB:
        """(h, w, 3) uint8: a picture at the size at which the model looks at it, which is all that has to be kept."""

    def scores(self, query: Sentence, candidates: Sequence[Sentence]) -> Floats:
        """(n,) float32, 0 to 1: the chance that each candidate answers the query; 0.5 is between yes and no.

        Args:
            query: words and prepared pictures in their order, at least one.
            candidates: a prepared photo each, and words that belong to it.
        """

    def beyond_context(self, text: str) -> str:
        """The end of a text that lies beyond what the model reads; mostly empty."""
