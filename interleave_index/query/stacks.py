"""Near-duplicates: photos that look the same at a glance, by their perceptual hashes. Knows records only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..records import Answer, Hit, Photo

ALIKE = 6  # bits of 64 in which the hashes of two shots of a burst may differ
ASPECT = 0.05  # share by which their aspects may


class Stacks:
    """Folds photos into the first one that looks the same, as they come, best first.

    >>> stacks = Stacks()
    >>> [stacks.fold(Photo(n, None, 4, 3, phash=h)) for n, h in ((1, 0b0), (2, 0b11), (3, 2**40 - 1), (4, None))]
    [1, 1, 3, 4]
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._hashes = np.zeros(64, np.uint64)
        self._aspects = np.zeros(64, np.float64)

    def fold(self, photo: Photo) -> int:
        """Id of the photo under which this one stands: itself, or an earlier one that looks the same."""
        if photo.phash is None:
            return photo.id
        count, aspect = len(self._ids), np.log(max(photo.width, 1) / max(photo.height, 1))
        value = np.uint64(photo.phash)
        near = (np.bitwise_count(self._hashes[:count] ^ value) <= ALIKE) & (
            np.abs(self._aspects[:count] - aspect) <= ASPECT
        )
        if near.any():
            return self._ids[int(near.argmax())]
        if count == len(self._hashes):
            self._hashes, self._aspects = np.resize(self._hashes, 2 * count), np.resize(self._aspects, 2 * count)
        self._hashes[count], self._aspects[count] = value, aspect
        self._ids.append(photo.id)
        return photo.id


def stacked(ask: Callable[[int, int], Answer], count: int, skip: int) -> Answer:
    """An answer of so many hits that stand for themselves; near-duplicates are named in the `stack` of the first.

    Args:
        ask: gives the answer of a number of hits after skipping others.
        count: hits that are wanted.
        skip: hits of the ranking to leave out at its beginning.
    """
    stacks, hits, under = Stacks(), list[Hit](), dict[int, list[int]]()
    answer: Answer | None = None
    while answer is None or len(hits) < count:
        wanted = count - len(hits)
        found = ask(wanted, skip)
        answer = found if answer is None else answer
        shown, fell = folded(found.hits, stacks)
        hits += shown
        for photo_id, ids in fell.items():
            under.setdefault(photo_id, []).extend(ids)
        skip += wanted
        if len(found.hits) < wanted:
            break
    return replace(answer, hits=tuple(replace(hit, stack=tuple(under.get(hit.photo.id, ()))) for hit in hits))


def folded(hits: Iterable[Hit], stacks: Stacks) -> tuple[list[Hit], dict[int, list[int]]]:
    """Hits that stand for themselves, in order, and the photo ids that fell under each photo of the stacks."""
    shown: list[Hit] = []
    under: dict[int, list[int]] = {}
    for hit in hits:
        first = stacks.fold(hit.photo)
        if first == hit.photo.id:
            shown.append(hit)
        else:
            under.setdefault(first, []).append(hit.photo.id)
    return shown, under
