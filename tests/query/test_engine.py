"""Whole searches in a real store: planted answers, negatives, filters, notes, and looks at single photos."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import EmptyQuery, InputError, NotInIndex, SpaceMismatch
from interleave_index.geometry import mask_iou
from interleave_index.grammar import Query
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.query.engine import ground, search
from interleave_index.query.resolve import resolve
from interleave_index.query.score import rank, score, want
from interleave_index.query.settings import QuerySettings
from interleave_index.records import Entity, Filters, Not, PhotoFacts, PhotoRef, Picture, RegionRef, Space
from interleave_index.storage.store import Store


def pixels_of(rgb, colour):
    return (rgb == COLOURS[colour]).all(2)


# --- ranking ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "first"), [
    ("blue", "blue"), ("[purple]", "purple"), ("[red] and [blue]", "red_and_blue"),
    ("[yellow] on black", "yellow_on_black"),
])
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
    wanted = want(parts, library.interface.encode_query(parts), library.store.null_sample(library.space_id, 1000))
    totals = score(block, wanted).total
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


def test_a_negative_moves_photos_that_show_it_down(library):
    plain, without = (library.names(library.ask(query)) for query in ("[red]", "[red] -[blue]"))
    assert plain.index("red_and_blue") < plain.index("small_red")
    assert without.index("red_and_blue") > without.index("small_red")


def test_a_negative_reaches_further_with_its_weight(library):
    scores = [next(hit.score for hit in library.ask(query) if hit.photo.id == library.ids["red_and_blue"])
              for query in ("[red]", "[red] -[blue]^0.2", "[red] -[blue]^0.4")]
    assert scores[0] - scores[1] == pytest.approx((scores[0] - scores[2]) / 2, abs=2e-6) and scores[0] > scores[1]


def test_settings_are_the_dials_of_the_score(library):
    plain = library.ask("white [red]", settings=QuerySettings(entity_weight=0.0))
    caption = library.ask("white [red]", settings=QuerySettings(entity_weight=1.0))
    by_id = {hit.photo.id: hit for hit in plain}
    for hit in caption:
        assert hit.score == pytest.approx(by_id[hit.photo.id].score + hit.entities[0].score, abs=2e-6)
    assert library.ask("red", settings=QuerySettings(cutoff=0.9)).cutoff == 0.9


def test_weights_prefer_what_weighs_more(library):
    red, blue = (library.names(library.ask(query)) for query in ("[red]^9 [blue]", "[red] [blue]^9"))
    assert red.index("small_red") < red.index("blue") and blue.index("blue") < blue.index("small_red")


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
    with pytest.raises(NotInIndex):
        library.ask("[photo:999]")


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
    answer = library.ask(Query(RegionRef(library.ids["red_and_blue"], 1), PhotoRef(library.ids["red"]),
                               Not(RegionRef(library.ids["green"], 1))))
    assert library.built == 0
    assert library.names(answer)[0] in ("red", "two_reds", "red_and_blue")
    assert [entity.kind for entity in answer[0].entities] == ["region", "picture", "region"]
    assert [entity.negative for entity in answer[0].entities] == [False, False, True]


def test_a_photo_finds_itself_first(library):
    for name, photo_id in library.ids.items():
        assert library.names(library.ask(Query(PhotoRef(photo_id)), top_k=1)) == [name]


def test_the_kept_calibration_judges_references(library):
    query = Query(RegionRef(library.ids["red"], 1))
    library.store.save_calibration(library.space_id, library.interface.calibration.to_bytes())
    answer = library.ask(query)
    assert library.built == 0 and answer.notes == () and answer.cutoff == library.interface.calibration.cutoff
    relevance = dict(zip(library.names(answer), [hit.relevance for hit in answer], strict=True))
    assert relevance["red"] > 0.5 > relevance["green"]


def test_without_a_kept_calibration_a_note_says_so(library):
    assert "keeps no calibration" in library.ask(Query(PhotoRef(1))).notes[0]


def test_lost_pixels_are_noted_once(library):
    answer = library.ask(Query(PhotoRef(library.ids["purple"]), "on white"))
    assert len(answer.notes) == 1 and "stands in" in answer.notes[0]
    assert library.names(answer)[0] == "purple"


# --- relevance -------------------------------------------------------------------------------


def test_what_is_not_there_stays_under_the_cutoff(library):
    for query in ("orange", "[orange]"):
        answer = library.ask(query)
        assert max(hit.relevance for hit in answer) < answer.cutoff
    for query, name in (("purple", "purple"), ("[purple]", "purple")):
        hit = library.ask(query)[0]
        assert library.names([hit]) == [name] and hit.relevance > 0.5


def test_a_negative_lowers_the_relevance_of_what_shows_it(library):
    both = library.ids["red_and_blue"]
    plain, without = (next(hit.relevance for hit in library.ask(query) if hit.photo.id == both)
                      for query in ("[red]", "[red] -[blue]"))
    assert without < plain


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
    empty.store.write_encodings(empty.space_id, [PhotoFacts("0" * 64, 80, 60, "PNG")], encoding.image[None],
                                [np.zeros((0, 16), np.float32)], [np.zeros((0, 4), np.float32)], [none], [none])
    entity = empty.ask("[white]")[0].entities[0]
    assert (entity.grounding.source, entity.grounding.present, entity.score, entity.regions) == ("none", False, 0, ())


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
    hit = ground(library.interface, library.pictures[name], query, load_picture=load, store=library.store,
                 photo=found.photo, depth="stored")
    assert hit.photo == found.photo
    assert hit.score == pytest.approx(found.score, abs=2e-3)  # stored vectors went through half precision
    assert hit.relevance == pytest.approx(found.relevance, abs=2e-3)
    for left, right in zip(hit.entities, found.entities, strict=True):
        assert left.grounding.present == right.grounding.present
        assert [region.rle for region in left.regions] == [region.rle for region in right.regions]


def test_a_thumbnail_is_grounded_at_the_size_of_its_photo(library, load, draw):
    rgb = draw(blue=(60, 30, 14))
    photo = library.store.photo(library.add("blue aside", rgb))
    for depth in ("stored", "exact"):
        hit = ground(library.interface, rgb[::2, ::2], Query(Entity("blue")), load_picture=load, photo=photo,
                     depth=depth)
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
    assert set(hit) == {"rank", "photo_id", "path", "score", "relevance", "stack", "entities"}
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
        pytest.approx((hit.score, hit.relevance), abs=1e-5) for hit in whole]


def test_named_regions_are_the_stored_ones_without_masks(library):
    stored, named = (library.ask("[red] [blue] -[green]", ground=depth) for depth in ("stored", "named"))
    for one, other in zip(stored, named, strict=True):
        for entity, bare in zip(one.entities, other.entities, strict=True):
            assert [(r.region_id, r.score, r.box) for r in entity.regions] == [
                (r.region_id, r.score, r.box) for r in bare.regions]
            assert all(region.rle.counts == "" for region in bare.regions)
            assert (entity.score, entity.grounding) == (bare.score, bare.grounding)
