"""What the promise of `verify --recall` is measured by: searches beside the score of every photo. Needs no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..grammar import Query
from ..records import Not, PhotoRef, RegionRef
from .engine import search_many

if TYPE_CHECKING:
    from ..storage.rows import Check
    from ..storage.store import Store

TOP = 10
SEED = 0  # the same queries at every call, as long as the photos are the same


def recall_checks(store: Store, promise: float, queries: int) -> list[Check]:
    """For each kind of query the share of the best `TOP` photos that a search finds.

    A photo counts as found where one with its score, rounded as scores are, is among the hits.

    Args:
        promise: share that has to be found.
        queries: of each kind.
    Returns:
        One check a kind; none where nothing is indexed.
    """
    from ..storage.rows import Check

    if not 0 <= promise <= 1 or queries < 1:
        raise InputError(f"recall is {promise} of {queries} queries, expected 0 to 1, and 1 query or more")
    active = store.active_space()
    if active is None or not store.count(active[0])[0]:
        return []
    options: dict[str, Any] = {"top_k": TOP, "load_picture": _no_picture, "ground": None}
    checks = []
    for kind, asked in _queries(store, active[0], queries).items():
        found = search_many(store, _no_model, asked, **options)
        best = search_many(store, _no_model, asked, mode="exact", **options)
        wanted = sum(len(answer) for answer in best)
        kept = 0
        for answer, truth in zip(found, best, strict=True):
            ids = {hit.photo.id for hit in truth}
            # the photo that a query is, or is a part of, stands first whatever it scores
            least = min((hit.score for hit in truth[1:]), default=np.inf)
            kept += min(len(truth), sum(hit.photo.id in ids or hit.score >= least for hit in answer))
        paths = " and ".join(sorted({answer.path for answer in found}))
        share = kept / max(wanted, 1)
        detail = f"{100 * share:.2f} % of the best {TOP} photos found, path {paths}, promised {100 * promise:g} %"
        checks.append(Check(f"recall of {kind}", share >= promise, detail))
    return checks


def _queries(store: Store, space_id: int, count: int) -> dict[str, list[Query]]:
    """Queries of stored photos and regions by kind, drawn from the library; fewer kinds where no photo has regions."""
    rng = np.random.default_rng(SEED)
    ids = store.encoded(space_id)
    block = store.vectors(space_id, rng.choice(ids, 3 * count))
    photos = [PhotoRef(int(photo_id)) for photo_id in block.photo_ids[:count]]
    made: dict[str, list[Query]] = {"a photo": [Query(photo) for photo in photos]}
    counts = np.diff(block.offsets)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return made
    regions = [
        RegionRef(int(block.photo_ids[row]), int(rng.integers(0, counts[row]))) for row in rng.choice(filled, 3 * count)
    ]
    first, second, third = regions[:count], regions[count : 2 * count], regions[2 * count :]
    made["a region"] = [Query(region) for region in first]
    made["a photo and a region"] = [Query(*parts) for parts in zip(photos, second, strict=True)]
    made["two regions without a third"] = [
        Query(one, two, Not(no)) for one, two, no in zip(first, second, third, strict=True)
    ]
    return made


def _no_model() -> Any:
    raise RuntimeError("a query of stored vectors asked for a model")


def _no_picture(source: Any) -> Any:
    raise RuntimeError(f"a query of stored vectors asked for the picture {source}")
