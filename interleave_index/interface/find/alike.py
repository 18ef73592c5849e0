"""What all regions have in common, for entities that are not sure of themselves to lean on (find-mini only).

A small vision tower takes a part of a photo for the wrong thing more often than not. In a sentence such an entity
should count for less than the words around it, but weights only set entities off against each other. So the vectors of
all regions share one direction in which no region and no word says anything by itself, and an unsure entity lies mostly
along it: it is about as near to any region as to any other, yet nearest to the same ones as before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SHARED = 0.5  # of a region's vector of length 1, along the direction
OWN = math.sqrt(1 - SHARED * SHARED)  # of the same, away from it
SURE = 0.3  # of an unsure entity's, away from it


@dataclass(frozen=True, slots=True)
class Alike:
    """The direction: (D,) of unit length."""

    direction: Tensor

    def regions(self, vectors: Tensor) -> Tensor:
        """(N, D) unit vectors of regions, or of entities to compare with them alone, with what all have in common."""
        return self._with(vectors, OWN)

    def unsure(self, vectors: Tensor) -> Tensor:
        """(N, D) unit vectors of entities, drawn so far to what all regions have in common that they count for less."""
        return self._with(vectors, SURE)

    def cosine(self, found: float, *, entity: float = 1.0) -> float:
        """What a cosine with a region before it was given the direction is after that.

        Args:
            entity: how much of the entity lies away from the direction: 1 for words, `OWN` for a part of a photo by
                itself, `SURE` for one that is unsure.
        """
        return entity * OWN * found + math.sqrt(1 - entity**2) * SHARED

    def _with(self, vectors: Tensor, own: float) -> Tensor:
        beside = vectors - (vectors @ self.direction)[:, None] * self.direction
        found: Tensor = own * F.normalize(beside, dim=1) + (1 - own**2) ** 0.5 * self.direction
        return found


def quietest(*groups: Tensor) -> Alike:
    """The direction in which (N, D) vectors of several groups say least: every group counts alike."""
    energy = torch.stack([(rows.double().T @ rows.double()) / len(rows) for rows in groups]).sum(0)
    return Alike(torch.linalg.eigh(energy).eigenvectors[:, 0].float())
