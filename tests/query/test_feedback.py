"""Photos that are called right or wrong: the query moves towards them, or away from them."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.errors import InputError, NotInIndex


def ranks(answer):
    return {hit.photo.id: hit.rank for hit in answer}


def test_what_looks_like_a_liked_photo_rises(library):
    plain, moved = library.ask("white", top_k=20), library.ask("white", top_k=20, liked=[library.ids["red"]])
    assert ranks(moved)[library.ids["two_reds"]] <= ranks(plain)[library.ids["two_reds"]]
    scores = [{hit.photo.id: hit.score for hit in answer} for answer in (plain, moved)]
    risen = {name: scores[1][number] - scores[0][number] for name, number in library.ids.items()}
    assert risen["red"] > risen["green"] and risen["two_reds"] > risen["green"]


def test_an_unliked_photo_is_no_hit_and_what_looks_like_it_falls(library):
    plain, moved = library.ask("white", top_k=20), library.ask("white", top_k=20, unliked=[library.ids["red"]])
    assert library.ids["red"] not in ranks(moved) and library.ids["red"] in ranks(plain)
    scores = [{hit.photo.id: hit.score for hit in answer} for answer in (plain, moved)]
    two, green = library.ids["two_reds"], library.ids["green"]
    assert scores[1][two] - scores[0][two] < scores[1][green] - scores[0][green]


def test_both_paths_agree_on_a_moved_query(library):
    exact, ann = (library.ask("white", mode=mode, liked=[library.ids["red"]]) for mode in ("exact", "ann"))
    assert exact.hits == ann.hits


def test_a_photo_that_is_named_twice_counts_once(library):
    red, blue = library.ids["red"], library.ids["blue"]
    for role in ("liked", "unliked"):
        once, twice = (library.ask("white", **{role: named}) for named in ([red, blue], [red, blue, red]))
        assert once.hits == twice.hits


def test_without_feedback_nothing_moves(library):
    assert library.ask("[red]").hits == library.ask("[red]", liked=[], unliked=[]).hits


def test_a_photo_cannot_be_right_and_wrong(library):
    with pytest.raises(InputError, match="right and wrong"):
        library.ask("red", liked=[library.ids["red"]], unliked=[library.ids["red"]])


def test_a_photo_that_is_not_there_is_an_error(library):
    with pytest.raises(NotInIndex):
        library.ask("red", liked=[12345])


def test_relevance_never_rises_while_the_score_falls(library):
    answer = library.ask("[red]", top_k=20, liked=[library.ids["blue"]], unliked=[library.ids["green"]])
    assert (np.diff([hit.relevance for hit in answer]) <= 1e-6).all()
