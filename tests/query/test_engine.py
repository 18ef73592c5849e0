"""Whole searches in a real store: planted answers, negatives, filters, notes, and looks at single photos."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from interleave_index.config import QuerySettings
from interleave_index.errors import EmptyQuery, InputError, NotInIndex, SpaceMismatch
from interleave_index.geometry import mask_iou, unit
from interleave_index.grammar import Query
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.protocol import TextReading
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.query.candidates import nearest
from interleave_index.query.engine import ground, search
from interleave_index.query.judgement import curve_of
from interleave_index.query.resolve import named_photos, resolve, stored_encoding
from interleave_index.query.score import PENALTY, rank, score, scoring_query
from interleave_index.records import (
    Entity,
    Filters,
    Not,
    PhotoFacts,
    PhotoRef,
    Picture,
    QueryEncoding,
    RegionRef,
    Space,
)
from interleave_index.storage.store import Store


def pixels_of(rgb, colour):
    return (rgb == COLOURS[colour]).all(2)


# --- ranking ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("blue", "blue"),
        ("[purple]", "purple"),
        ("[red] and [blue]", "red_and_blue"),
        ("[yellow] on black", "yellow_on_black"),
    ],
)
def test_words_find_what_was_planted(library, query, first):
    answer = library.ask(query)
    assert library.names(answer)[0] == first
    assert (answer.query, answer.path) == (str(Query.parse(query)), "exact")
    assert [hit.rank for hit in answer] == list(range(1, 10))
    assert all(one.score >= next_.score for one, next_ in pairwise(answer))


def test_a_picture_and_a_part_of_one_find_what_they_show(library, draw):
    example = draw(green=(20, 20, 10), blue=(60, 40, 10))
    whole = library.ask(Query(Picture(draw(purple=(40, 30, 20)))))
    part = library.ask(Query(Picture(example, box=(52, 32, 68, 48))))
    assert library.names(whole)[0] == "purple"
    assert library.names(part)[0] == "blue"
    assert (part[0].entities[0].kind, part[0].entities[0].text) == ("region", "[image:#array=60x80#box=52,32,68,48]")


def test_a_picture_file_is_opened_by_the_loader(library, draw, tmp_path):
    Image.fromarray(draw(green=(40, 30, 20))).save(tmp_path / "example.png")
    assert library.names(library.ask(Query(Picture(tmp_path / "example.png"))))[0] == "green"


def test_a_part_of_a_picture_beside_a_word(library, draw):
    example = draw(green=(20, 20, 10), blue=(60, 40, 10))
    answer = library.ask(Query(Picture(example, points=((60, 40),)), "beside", Entity("red")))
    assert library.names(answer)[0] == "red_and_blue"


def test_the_total_is_the_formula_over_stored_vectors(library, load):
    query = Query.parse("white with [red]^2 and [photo:3] -[blue]^0.5")
    answer = library.ask(query, top_k=20)
    parts = resolve(query, library.store, library.space_id, load).parts
    block = library.store.vectors(library.space_id, sorted(library.ids.values()))
    totals = score(
        block, scoring_query(parts, library.interface.encode_query(parts), library.interface.calibration)
    ).total
    best = rank(block.photo_ids, totals, 20)
    assert [hit.photo.id for hit in answer] == block.photo_ids[best].tolist()
    assert [hit.score for hit in answer] == pytest.approx(totals[best].tolist())


@pytest.mark.parametrize("query", ["red on white", "[red] and [blue]^3", "[photo:2] [region:4/1] -[green]"])
def test_both_paths_give_the_same_answer_where_candidates_are_enough(library, query):
    exact, ann = (library.ask(query, mode=mode) for mode in ("exact", "ann"))
    assert (exact.path, ann.path) == ("exact", "ann")
    assert exact.hits == ann.hits


def test_equal_photos_rank_by_id(empty, draw):
    for number in range(20):
        empty.add(f"copy {number}", draw(red=(40, 30, 20)))
    for mode in ("exact", "ann"):
        answer = empty.ask("[red]", mode=mode, top_k=7)
        assert [hit.photo.id for hit in answer] == sorted(empty.ids.values())[:7]
        assert len({hit.score for hit in answer}) == 1


def test_settings_weigh_the_score(library):
    # one of two words stands in brackets, so w is halfway between the setting and 1
    none, all_ = (library.ask("white [red]", settings=QuerySettings(entity_weight=w)) for w in (0.0, 1.0))
    by_id = {hit.photo.id: hit for hit in none}
    for hit in all_:
        assert hit.score == pytest.approx(by_id[hit.photo.id].score + 0.5 * hit.entities[0].score, abs=2e-6)
    assert library.ask("red", settings=QuerySettings(cutoff=0.9)).cutoff == 0.9
    plain, bare = (
        library.ask(query, settings=QuerySettings(negative_weight=0.0)) for query in ("[red] -[blue]", "[red]")
    )
    assert [hit.score for hit in plain] == [hit.score for hit in bare]


def test_weights_prefer_what_weighs_more(library):
    red, blue = (library.names(library.ask(query)) for query in ("[red]^9 [blue]", "[red] [blue]^9"))
    assert red.index("small_red") < red.index("blue") and blue.index("blue") < blue.index("small_red")


# --- negatives -------------------------------------------------------------------------------


@pytest.fixture
def twins(library, draw):
    """The library with two more photos that are alike but for the colour of one disc."""
    library.add_all(
        {
            "red_beside_green": draw(red=(20, 30, 14), green=(60, 30, 12)),
            "red_beside_blue": draw(red=(20, 30, 14), blue=(60, 30, 12)),
        }
    )
    return library


@pytest.mark.parametrize("mode", ["exact", "ann"])
@pytest.mark.parametrize("query", ["[red]", "red", "a [red] disc on white"])
def test_of_two_photos_alike_the_one_that_shows_what_is_not_wanted_falls_below(twins, query, mode):
    def scores_of(asked):
        answer = twins.ask(asked, mode=mode, top_k=20)
        found = dict(zip(twins.names(answer), answer, strict=True))
        return found["red_beside_green"], found["red_beside_blue"], found["red_and_blue"]

    green, blue, both = scores_of(query)
    assert blue.score == pytest.approx(green.score, abs=1e-5) and blue.relevance == pytest.approx(green.relevance, 1e-4)
    without_green, without_blue, without_both = scores_of(f"{query} -[blue]")
    assert without_green.score == pytest.approx(green.score, abs=1e-5)
    assert without_blue.rank > without_green.rank and without_both.rank > without_green.rank
    # blue is surely there: five nats of the odds, by curves of slope 20
    assert blue.score - without_blue.score == pytest.approx(PENALTY / 20, rel=0.1)
    assert both.score - without_both.score == pytest.approx(PENALTY / 20, rel=0.1)


def test_a_negative_takes_off_by_its_weight(library):
    scores = [
        next(hit.score for hit in library.ask(query) if hit.photo.id == library.ids["red_and_blue"])
        for query in ("[red]", "[red] -[blue]^0.2", "[red] -[blue]^0.4")
    ]
    assert scores[0] - scores[1] == pytest.approx(0.2 * PENALTY / 20, rel=0.1)
    assert scores[0] - scores[2] == pytest.approx(2 * (scores[0] - scores[1]), abs=4e-6)


def test_a_negative_that_no_photo_shows_changes_nothing_and_a_note_says_so(library):
    plain, without = library.ask("[red]"), library.ask("[red] -[orange]")
    assert [hit.photo.id for hit in plain] == [hit.photo.id for hit in without]
    assert [hit.score for hit in without] == pytest.approx([hit.score for hit in plain], abs=1e-4)
    assert without.notes == ("no photo here surely shows orange; leaving it out changes little",)
    assert plain.notes == ()


def test_a_negative_that_is_there_in_a_hit_that_counts_is_explained_once(library):
    answer = library.ask("[red] -[blue]")
    shown = {library.names([hit])[0]: hit for hit in answer}
    both = shown["red_and_blue"]
    assert answer.meant(both) and [entity.grounding.present for entity in both.entities] == [True, True]
    assert answer.notes == (
        "blue is there in photos that count all the same: a negative lowers photos and rules none out",
    )
    assert library.ask("[red] -[blue]", ground=None).notes == ()


def test_an_entity_that_is_there_in_hits_that_do_not_count_is_explained_once(library):
    answer = library.ask("a [red] disc beside a [blue] one")
    doubted = [hit for hit in answer if not answer.meant(hit)]
    assert any(entity.grounding.present for hit in doubted for entity in hit.entities)
    assert answer.notes == tuple(
        f"{colour} is there also in photos under the cut-off: a photo counts by the whole query, not by one part"
        for colour in ("red", "blue")
    )


def test_over_no_photos_nothing_is_said_of_what_they_show(library):
    answer = library.ask("[red] -[orange]", filters=Filters(camera="none"))
    assert answer.hits == () and answer.notes == ()


@pytest.mark.parametrize("query", ["!!!", "[!!!]", "a photo of", "[a photo of]", "[a photo of] ...", "the -[red]"])
def test_text_that_says_nothing_matches_nothing_and_a_note_says_so(library, load, query):
    answer = library.ask(query)
    assert answer.meant_count == 0 and answer.cutoff == 1 and len(answer) == 9
    assert any("says nothing that could be looked for" in note for note in answer.notes)
    look = ground(library.interface, library.pictures["red"], Query.parse(query), load_picture=load)
    assert look.relevance == 0 and look.notes
    assert not any(entity.grounding.present for entity in look.entities if not entity.negative)


@pytest.mark.parametrize("unsaid", ["[!!!]", "-[...]", "[a photo of]"])
def test_a_part_that_says_nothing_is_left_out_beside_others(library, unsaid):
    plain, beside = library.ask("[red]"), library.ask(f"[red] {unsaid}")
    assert [(hit.photo.id, hit.score, hit.relevance) for hit in beside] == [
        (hit.photo.id, hit.score, hit.relevance) for hit in plain
    ]
    assert beside.notes == (f"{unsaid.strip('-[]')!r} says nothing that could be looked for",)
    assert library.ask("a photo of [red]").notes == ()


def test_a_photo_by_itself_comes_with_the_notes_on_its_query(library, load):
    class Reading(ToyInterface):
        def reading(self, text):
            return TextReading(unknown=("dgo",)) if "dgo" in text else TextReading()

    look = ground(Reading(), library.pictures["red"], Query.parse("[red dgo]"), load_picture=load)
    assert look.notes == ("the model does not know the word 'dgo' and may misread it",)
    assert look.to_json()["notes"] == list(look.notes)


# --- filters, limits -------------------------------------------------------------------------


def test_filters_decide_before_the_search(empty, draw):
    for year in (2020, 2021, 2022):
        empty.add(f"red {year}", draw(red=(40, 30, 20)), taken_at=datetime(year, 6, 1), camera=f"Camera {year}")
    later = empty.ask("[red]", filters=Filters(after=datetime(2021, 1, 1)))
    assert empty.names(later) == ["red 2021", "red 2022"]
    for mode in ("exact", "ann"):
        assert empty.names(empty.ask("[red]", filters=Filters(camera="2020"), mode=mode)) == ["red 2020"]
    assert empty.ask("[red]", filters=Filters(camera="none"), mode="ann").hits == ()


@pytest.mark.parametrize("mode", ["auto", "exact", "ann"])
def test_as_many_hits_as_asked_for(library, mode):
    assert [len(library.ask("red", top_k=k, mode=mode)) for k in (0, 1, 4, 100)] == [0, 1, 4, 9]


def test_an_empty_index_answers_with_nothing(empty, tmp_path, load):
    assert empty.ask("[red]").hits == ()
    with Store.open(tmp_path / "fresh", create=True) as store:
        answer = search(store, ToyInterface, Query("red"), load_picture=load)
        assert answer.hits == () and answer.notes == ("nothing is indexed yet",)
        with pytest.raises(EmptyQuery):
            search(store, ToyInterface, Query(Not("red")), load_picture=load)


def test_mistakes_of_the_caller_are_named(library):
    with pytest.raises(EmptyQuery, match="negatives only"):
        library.ask("-[red]")
    with pytest.raises(InputError, match="top_k is -1"):
        library.ask("red", top_k=-1)
    with pytest.raises(InputError, match="ground is 'deep'"):
        library.ask("red", ground="deep")
    with pytest.raises(InputError, match="mode is 'fast'"):
        library.ask("red", mode="fast")
    with pytest.raises(NotInIndex, match="photo 999 is not in the catalog"):
        library.ask("[photo:999]")
    for weight in ("0.0001", "1001"):
        with pytest.raises(InputError, match=f"weight is {weight}, expected 0.001 to 1000"):
            library.ask(f"[red] -[blue]^{weight}")


def test_an_interface_of_another_space_is_refused(library, load):
    class Other(ToyInterface):
        space = Space("other", "1" * 64, "none", 16)

    with pytest.raises(SpaceMismatch, match=r"index holds space toy .* the interface is other"):
        search(library.store, Other, Query("red"), load_picture=load)


def test_a_photo_that_goes_away_during_a_search_does_not_break_it(library, monkeypatch):
    vectors, photos, gone = library.store.vectors, library.store.photos, [True]

    def once(space_id, ids):
        if gone:
            gone.clear()
            raise NotInIndex("photo 3 has no vectors")
        return vectors(space_id, ids)

    monkeypatch.setattr(library.store, "vectors", once)
    assert len(library.ask("red")) == 9 and not gone
    monkeypatch.setattr(library.store, "photos", lambda ids: {n: one for n, one in photos(ids).items() if n != 1})
    answer = library.ask("red")
    assert [hit.rank for hit in answer] == list(range(1, 9)) and 1 not in [hit.photo.id for hit in answer]


# --- references ------------------------------------------------------------------------------


def test_references_alone_never_build_the_model(library):
    answer = library.ask(
        Query(
            RegionRef(library.ids["red_and_blue"], 1),
            PhotoRef(library.ids["red"]),
            Not(RegionRef(library.ids["green"], 1)),
        )
    )
    assert library.built == 0
    assert library.names(answer)[0] in ("red", "two_reds", "red_and_blue")
    assert [entity.kind for entity in answer[0].entities] == ["region", "picture", "region"]
    assert [entity.negative for entity in answer[0].entities] == [False, False, True]


def test_the_kept_calibration_judges_references(library):
    library.store.save_calibration(library.space_id, library.interface.calibration.to_bytes())
    answer = library.ask(Query(RegionRef(library.ids["two_reds"], 1)))
    curve = library.interface.calibration.curves["region"]
    anything = curve.anything(max(hit.score for hit in answer[1:]), 9)
    assert library.built == 0 and answer.notes == () and answer.cutoff == pytest.approx(anything * curve.bar)
    for hit in answer[1:]:
        assert hit.relevance == pytest.approx(anything * float(curve.photo(np.array(hit.score), 0.0)), rel=1e-5)
    assert {name for name, hit in zip(library.names(answer), answer, strict=True) if answer.meant(hit)} == {
        "two_reds",
        "red",
        "red_and_blue",
        "small_red",
    }


def test_without_a_kept_calibration_a_note_says_so(library):
    assert "keeps no calibration" in library.ask(Query(PhotoRef(1))).notes[0]


def test_lost_pixels_are_noted_once(library):
    answer = library.ask(Query(PhotoRef(library.ids["yellow_on_black"]), "on black"))
    assert len(answer.notes) == 1 and "stands in" in answer.notes[0]
    assert library.names(answer)[0] == "yellow_on_black"


# --- a photo of the index finds itself ------------------------------------------------------


@pytest.fixture(scope="module")
def hubs(tmp_path_factory, make_vectors):
    """300 photos that look much alike, and a kept calibration whose captions say just that: centring moves a lot."""
    rng = np.random.default_rng(0)
    alike = make_vectors(rng, 16)

    def near(*shape):
        return unit(3 * alike * rng.uniform(0.1, 1, (*shape, 1)) + make_vectors(rng, *shape, 16))

    with Store.open(tmp_path_factory.mktemp("hubs"), create=True) as store:
        space_id = store.ensure_space(ToyInterface.space)
        counts = rng.integers(0, 4, 300)
        facts = [PhotoFacts(f"{n:064x}", 100, 80, "PNG") for n in range(300)]
        single = [np.full(count, 0.5, np.float32) for count in counts]
        store.write_encodings(
            space_id,
            facts,
            near(300),
            [near(int(count)) for count in counts],
            [np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1)) for count in counts],
            single,
            single,
        )
        kept = replace(ToyInterface().calibration, captions=alike[None], phrases=alike[None])
        store.save_calibration(space_id, kept.to_bytes())
        yield store, space_id, [(n + 1, int(count)) for n, count in enumerate(counts)]


def no_model():
    raise AssertionError("the model was built")


@pytest.mark.parametrize("mode", ["exact", "ann"])
def test_a_query_that_is_one_photo_or_a_part_of_one_finds_that_photo_first_with_relevance_1(hubs, load, mode):
    store, space_id, photos = hubs
    block, few = store.vectors(space_id, [n for n, _ in photos]), QuerySettings(candidates=1)
    calibration = Calibration.from_bytes(store.load_calibration(space_id))
    indexes, beaten, not_brought = store.indexes(space_id), 0, 0
    for photo_id, regions in photos:
        references: list[PhotoRef | RegionRef] = [PhotoRef(photo_id), *(RegionRef(photo_id, n) for n in range(regions))]
        for reference in references:
            answer = search(
                store, no_model, Query(reference), load_picture=load, mode=mode, top_k=1, settings=few, ground=None
            )
            assert answer.path == mode and answer[0].photo.id == photo_id, reference
            assert answer[0].relevance == 1 and answer.meant(answer[0])
            parts = resolve(Query(reference), store, space_id, load).parts
            scoring = scoring_query(parts, stored_encoding(parts), calibration)
            beaten += block.photo_ids[score(block, scoring).total.argmax()] != photo_id
            not_brought += photo_id not in nearest(indexes, scoring, None, 10)
    assert beaten > 20 and not_brought > 5  # by scores alone others would stand first, and some would not be looked at


@pytest.mark.parametrize("mode", ["exact", "ann"])
def test_a_photo_finds_itself_first_in_its_own_library(library, mode):
    for name, photo_id in library.ids.items():
        answer = library.ask(Query(PhotoRef(photo_id)), mode=mode)
        assert library.names(answer)[0] == name and answer[0].relevance == 1 and len(answer) == 9
        assert answer[0].entities[0].grounding.present and answer[0].entities[0].grounding.probability == 1


def test_whether_anything_is_meant_is_told_by_the_other_photos(library):
    yellow, red = (library.ask(Query(RegionRef(library.ids[name], 1))) for name in ("yellow_on_black", "red"))
    assert yellow.cutoff == 1 and library.names(yellow[: yellow.meant_count]) == ["yellow_on_black"]
    assert red.cutoff < 1 and red.meant_count == 4


def test_a_negative_beside_it_does_not_move_a_photo_from_its_own_first_place(library):
    answer = library.ask(Query(PhotoRef(library.ids["red_and_blue"]), Not(PhotoRef(library.ids["red_and_blue"]))))
    assert library.names(answer)[0] == "red_and_blue" and answer[0].relevance == 1


def test_two_photos_together_are_no_photos_own_query(library):
    answer = library.ask(Query(PhotoRef(library.ids["white"]), PhotoRef(library.ids["yellow_on_black"])))
    assert all(hit.relevance < 1 for hit in answer)


@pytest.mark.parametrize("mode", ["exact", "ann"])
def test_a_photo_that_the_filters_leave_out_does_not_come_back_as_its_own(library, mode):
    elsewhere = Filters(folder=Path("/nowhere"))
    assert library.ask(Query(PhotoRef(1)), filters=elsewhere, mode=mode).hits == ()


@pytest.mark.parametrize("mode", ["exact", "ann"])
@pytest.mark.parametrize("beside", [(), ("on white",), (Entity("red"),)])
def test_named_photos_can_be_left_out(library, mode, beside):
    query = Query(RegionRef(library.ids["red"], 1), *beside, Not(PhotoRef(library.ids["green"])))
    with_, without = (library.ask(query, mode=mode, left_out=ids) for ids in ((), named_photos(query)))
    assert library.names(with_)[0] == "red" and "red" not in library.names(without)
    assert library.names(without) == library.names(with_)[1:] and "green" in library.names(without)
    assert [hit.rank for hit in without] == list(range(1, 9))
    assert library.ask("red", mode=mode, left_out=named_photos(Query("red"))) == library.ask("red", mode=mode)


def test_leaving_the_only_photo_out_leaves_nothing(empty, draw):
    photo_id = empty.add("only", draw(red=(40, 30, 20)))
    assert empty.ask(Query(PhotoRef(photo_id)), left_out={photo_id}).hits == ()
    assert [hit.relevance for hit in empty.ask(Query(PhotoRef(photo_id)))] == [1]


# --- relevance -------------------------------------------------------------------------------

PICTURES = (np.full((20, 20, 3), COLOURS["red"], np.uint8), np.full((20, 20, 3), COLOURS["orange"], np.uint8))
TERMS = st.one_of(
    st.builds(Entity, st.sampled_from(["red", "a blue disc", "orange", "two white things"]), st.floats(0.5, 3)),
    st.builds(Picture, st.sampled_from(PICTURES), box=st.sampled_from([None, (2, 2, 9, 9)])),
    st.builds(PhotoRef, st.integers(1, 9)),
    st.builds(RegionRef, st.integers(1, 8), st.just(0)),
)
WANTED = st.one_of(st.sampled_from(["red", "white and purple", "nothing of the kind on black"]), TERMS)
QUERIES = st.builds(
    lambda wanted, unwanted: Query(*wanted, *map(Not, unwanted)),
    st.lists(WANTED, min_size=1, max_size=3),
    st.lists(TERMS, max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES, mode=st.sampled_from(["exact", "ann"]), cutoff=st.sampled_from([None, 0.2, 0.9]))
def test_relevance_never_rises_down_an_answer_and_what_is_meant_stands_first(library, query, mode, cutoff):
    fixed = QuerySettings(cutoff=cutoff)
    answer = library.ask(query, mode=mode, settings=fixed)
    relevance = [hit.relevance for hit in answer]
    assert len(answer) == 9 and relevance == sorted(relevance, reverse=True) and 0 <= relevance[-1] <= relevance[0] <= 1
    assert [answer.meant(hit) for hit in answer] == [n < answer.meant_count for n in range(9)]
    pages = [hit for skip in (0, 4, 8) for hit in library.ask(query, mode=mode, settings=fixed, top_k=4, skip=skip)]
    assert [hit.photo.id for hit in pages] == [hit.photo.id for hit in answer]
    assert [hit.relevance for hit in pages] == pytest.approx(relevance, abs=1e-5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=WANTED, mode=st.sampled_from(["exact", "ann"]), cutoff=st.sampled_from([None, 0.2, 0.9]))
def test_the_only_part_of_a_query_is_there_exactly_where_the_photo_is_meant(library, part, mode, cutoff):
    answer = library.ask(Query(part), mode=mode, settings=QuerySettings(cutoff=cutoff))
    for hit in answer:
        grounding = hit.entities[0].grounding
        assert (grounding.present, grounding.probability) == (answer.meant(hit), hit.relevance)


def test_an_entity_is_judged_by_what_it_would_score_as_a_query_of_its_own(library):
    together = {hit.photo.id: hit for hit in library.ask("[red] beside [blue]")}
    for number, query in enumerate(("[red]", "[blue]")):
        for hit in library.ask(query):
            grounding = together[hit.photo.id].entities[number].grounding
            assert grounding.present == hit.entities[0].grounding.present
            assert grounding.probability == pytest.approx(hit.relevance, abs=1e-5)


def test_what_is_not_there_stays_under_the_cutoff(library):
    for query in ("orange", "[orange]", "an [orange] disc", "[orange] and [purple]^0.01"):
        answer = library.ask(query)
        assert answer.cutoff == 1 and answer.meant_count == 0, query


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("purple", {"purple"}),
        ("[purple]", {"purple"}),
        ("[red]", {"red", "two_reds", "red_and_blue", "small_red"}),
        ("a [red] disc beside a [blue] one", {"red_and_blue"}),
        ("[yellow] on black", {"yellow_on_black"}),
    ],
)
def test_what_is_there_stands_above_the_cutoff(library, query, meant):
    answer = library.ask(query)
    assert {name for name, hit in zip(library.names(answer), answer, strict=True) if answer.meant(hit)} == meant


class Uncalibrated(ToyInterface):
    """An interface without curves, whose words mean random directions; `planted` is what the word planted means."""

    space = Space("uncalibrated", "0" * 64, "none", 64)

    def __init__(self, make_vectors):
        self.make = make_vectors
        self.planted = make_vectors(np.random.default_rng(0), 64)

    @property
    def calibration(self):
        captions, pictures = (self.make(np.random.default_rng(seed), 100, 64) for seed in (1, 2))
        return Calibration(captions, captions, pictures[:12], pictures[12:24], stand_in=True)

    def encode_query(self, query):
        def meant(part):
            return self.planted if part.label == "planted" else self.make(np.random.default_rng(len(part.label)), 64)

        vectors = np.array([meant(part) for part in query if part.role == "entity"], np.float32).reshape(-1, 64)
        return QueryEncoding(meant(query[0]), vectors, vectors[:0])


@pytest.mark.parametrize("form", ["{}", "[{}]"])
def test_without_curves_of_its_own_a_space_is_judged_by_its_library(tmp_path, make_vectors, load, form):
    rng, interface = np.random.default_rng(5), Uncalibrated(make_vectors)
    image, regions = make_vectors(rng, 200, 64), make_vectors(rng, 200, 2, 64)
    image[17] = unit(interface.planted + make_vectors(rng, 64))
    regions[17, 1] = interface.planted
    one, boxes = np.full(2, 0.5, np.float32), np.tile(np.array([0, 0, 9, 9], np.float32), (2, 1))
    with Store.open(tmp_path / "bare", create=True) as store:
        facts = [PhotoFacts(f"{n:064x}", 100, 80, "PNG") for n in range(200)]
        ids = store.write_encodings(
            store.ensure_space(interface.space), facts, image, list(regions), [boxes] * 200, [one] * 200, [one] * 200
        )

        def meant(word):
            answer = search(
                store,
                lambda: interface,
                Query.parse(form.format(word)),
                load_picture=load,
                ground=None,
                top_k=200,
            )
            return [hit.photo.id for hit in answer if answer.meant(hit)]

        planted = meant("planted")
        assert planted[0] == ids[17] and len(planted) < 20  # the bar of photos is a generous one
        claimed = sum(bool(meant("x" * number)) for number in range(1, 41) if number != len("planted"))
        assert claimed <= 8  # of 39 words that mean nothing here


# --- grounding -------------------------------------------------------------------------------


def test_a_hit_shows_the_pixels_that_were_drawn(library):
    hit = library.ask("a [red] disc beside a [blue] one", top_k=1)[0]
    rgb = library.pictures["red_and_blue"]
    for entity, colour in zip(hit.entities, ("red", "blue"), strict=True):
        assert (entity.text, entity.grounding.source, entity.grounding.present) == (colour, "stored", True)
        assert entity.regions[0].rle.size == rgb.shape[:2]
        assert mask_iou(entity.regions[0].rle.decode(), pixels_of(rgb, colour)) > 0.95
        assert entity.regions[0].region_id // 256 == hit.photo.id


def test_two_things_of_one_kind_are_both_shown(library):
    hit = next(hit for hit in library.ask("[red]") if hit.photo.id == library.ids["two_reds"])
    masks = [region.rle.decode() for region in hit.entities[0].regions]
    assert len(masks) == 2
    assert mask_iou(masks[0] | masks[1], pixels_of(library.pictures["two_reds"], "red")) == 1


def test_what_a_photo_does_not_show_is_not_present(library):
    for hit in library.ask("[red]"):
        red = bool(pixels_of(hit_rgb(library, hit), "red").any())
        assert hit.entities[0].grounding.present == red


def hit_rgb(library, hit):
    return library.pictures[library.names([hit])[0]]


def test_a_hit_that_is_meant_may_lack_one_of_its_entities(library):
    answer = library.ask("[red]^9 and [orange]")
    assert library.names(answer)[0] == "red" and answer.meant(answer[0])
    assert [entity.grounding.present for entity in answer[0].entities] == [True, False]


def test_plain_text_is_grounded_and_scored_as_a_caption(library):
    bare, grounded = library.ask("red", ground=None), library.ask("red")
    assert [hit.score for hit in bare] == [hit.score for hit in grounded]
    assert all(hit.entities == () for hit in bare)
    entity = grounded[0].entities[0]
    assert (entity.text, entity.kind, entity.negative, entity.weight) == ("red", "text", False, 1)
    assert mask_iou(entity.regions[0].rle.decode(), pixels_of(hit_rgb(library, grounded[0]), "red")) == 1


def test_negatives_are_listed_with_what_speaks_against_the_photo(library):
    hits = {library.names([hit])[0]: hit for hit in library.ask("red -[blue]")}
    entity = hits["red_and_blue"].entities[1]
    assert entity.negative and entity.grounding.present
    assert mask_iou(entity.regions[0].rle.decode(), pixels_of(library.pictures["red_and_blue"], "blue")) == 1
    assert hits["red"].entities[1].regions == ()


def test_a_photo_without_regions_is_listed_without_masks(empty):
    encoding = empty.interface.encode_photos([np.full((60, 80, 3), 255, np.uint8)])[0]
    none = np.zeros(0, np.float32)
    empty.store.write_encodings(
        empty.space_id,
        [PhotoFacts("0" * 64, 80, 60, "PNG")],
        encoding.image[None],
        [np.zeros((0, 16), np.float32)],
        [np.zeros((0, 4), np.float32)],
        [none],
        [none],
    )
    entity = empty.ask("[white]")[0].entities[0]
    assert (entity.grounding.source, entity.score, entity.regions) == ("none", 0, ())


class Looking(ToyInterface):
    """The toy, noting what it was asked to ground."""

    def __init__(self) -> None:
        self.looks: list[list[tuple[str, str]]] = []

    def ground(self, photo, query):
        self.looks.append([(part.role, part.label) for part in query])
        return super().ground(photo, query)


def test_an_exact_look_is_taken_at_the_hits_and_leaves_their_scores(library, draw):
    library.interface = Looking()
    saved = library.add("saved", draw(purple=(20, 30, 14), orange=(60, 30, 10)), save=True)
    stored, exact = (library.ask("[purple] -[red]", top_k=1, ground=depth) for depth in ("stored", "exact"))
    assert [hit.photo.id for hit in exact] == [library.ids["purple"]]
    assert stored[0].score == exact[0].score
    assert exact[0].entities[0].grounding.source == "stored"  # its file is gone
    assert any("its stored regions are shown" in note for note in exact.notes)
    hit = next(hit for hit in library.ask("[orange]", top_k=2, ground="exact") if hit.photo.id == saved)
    entity = hit.entities[0]
    assert (entity.grounding.source, entity.grounding.present, entity.regions[0].region_id) == ("exact", True, None)
    assert mask_iou(entity.regions[0].rle.decode(), pixels_of(library.pictures["saved"], "orange")) == 1
    assert library.interface.looks == [[("entity", "orange")]]


class Judging(ToyInterface):
    """The toy with a grounder that judges: whatever it is asked for is not there."""

    def ground(self, photo, query):
        return [replace(found, present=False) for found in super().ground(photo, query)]


@pytest.mark.parametrize(("interface", "there"), [(ToyInterface, [True, False]), (Judging, [False, False])])
def test_an_exact_look_leaves_the_verdict_unless_it_judges(library, draw, interface, there):
    saved = library.add("saved", draw(orange=(60, 30, 20)), save=True)
    library.interface = interface()
    stored, exact = (
        next(hit for hit in library.ask("[orange] [purple]", ground=depth) if hit.photo.id == saved)
        for depth in ("stored", "exact")
    )
    assert [entity.grounding.present for entity in stored.entities] == [True, False]
    assert [entity.grounding.present for entity in exact.entities] == there
    assert (exact.score, exact.relevance) == (stored.score, stored.relevance)


def test_an_exact_look_for_plain_text_takes_it_as_one_entity(library, draw):
    library.interface = Looking()
    library.add("saved", draw(orange=(60, 30, 20)), save=True)
    hit = library.ask("something orange -[red]", top_k=1, ground="exact")[0]
    assert library.interface.looks == [[("entity", "something orange"), ("negative", "red")]]
    assert (hit.entities[0].text, hit.entities[0].grounding.source) == ("something orange", "exact")


def test_an_exact_look_for_references_brings_their_pixels(library, draw):
    saved = library.add("saved", draw(orange=(60, 30, 20)), save=True)
    answer = library.ask(Query(RegionRef(saved, 1)), top_k=1, ground="exact")
    assert answer[0].entities[0].grounding.source == "exact"
    assert mask_iou(answer[0].entities[0].regions[0].rle.decode(), pixels_of(library.pictures["saved"], "orange")) == 1


def test_only_hits_that_are_shown_have_their_masks_fetched(library, monkeypatch):
    fetched: list[int] = []
    masks = library.store.many_masks

    def noting(space_id, photo_ids):
        fetched.extend(photo_ids)
        return masks(space_id, photo_ids)

    monkeypatch.setattr(library.store, "many_masks", noting)
    answer = library.ask("[red]", top_k=3)
    assert fetched == [hit.photo.id for hit in answer]
    fetched.clear()
    library.ask("[red]", top_k=3, ground=None)
    assert fetched == []


# --- one photo by itself ---------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["stored", "exact"])
def test_any_picture_can_be_grounded_without_an_index(draw, load, depth):
    rgb = draw(red=(20, 30, 14), blue=(60, 30, 14))
    hit = ground(ToyInterface(), rgb, Query.parse("[blue] and [orange] -[red]"), load_picture=load, depth=depth)
    assert (hit.rank, hit.photo.id, hit.photo.path, hit.photo.width, hit.photo.height) == (1, 0, None, 80, 60)
    blue, orange, red = hit.entities
    assert (blue.grounding.source, blue.grounding.present) == (depth, True)
    assert mask_iou(blue.regions[0].rle.decode(), pixels_of(rgb, "blue")) == 1
    assert not orange.grounding.present and red.negative and red.grounding.present
    assert blue.regions[0].region_id is None


def test_a_photo_by_itself_scores_as_it_does_in_a_search(library, load):
    query = Query.parse("[red] on white -[blue]")
    name = "red_and_blue"
    found = next(hit for hit in library.ask(query) if hit.photo.id == library.ids[name])
    hit = ground(
        library.interface,
        library.pictures[name],
        query,
        load_picture=load,
        store=library.store,
        photo=found.photo,
        depth="stored",
    )
    assert hit.photo == found.photo
    assert hit.score == pytest.approx(found.score, abs=2e-3)  # stored vectors went through half precision
    curve = curve_of(resolve(query, library.store, library.space_id, load).parts, library.interface.calibration)
    assert hit.relevance == pytest.approx(float(curve.photo(np.array(hit.score), 0.0)), rel=1e-5)
    for left, right in zip(hit.entities, found.entities, strict=True):
        assert left.grounding.present == right.grounding.present
        assert [region.rle for region in left.regions] == [region.rle for region in right.regions]


@pytest.mark.parametrize("depth", ["stored", "exact"])
@pytest.mark.parametrize("query", ["[red]", "red", "[red] on white"])
def test_a_photo_that_the_user_names_is_never_judged_by_its_library(library, load, draw, depth, query):
    class Doubting(ToyInterface):
        @property
        def calibration(self):
            known = super().calibration
            return replace(
                known, curves={kind: replace(curve, anything_offset=-1e3) for kind, curve in known.curves.items()}
            )

    library.interface = Doubting()
    assert library.ask(query).cutoff == 1
    hit = ground(
        Doubting(), draw(red=(40, 30, 20)), Query.parse(query), load_picture=load, store=library.store, depth=depth
    )
    (entity,) = hit.entities
    assert hit.relevance > 0.5 and entity.grounding.present and entity.regions
    missing = ground(Doubting(), draw(green=(40, 30, 20)), Query.parse("[red]"), load_picture=load, depth=depth)
    assert missing.relevance < 0.5 and not missing.entities[0].grounding.present


def test_a_thumbnail_is_grounded_at_the_size_of_its_photo(library, load, draw):
    rgb = draw(blue=(60, 30, 14))
    photo = library.store.photo(library.add("blue aside", rgb))
    for depth in ("stored", "exact"):
        hit = ground(
            library.interface, rgb[::2, ::2], Query(Entity("blue")), load_picture=load, photo=photo, depth=depth
        )
        region = hit.entities[0].regions[0]
        assert region.rle.size == (60, 80) and region.box == pytest.approx((46, 16, 74, 44), abs=2)
        assert mask_iou(region.rle.decode(), pixels_of(rgb, "blue")) > 0.85


def test_references_in_a_look_need_the_index(library, load, draw):
    rgb = draw(red=(20, 30, 14))
    query = Query(RegionRef(library.ids["red"], 1))
    hit = ground(library.interface, rgb, query, load_picture=load, store=library.store)
    assert mask_iou(hit.entities[0].regions[0].rle.decode(), pixels_of(rgb, "red")) == 1
    with pytest.raises(InputError, match="no index"):
        ground(library.interface, rgb, query, load_picture=load)


def test_references_in_a_look_by_another_model_say_that_the_space_is_another(library, load, draw):
    class Other(ToyInterface):
        space = Space("toy", "another", "none", 16)

    rgb, store = draw(red=(20, 30, 14)), library.store
    with pytest.raises(SpaceMismatch, match="index holds space toy"):
        ground(Other(), rgb, Query("red", Not(PhotoRef(library.ids["red"]))), load_picture=load, store=store)
    assert ground(Other(), rgb, Query("red"), load_picture=load, store=store).entities[0].grounding.present


def test_the_answer_is_plain_json(library):
    import json

    answer = json.loads(json.dumps(library.ask("[red] -[blue]", top_k=2).to_json()))
    assert (answer["query"], answer["path"], len(answer["hits"])) == ("[red] -[blue]", "exact", 2)
    hit = answer["hits"][0]
    assert set(hit) == {"rank", "photo_id", "path", "taken_at", "camera", "score", "relevance", "stack", "entities"}
    assert [entity["negative"] for entity in hit["entities"]] == [False, True]
    assert hit["entities"][0]["regions"][0]["mask"]["size"] == [60, 80]


@pytest.mark.parametrize("query", ["red on white", "[photo:2] [region:4/1] -[green]"])
def test_pages_put_together_are_the_whole_answer(library, query):
    whole = library.ask(query, top_k=9)
    pages = [library.ask(query, top_k=4, skip=skip) for skip in (0, 4, 8, 12)]
    assert [len(page) for page in pages] == [4, 4, 1, 0]
    hits = [hit for page in pages for hit in page]
    assert [(hit.rank, hit.photo.id) for hit in hits] == [(hit.rank, hit.photo.id) for hit in whole]
    assert [(hit.score, hit.relevance) for hit in hits] == [
        pytest.approx((hit.score, hit.relevance), abs=1e-5) for hit in whole
    ]


def test_named_regions_are_the_stored_ones_without_masks(library):
    stored, named = (library.ask("[red] [blue] -[green]", ground=depth) for depth in ("stored", "named"))
    for one, other in zip(stored, named, strict=True):
        for entity, bare in zip(one.entities, other.entities, strict=True):
            assert [(r.region_id, r.score, r.box) for r in entity.regions] == [
                (r.region_id, r.score, r.box) for r in bare.regions
            ]
            assert all(region.rle.counts == "" for region in bare.regions)
            assert (entity.score, entity.grounding) == (bare.score, bare.grounding)


def test_a_negative_lowers_photos_and_not_whether_the_library_holds_what_is_wanted(library):
    plain, without = library.ask("[red]"), library.ask("[red] -[green]^20")
    assert {hit.photo.id for hit in without if without.meant(hit)} <= {
        hit.photo.id for hit in plain if plain.meant(hit)
    }
    assert without.cutoff == pytest.approx(plain.cutoff)
