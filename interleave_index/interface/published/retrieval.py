"""Scores of the published retrieval (docs/find-interface.md, section 6).

Pure; vectors are scaled to unit length here, without epsilon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...records import Floats

ENTITY_WEIGHT, DEMO_WEIGHT = 0.5, 1.0
REFERENCE_PENALTY = 1e-6  # for a photo that the query itself was made with


@dataclass(frozen=True, slots=True)
class InterleavedQuery:
    """Vectors of one sentence with entities.

    Attributes:
        legend: (D,), the whole sentence.
        entities: (E, D), one a text or visual entity; E may be 0.
    """

    legend: Floats
    entities: Floats


def text_scores(texts: Floats, images: Floats) -> Floats:
    """(T, N) cosines of (T, D) text vectors and (N, D) image vectors."""
    found: Floats = _unit(texts) @ _unit(images).T
    return found


def interleaved_scores(
    queries: Sequence[InterleavedQuery],
    images: Floats,
    objects: Floats,
    *,
    weight: float = ENTITY_WEIGHT,
    references: Sequence[Sequence[int]] | None = None,
) -> Floats:
    """cos(legend, image) + weight * the mean over entities of the best cosine with an object.

    Args:
        images: (N, D); objects: (N, Q, D).
        references: for each query the gallery rows of its reference photos, which lose a tie.
    Returns:
        (len(queries), N) float32.
    """
    gallery, parts = _unit(images), _unit(objects)
    scores = np.zeros((len(queries), len(gallery)), np.float32)
    for row, query in enumerate(queries):
        scores[row] = gallery @ _unit(query.legend)
        if len(query.entities):
            scores[row] += weight * (parts @ _unit(query.entities).T).max(1).mean(1)
        if references is not None:
            scores[row, list(references[row])] -= REFERENCE_PENALTY
    return scores


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return found
