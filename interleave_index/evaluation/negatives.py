"""Negatives: whether `[A] -[B]` shows fewer photos with B than `[A]` does, and as many with A."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from ..grammar import Query
from ..records import BoolMask, Entity, Not
from .annotations import RIGHT, UNKNOWN, Positions, sha1_number, shown
from .answers import ask_all
from .library import Library
from .outcome import Outcome
from .packs import Photos
from .progress import Progress, tracked

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
    photos: Positions
    shows: BoolMask


def pairs(photos: Photos) -> list[Pair]:
    """Pairs of things that occur together and apart, at most `MOST_PAIRS`, by the hash of their names."""
    every = []
    for table in shown(photos):
        for one, other in permutations(range(len(table.names)), 2):
            both = [one, other]
            clear = (table.truth[:, both] != UNKNOWN).all(1)
            shows = table.truth[clear][:, both] == RIGHT
            together, alone = shows.all(1).sum(), (shows[:, 0] & ~shows[:, 1]).sum()
            if min(together, alone) >= TOGETHER:
                every.append(Pair(table.names[one], table.names[other], table.photos[clear], shows))
    every.sort(key=lambda pair: sha1_number(f"{pair.wanted} {pair.unwanted}"))
    return every[:MOST_PAIRS]


def negatives(library: Library, progress: Progress) -> Outcome:
    """Both queries of every pair, over the photos annotated for it.

    Returns:
        ``shows_before`` and ``shows_after``: share of the first ten hits that show what is not wanted; ``falls_by``:
        how much of that share is gone; ``right_lost``: by how much the photos among the first ten that show what is
        wanted become fewer; ``right_alone_lost``: share of those that show it without the other and are no longer among
        the first ten; ``n`` pairs. All hits of all pairs count alike. Arrays: ``negatives_pairs`` (n, 2) names,
        ``negatives_counts`` (n, 7) int64: hits, and before and after how many show what is not wanted and what is, then
        how many showed it alone before and how many of these stayed.
    """
    asked = pairs(library.photos)
    counts = np.zeros((len(asked), 7), np.int64)
    queries = []
    for pair in asked:
        wanted = Entity(pair.wanted)
        queries += [Query(wanted), Query(wanted, Not(pair.unwanted))]
    answers = ask_all(library, queries)
    for number, pair in tracked(asked, "negatives", progress):
        before, after = (next(answers).among(pair.photos).order[:SHOWN] for _ in range(2))
        counts[number] = tally(pair.shows, before, after)
    names = np.array([(pair.wanted, pair.unwanted) for pair in asked], str)
    return Outcome(figures(counts), {"negatives_pairs": names, "negatives_counts": counts})


def tally(shows: BoolMask, before: Positions, after: Positions) -> list[int]:
    """The seven counts of one pair, as `negatives` describes them.

    Args:
        shows: (n, 2) whether a photo shows what is wanted, and what is not.
        before, after: rows of the first hits of both queries.
    """
    (right, unwanted), (still_right, still_unwanted) = shows[before].sum(0), shows[after].sum(0)
    alone = before[shows[before, 0] & ~shows[before, 1]]
    return [len(before), unwanted, still_unwanted, right, still_right, len(alone), np.isin(alone, after).sum()]


def figures(counts: Positions) -> dict[str, float]:
    """The figures of `negatives` from its counts."""
    hits, before, after, right, still_right, alone, still_alone = counts.sum(0).tolist()

    def share(part: int, whole: int) -> float:
        return 100 * part / whole if whole else 0.0

    return {
        "shows_before": share(before, hits),
        "shows_after": share(after, hits),
        "falls_by": share(before - after, before),
        "right_lost": share(right - still_right, right),
        "right_alone_lost": share(alone - still_alone, alone),
        "n": len(counts),
    }
