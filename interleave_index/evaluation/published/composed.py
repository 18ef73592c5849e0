"""Composed retrieval: a photo and a text ask for another photo. CIRR, CIRCO and FashionIQ with their official measures.

A query is asked as ``[photo] text``, and photos are ranked by the cosine of their vectors with that of the whole query,
as in the field; a search would also weigh the photo of the query as an entity. Equal scores rank by the order of the
data set.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ... import metrics
from ...errors import InputError
from ..outcome import Figures
from .composed_files import ComposedQuery, ComposedSet
from .files import read_photo
from .journal import Journal, Record
from .run import Benchmark
from .subject import Subject

CIRR_CUTOFFS, SUBSET_CUTOFFS = (1, 5, 10, 50), (1, 2, 3)
CIRCO_CUTOFFS, ASPECT_CUTOFF = (5, 10, 25, 50), 10
FASHION_CUTOFFS = (10, 50)
SUBMITTED, SUBMITTED_OF_SUBSET = 50, 3  # photos of a query that the servers take
AT_A_TIME = 64  # queries that are scored together

Item: TypeAlias = "ComposedQuery | GalleryPhoto"
Ranking: TypeAlias = Mapping[str, Sequence[str]]  # names of photos by query, best first


@dataclass(frozen=True, slots=True)
class GalleryPhoto:
    """One photo that is searched."""

    name: str
    file: Path


def cirr(split: str, data: ComposedSet, submission: Path | None = None) -> Benchmark[Item]:
    """CIRR: R@K over the split without the query's own photo, R_subset@K over its five neighbours.

    Args:
        split: ``test1`` has no truths: it needs a submission.
        submission: file that gets the best photos in the form that the server takes; those of the subsets go into a
            second one beside it, ``NAME_subset.json``.
    """

    def figures(journal: Journal) -> Figures:
        queries = _measured(journal, data)
        everything = _ranked(journal, data, queries)
        ranked = {query.id: [name for name in everything[query.id] if name != query.reference] for query in queries}
        subsets = {query.id: [name for name in ranked[query.id] if name in query.subset] for query in queries}
        if submission is not None:
            _write(submission, {"version": "rc2", "metric": "recall", **_best(ranked, SUBMITTED)})
            second = {"version": "rc2", "metric": "recall_subset", **_best(subsets, SUBMITTED_OF_SUBSET)}
            _write(_of_subset(submission), second)
        found: Figures = {}
        if queries and queries[0].truths:
            ranks, in_subset = _ranks(queries, ranked), _ranks(queries, subsets)
            found |= {f"R@{k}": metrics.recall_at(ranks, k) for k in CIRR_CUTOFFS}
            found |= {f"R_subset@{k}": metrics.recall_at(in_subset, k) for k in SUBSET_CUTOFFS}
            found["average"] = (found["R@5"] + found["R_subset@1"]) / 2
        return {**found, **_counts(journal, queries)}

    files = [] if submission is None else [submission, _of_subset(submission)]
    return _benchmark(f"cirr {split}", {"": data}, figures, files)


def circo(split: str, data: ComposedSet, submission: Path | None = None) -> Benchmark[Item]:
    """CIRCO: mAP@K over all truths of a query, R@K of the first of them, mAP@10 by kind of change where it is told.

    Args:
        split: ``test`` has no truths: it needs a submission.
        submission: file that gets the best photos in the form that the server takes.
    """

    def figures(journal: Journal) -> Figures:
        queries = _measured(journal, data)
        ranked = _ranked(journal, data, queries, most=max(SUBMITTED, *CIRCO_CUTOFFS))
        if submission is not None:
            best = _best(ranked, SUBMITTED)
            _write(submission, {query: [int(name) for name in names] for query, names in best.items()})
        found: Figures = {}
        if queries and queries[0].truths:
            right = [np.isin(ranked[query.id], query.truths) for query in queries]
            truths = [len(query.truths) for query in queries]
            for k in CIRCO_CUTOFFS:
                precisions = metrics.average_precisions(right, truths, k)
                found[f"mAP@{k}"] = 100 * float(precisions.mean())
            ranks = _ranks(queries, ranked)
            found |= {f"R@{k}": metrics.recall_at(ranks, k) for k in CIRCO_CUTOFFS}
            precisions = metrics.average_precisions(right, truths, ASPECT_CUTOFF)
            for aspect in sorted({aspect for query in queries for aspect in query.aspects}):
                of_aspect = precisions[[aspect in query.aspects for query in queries]]
                found[f"mAP@{ASPECT_CUTOFF} {aspect}"] = 100 * float(of_aspect.mean())
        return {**found, **_counts(journal, queries)}

    return _benchmark(f"circo {split}", {"": data}, figures, [] if submission is None else [submission])


def fashioniq(split: str, kinds: Mapping[str, ComposedSet]) -> Benchmark[Item]:
    """FashionIQ: R@10 and R@50 of each kind of garment, and their means, over both galleries that are in use.

    Plain figures are over the photos that the split lists, those with ``pairs`` over the photos of its queries and
    truths alone (the "VAL split" of some papers), which are fewer.
    """

    def figures(journal: Journal) -> Figures:
        found: Figures = {}
        values = defaultdict(list)
        for kind, data in kinds.items():
            queries = _measured(journal, data, kind)
            pairs = {name for query in data.queries for name in (query.reference, *query.truths)}
            everything = _ranked(journal, data, queries, kind)
            of_pairs = {key: [name for name in names if name in pairs] for key, names in everything.items()}
            for gallery, ranked in (("", everything), ("pairs ", of_pairs)):
                ranks = _ranks(queries, ranked)
                for k in FASHION_CUTOFFS:
                    found[f"{gallery}R@{k} {kind}"] = metrics.recall_at(ranks, k)
                    values[f"{gallery}R@{k}"].append(found[f"{gallery}R@{k} {kind}"])
        means = {name: float(np.mean(rows)) for name, rows in values.items()}
        queries = [query for kind, data in kinds.items() for query in _measured(journal, data, kind)]
        return {**means, **found, **_counts(journal, queries)}

    return _benchmark(f"fashioniq {split}", kinds, figures, [])


def _benchmark(
    name: str, kinds: Mapping[str, ComposedSet], figures: Callable[[Journal], Figures], written: Sequence[Path]
) -> Benchmark[Item]:
    """The photos of one or several sets and their queries as items; a trial takes the photos that its queries name."""
    items: dict[str, Item] = {}
    needs: dict[str, Sequence[str]] = {}
    references: dict[str, Path] = {}
    for kind, data in kinds.items():
        items |= {_photo_key(photo): GalleryPhoto(photo, file) for photo, file in data.photos.items()}
        for query in data.queries:
            key = _query_key(query, kind)
            items[key] = query
            references[query.reference] = data.file(query.reference)
            named = dict.fromkeys((query.reference, *query.truths, *query.subset))
            needs[key] = [_photo_key(photo) for photo in named if photo in data.photos]

    def measure(subject: Subject, item: Item, rng: Generator) -> Record:
        """The vectors of a photo that is searched, or that of a query."""
        if isinstance(item, GalleryPhoto):
            return {"views": subject.views(read_photo(item.file))}
        return {"query": subject.composed(read_photo(references[item.reference]), item.text)}

    judged = all(data.queries[0].truths for data in kinds.values())
    return Benchmark(name, items, measure, figures, judged=judged, written=written, needs=needs)


def _photo_key(name: str) -> str:
    return f"photo {name}"


def _query_key(query: ComposedQuery, kind: str = "") -> str:
    return f"query {kind} {query.id}" if kind else f"query {query.id}"


def _measured(journal: Journal, data: ComposedSet, kind: str = "") -> list[ComposedQuery]:
    """The queries that were measured: all of them, but for a trial."""
    return [query for query in data.queries if _query_key(query, kind) in journal.records]


def _ranked(
    journal: Journal,
    data: ComposedSet,
    queries: Sequence[ComposedQuery],
    kind: str = "",
    *,
    most: int | None = None,
) -> dict[str, list[str]]:
    """Names of the measured photos by query, best first; at most so many of each, as CIRCO has 123,403."""
    names = [name for name in data.photos if _photo_key(name) in journal.records]
    views = journal.arrays_of([_photo_key(name) for name in names], "views")
    vectors = journal.arrays_of([_query_key(query, kind) for query in queries], "query")
    ranked = {}
    for start in range(0, len(queries), AT_A_TIME):
        scores = metrics.nearest_views(views, np.stack(vectors[start : start + AT_A_TIME]))
        for query, column in zip(queries[start : start + AT_A_TIME], scores.T, strict=True):
            order = np.argsort(-column, kind="stable")[:most]
            ranked[query.id] = [names[n] for n in order]
    return ranked


def _ranks(queries: Sequence[ComposedQuery], ranked: Ranking) -> NDArray[np.int64]:
    """(Q,) ranks from 1 of the first truth of every query; behind all others where it was not measured."""
    ranks = []
    for query in queries:
        names = list(ranked[query.id])
        ranks.append(names.index(query.truths[0]) + 1 if query.truths[0] in names else len(names) + 1)
    return np.array(ranks, np.int64)


def _best(ranked: Ranking, count: int) -> dict[str, list[str]]:
    return {query: list(names[:count]) for query, names in ranked.items()}


def _counts(journal: Journal, queries: Sequence[ComposedQuery]) -> Figures:
    return {"n": len(queries), "photos": sum(key.startswith("photo ") for key in journal.records)}


def _write(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.write_text(json.dumps(content), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; name another --submission") from error


def _of_subset(path: Path) -> Path:
    """The second file of CIRR's server.

    >>> _of_subset(Path("mine.json")).name
    'mine_subset.json'
    """
    return path.with_name(f"{path.stem}_subset{path.suffix}")
