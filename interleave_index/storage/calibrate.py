"""Search parameters measured on the collection itself: as little effort as keeps the promised recall. Knows no SQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry import unit
from ..records import Floats
from .backend import load_faiss
from .recipes import Probe, Recipe
from .rows import Ids

PROMISE = 0.99  # share of the true k best that every kind of query must find
LEVELS = (10, 100, 500)
QUERIES = 64  # of each kind
POOL = 12  # candidates looked at, in multiples of the largest k
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


def calibrate(index: Any, recipe: Recipe, sample: Floats) -> Recipe | None:
    """The recipe with its search parameters; None when it is not worth having.

    Args:
        index: a filled coarse index with exact codes behind it.
        sample: (n, D) float32, some of its vectors.
    """
    faiss = load_faiss()
    rng = np.random.default_rng(0)
    asked = np.vstack(list(queries(sample, rng).values()))
    levels = [k for k in LEVELS if k <= index.ntotal]
    truth = faiss.downcast_index(index.refine_index).search(asked, levels[-1])[1]
    best: dict[int, _Measured] = {}
    pool = min(index.ntotal, POOL * levels[-1])
    for nprobe, ranks in _ranks(index, recipe, asked, truth, pool):
        for k in levels:
            probe, recall = _candidates(ranks[:, :k], k, nprobe, pool)
            cost = nprobe * index.ntotal / recipe.lists * PROBE_COST + probe.candidates * CANDIDATE_COST
            failed = recall < PROMISE
            this = _Measured(failed, -recall if failed else cost, cost, recall, probe)
            best[k] = min(best.get(k, this), this)
        if not any(found.failed for found in best.values()):
            break
    first = best[levels[0]]
    if first.failed or first.cost > WORTH * index.ntotal * 2 * index.d:
        return None
    return replace(
        recipe,
        search={k: found.probe for k, found in best.items()},
        recall={k: round(found.recall, 4) for k, found in best.items()},
    )


def _ranks(index: Any, recipe: Recipe, asked: Floats, truth: Ids, pool: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """For growing effort, the place that each true neighbour takes among the coarse index's candidates."""
    faiss = load_faiss()
    base = faiss.downcast_index(index.base_index)
    nprobe = max(4, recipe.lists // 128)
    while nprobe <= recipe.lists:
        found = base.search(asked, pool, params=faiss.SearchParametersIVF(nprobe=nprobe))[1]
        ranks = np.full(truth.shape, np.iinfo(np.int64).max)
        for row, (names, wanted) in enumerate(zip(found, truth, strict=True)):
            order = np.argsort(names, kind="stable")
            places = np.minimum(np.searchsorted(names, wanted, sorter=order), pool - 1)
            hit = names[order[places]] == wanted
            ranks[row, hit] = order[places][hit]
        yield nprobe, ranks
        nprobe *= 2


def _candidates(ranks: NDArray[np.int64], k: int, nprobe: int, pool: int) -> tuple[Probe, float]:
    """The fewest candidates, in doublings, that keep the promise for every kind of query, and the recall they give.

    A true neighbour among the candidates is always found, since candidates are scored exactly.
    """
    groups = ranks.reshape(-1, QUERIES, k)
    candidates = min(2 * k, pool)
    while True:
        recall = float((groups < candidates).mean((1, 2)).min())
        if recall >= PROMISE or candidates >= pool:
            return Probe(nprobe, candidates), recall
        candidates = min(2 * candidates, pool)
