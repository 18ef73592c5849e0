"""Negatives: whether `[A] -[B]` shows fewer photos with B than `[A]` does, and as many with A."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..grammar import Query
from ..interface.protocol import Interface
from ..records import BoolMask, Entity, Not
from .answers import Asker
from .labelled import sha1_number
from .library import Library, Progress
from .outcome import Outcome
from .packs import PackPhoto
from .remembered import chunks
from .truth import shown

TOGETHER = 3  # photos that show both things of a pair, and as many that show the wanted one alone
MOST_PAIRS = 250
SHOWN = 10  # hits that are looked at


@dataclass(frozen=True, slots=True)
class Pair:
    """A thing that is wanted and one that is not, and the photos that certainly show or lack either.

    Attributes:
        wanted, unwanted: names.
        photos: (n,) positions in the pack.
        shows: (n, 2) whether each shows what is wanted, and what is not.
    """

    wanted: str
    unwanted: str
    photos: NDArray[np.int64]
    shows: BoolMask


def pairs(photos: Sequence[PackPhoto]) -> list[Pair]:
    """Pairs of things that occur together and apart, at most `MOST_PAIRS`, by the hash of their names."""
    found = sorted(_pairs(photos), key=lambda pair: sha1_number(f"{pair.wanted} {pair.unwanted}"))
    return found[:MOST_PAIRS]


def _pairs(photos: Sequence[PackPhoto]) -> Iterator[Pair]:
    for part in shown(photos):
        right, clear = part.right, part.clear
        for one, wanted in enumerate(part.names):
            for other, unwanted in enumerate(part.names):
                here = clear[:, one] & clear[:, other]
                both, alone = right[here, one] & right[here, other], right[here, one] & ~right[here, other]
                if one != other and min(both.sum(), alone.sum()) >= TOGETHER:
                    yield Pair(wanted, unwanted, part.photos[here], right[here][:, [one, other]])


def negatives(library: Library, interface: Interface, progress: Progress) -> Outcome:
    """Both queries of every pair, over the photos annotated for it.

    Returns:
        ``shows_before`` and ``shows_after``: share of the first ten hits that show what is not wanted; ``falls_by``:
        how much of that share is gone; ``right_lost``: by how much the photos among the first ten that show what is
        wanted become fewer; ``right_alone_lost``: share of those that show it without the other and are no longer among
        the first ten; ``n`` pairs. All hits of all pairs count alike. Arrays: ``negatives_pairs`` (n, 2) names,
        ``negatives_counts`` (n, 7) int64: hits, and before and after how many show what is not wanted and what is, then
        how many showed it alone before and how many of these stayed.
    """
    asker, asked = Asker(library, interface), pairs(library.photos)
    counts: list[NDArray[np.int64]] = []
    for some in chunks(asked):
        asker.learn([query for pair in some for query in _queries(pair)])
        for pair in some:
            before, after = (asker.ask(query).over(pair.photos).order[:SHOWN] for query in _queries(pair))
            counts.append(tally(pair.shows, before, after))
            progress("negatives", len(counts), len(asked))
    table = np.array(counts, np.int64).reshape(-1, 7)
    return Outcome(
        figures(table),
        {"negatives_pairs": np.array([(p.wanted, p.unwanted) for p in asked], str), "negatives_counts": table},
    )


def _queries(pair: Pair) -> tuple[Query, Query]:
    return Query(Entity(pair.wanted)), Query(Entity(pair.wanted), Not(pair.unwanted))


def tally(shows: BoolMask, before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts of one pair, (7,), as `negatives` describes them.

    Args:
        shows: (n, 2) whether a photo shows what is wanted, and what is not.
        before, after: rows of the first hits of both queries.
    """
    alone = before[shows[before, 0] & ~shows[before, 1]]
    return np.array(
        [
            len(before),
            shows[before, 1].sum(),
            shows[after, 1].sum(),
            shows[before, 0].sum(),
            shows[after, 0].sum(),
            len(alone),
            np.isin(alone, after).sum(),
        ],
        np.int64,
    )


def figures(counts: NDArray[np.int64]) -> dict[str, float]:
    """The figures of `negatives` from its counts."""
    hits, before, after, right, still_right, alone, still_alone = counts.sum(0).tolist()
    return {
        "shows_before": _percent(before, hits),
        "shows_after": _percent(after, hits),
        "falls_by": _percent(before - after, before),
        "right_lost": _percent(right - still_right, right),
        "right_alone_lost": _percent(alone - still_alone, alone),
        "n": len(counts),
    }


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
