"""Many queries at once, and the recall that is promised of them."""

from __future__ import annotations

import pytest

from interleave_index.errors import EmptyQuery, InputError
from interleave_index.grammar import Query
from interleave_index.query import engine
from interleave_index.query import library as library_module
from interleave_index.query.candidates import Plan, every_cosine
from interleave_index.query.engine import search_many
from interleave_index.query.recall import recall_checks
from interleave_index.records import Filters

from .conftest import open_picture

QUERIES = ("[red]", "blue", "[photo:2]", "[red] and [blue] -[yellow]", "[region:1/0]", '[green] "nothing"', "zebra")


def many(library, queries, **options):
    asked = [Query.parse(query) for query in queries]
    return search_many(library.store, library.factory, asked, load_picture=open_picture, **options)


@pytest.mark.parametrize("mode", ["auto", "exact", "ann"])
@pytest.mark.parametrize("together", [1, 3, 16])
def test_many_queries_are_answered_as_each_by_itself(library, monkeypatch, mode, together):
    monkeypatch.setattr(engine, "TOGETHER", together)
    found = many(library, QUERIES, top_k=4, mode=mode)
    for query, answer in zip(QUERIES, found, strict=True):
        alone = library.ask(query, top_k=4, mode=mode)
        assert answer.to_json() == alone.to_json(), query


def test_one_pass_serves_several_queries(library, monkeypatch):
    asked = []
    best = type(library.store.indexes(library.space_id).region).best

    def counted(index, queries, allowed=None):
        asked.append((index.kind, len(queries)))
        return best(index, queries, allowed)

    monkeypatch.setattr(type(library.store.indexes(library.space_id).region), "best", counted)
    many(library, ["[red]", "[blue] [green]", "[yellow] -[red]"], mode="exact")
    assert [(kind, count) for kind, count in asked if kind == "region"] == [("region", 5)]


def test_an_index_without_photos_answers_nothing_to_many(empty):
    assert [len(answer) for answer in many(empty, QUERIES[:2])] == [0, 0]


def test_filters_count_for_all_and_mistakes_are_those_of_one_query(library):
    assert all(not answer.hits for answer in many(library, QUERIES[:2], filters=Filters(camera="no such")))
    assert many(library, []) == []
    with pytest.raises(EmptyQuery):
        many(library, ["-[red]"])
    with pytest.raises(EmptyQuery) as failed:
        many(library, ["[red]"] * 17 + ["-[red]"])
    assert failed.value.query_number == 17
    with pytest.raises(InputError, match="'exact'"):
        many(library, QUERIES[:1], ground="exact")
    with pytest.raises(InputError, match="top_k is -1"):
        many(library, QUERIES[:1], top_k=-1)


def test_recall_of_an_index_without_photos_is_no_check(empty):
    assert recall_checks(empty.store, 0.99, 10) == []


def test_recall_is_measured_by_kind_and_fails_where_photos_are_missed(library, monkeypatch):
    checks = recall_checks(library.store, 0.99, 10)
    assert [check.name for check in checks] == [
        "recall of a photo",
        "recall of a region",
        "recall of a photo and a region",
        "recall of two regions without a third",
    ]
    assert all(check.ok and "100.00 %" in check.detail for check in checks)
    with pytest.raises(InputError, match=r"recall is 1\.5"):
        recall_checks(library.store, 1.5, 10)

    def few(indexes, query, allowed, top_k, most, beside):
        ids, found = every_cosine(indexes, query, allowed)
        return ids[::2], type(found)(*(getattr(found, name)[::2] for name in found.__slots__))

    monkeypatch.setattr(library_module, "best_photos", few)
    monkeypatch.setattr(
        engine, "plan", lambda mode, **given: Plan("exact" if mode == "exact" else "ann", given["candidates"])
    )
    assert not all(check.ok for check in recall_checks(library.store, 0.99, 10))
    assert all(check.ok for check in recall_checks(library.store, 0.1, 10))
