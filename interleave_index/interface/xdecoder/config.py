"""Sizes of a decoder of the X-Decoder family, and which of the family it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Family = Literal["xdecoder", "seem"]
Version = Literal["v0", "v1", "demo"]
VERSIONS: tuple[Version, ...] = ("v0", "v1", "demo")


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes of a decoder; the defaults are those of the released SEEM files.

    Attributes:
        family: `xdecoder`, whose last query is the class query, or `seem`, whose queries are all objects.
        version: of SEEM, whose released files do not tell it, None for X-Decoder. It says how prompts are read and
            nothing else; `demo` reads the files of `v0` as the released demonstration does: prompts of all kinds
            combine.
        width: C of everything.
        queries: learned ones, the class query of X-Decoder counted.
        text_width: of the text tower.
        context: tokens of a text.
        memories: rows that carry an earlier mask (SEEM).
        most_points: points of positive and of negative prompts each, an image (SEEM).
        rows_per_prompt: object queries drawn for each prompt (SEEM v1).
    """

    family: Family = "seem"
    version: Version | None = "v1"
    width: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 9
    queries: int = 101
    text_width: int = 512
    context: int = 77
    memories: int = 32
    most_points: int = 512
    rows_per_prompt: int = 3

    @property
    def objects(self) -> int:
        """Queries that stand for things."""
        return self.queries - (self.family == "xdecoder")
