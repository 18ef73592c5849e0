"""Search parameters measured on the collection itself: as little effort as keeps the promised recall. Knows no SQL.

What is promised is what a query asks of an index (`query.candidates`): of the d photos whose best rows are nearest to
a vector, a share of `PROMISE` is found. Queries of three kinds are tried, and the worst kind counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import unit
from ..records import Floats
from .backend import load_faiss
from .recipes import Probe, Recipe
from .rows import Ids
from .segment import Segment, leading

PROMISE = 0.99  # share of the true k best photos that every kind of query must find
LEVELS = (10, 40, 100, 500)
QUERIES = 64  # of each kind
FURTHER = 1.4  # times as many lists are tried next
POOL = 12  # rows looked at, in multiples of k
TRUTH_QUERIES = 32  # whose products with every photo are held at a time
WORTH = 0.5  # a search that reads more than this share of what an exact scan reads is not worth its index
PROBE_COST, CANDIDATE_COST = 64.0, 1500.0  # bytes of one product code; one candidate's exact codes, fetched at random


class _Measured(NamedTuple):
    """One effort and what it brought; the least one is the best: the promise kept, then the cheapest."""

    failed: bool
    order: float
    cost: float  # bytes read
    recall: float
    probe: Probe


def queries(sample: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """Unit vectors to measure with, by kind, made from a sample of the stored ones.

    ``near`` ones are stored vectors, slightly moved; ``mixed`` ones lie between two stored vectors, as queries of
    several parts do; ``far`` ones only share the mean and covariance of the collection, as sentences do.
    """
    rows = rng.choice(len(sample), 3 * QUERIES)
    near = sample[rows[:QUERIES]] + 0.02 * rng.standard_normal((QUERIES, sample.shape[1]))
    mixed = sample[rows[QUERIES : 2 * QUERIES]] + sample[rows[2 * QUERIES :]]
    mean, spread = sample.mean(0), np.linalg.svd(sample - sample.mean(0), full_matrices=False)
    far = mean + rng.standard_normal((QUERIES, len(spread[1]))) @ (spread[1][:, None] * spread[2]) / len(sample) ** 0.5
    return {"near": unit(near), "mixed": unit(mixed), "far": unit(far)}


def calibrate(segment: Segment, sample: Floats) -> Recipe | None:
    """The recipe of a coarse segment with its search parameters; None when it is not worth having.

    Args:
        segment: filled, with exact codes behind its lists.
        sample: (n, D) float32, some of its vectors.
    """
    recipe, rows, dim = segment.recipe, len(segment), segment.index.d
    asked = np.vstack(list(queries(sample, np.random.default_rng(0)).values()))
    levels = [k for k in LEVELS if k <= len(segment.photo_ids)]
    truth = _true_nearest(segment, asked, levels[-1])
    best: dict[int, _Measured] = {}
    wanted = levels
    for nprobe in _efforts(recipe.lists):
        pool = min(rows, POOL * wanted[-1])
        ranks = _ranks(segment, asked, truth[:, : wanted[-1]], nprobe, pool)
        for k in wanted:
            probe, recall = _candidates(ranks[:, :k], k, nprobe, pool)
            cost = nprobe * rows / recipe.lists * PROBE_COST + probe.candidates * CANDIDATE_COST
            failed = recall < PROMISE
            this = _Measured(failed, -recall if failed else cost, cost, recall, probe)
            best[k] = min(best.get(k, this), this)
        wanted = [k for k in levels if best[k].failed]
        if not wanted:
            break
    first = best[levels[0]]
    if first.failed or first.cost > WORTH * rows * 2 * dim:
        return None
    return replace(
        recipe,
        search={k: found.probe for k, found in best.items()},
        recall={k: round(found.recall, 4) for k, found in best.items()},
        grouped=True,
    )


def _efforts(lists: int) -> Iterator[int]:
    """How many of the lists are looked at, by turns; all of them at last.

    >>> list(_efforts(16))
    [4, 6, 9, 13, 16]
    """
    nprobe = max(4, lists // 128)
    while nprobe < lists:
        yield nprobe
        nprobe = math.ceil(FURTHER * nprobe)
    yield lists


def rechecked(segment: Segment, sample: Floats) -> Recipe:
    """The recipe of a coarse segment with the effort that keeps the promise for queries near these vectors, too.

    Args:
        sample: (n, D) float32, of what came since.
    """
    before, now = segment.recipe, calibrate(segment, sample)
    if now is None:
        return before
    search = {
        k: Probe(max(probe.nprobe, now.search[k].nprobe), max(probe.candidates, now.search[k].candidates))
        if k in now.search
        else probe
        for k, probe in before.search.items()
    }
    recall = {k: min(share, now.recall.get(k, share)) for k, share in before.recall.items()}
    return replace(before, search=search, recall=recall)


def _true_nearest(segment: Segment, asked: Floats, count: int) -> Ids:
    """(Q, count) positions among the segment's photos of those nearest to each query, by their exact best rows."""
    everything = segment.select(None, np.empty(0, np.int64))
    found = []
    for start in range(0, len(asked), TRUTH_QUERIES):
        _, best = segment.best(asked[start : start + TRUTH_QUERIES], everything)
        found += [leading(np.ascontiguousarray(column), count) for column in best.T]
    return np.stack(found)


def _ranks(segment: Segment, asked: Floats, truth: Ids, nprobe: int, pool: int) -> NDArray[np.int64]:
    """The place that the first row of each true neighbour takes among the rows that this effort brings."""
    faiss = load_faiss()
    lists = faiss.downcast_index(segment.index.base_index)
    found = lists.search(asked, pool, params=faiss.SearchParametersIVF(nprobe=nprobe))[1]
    ranks = np.full(truth.shape, np.iinfo(np.int64).max)
    for query, (places, wanted) in enumerate(zip(found, truth, strict=True)):
        owners = np.searchsorted(segment.starts, places[places >= 0], side="right") - 1
        photos, first = np.unique(owners, return_index=True)
        if len(photos):
            at = np.minimum(np.searchsorted(photos, wanted), len(photos) - 1)
            hit = photos[at] == wanted
            ranks[query, hit] = first[at][hit]
    return ranks


def _candidates(ranks: NDArray[np.int64], k: int, nprobe: int, pool: int) -> tuple[Probe, float]:
    """The fewest rows, in doublings, that keep the promise for every kind of query, and the recall they give.

    A true neighbour among the candidates is always found, since candidates are scored exactly.
    """
    groups = ranks.reshape(-1, QUERIES, k)
    candidates = min(2 * k, pool)
    while True:
        recall = float((groups < candidates).mean((1, 2)).min())
        if recall >= PROMISE or candidates >= pool:
            return Probe(nprobe, candidates), recall
        candidates = min(2 * candidates, pool)
