"""Sizes of an interface."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FindConfig:
    """Sizes of an interface; the defaults are the published ones.

    Attributes:
        width: C of the stream and of both output spaces.
        features: channels of the pyramid; where it differs from `width` a 1 x 1 convolution a level follows.
        object_queries: proposals, without the image query.
        text_width: of the language tower's tokens.
        most_points: visual tokens an image, for positive and negative masks each.
        towers: channels of the backbone's deep maps where the towers' own embeddings count (`TowerPaths`); 0, as
            published, leaves that out.
        seeds: so many of the first proposals start from cells of the pyramid (`ProposalSelector`), and every
            proposal predicts how good its mask is; 0, as published, starts all from learned vectors.
        fine_cells: cells of the mask features, of 4 pixels, are among those too.
        octaves: of the sinusoids by which cells and masks know where they are.
    """

    width: int = 512
    features: int = 512
    heads: int = 8
    ffn: int = 2048
    layers: int = 9
    object_queries: int = 100
    text_width: int = 4096
    memories: int = 32
    most_points: int = 512
    towers: int = 0
    seeds: int = 0
    fine_cells: bool = False
    octaves: int = 4
