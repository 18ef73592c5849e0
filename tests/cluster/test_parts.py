"""A library in parts answers as one machine does. Here the parts are in this process, without Ray."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interleave_index.cluster import partition
from interleave_index.cluster.partition import Partition
from interleave_index.cluster.scatter import Scattered
from interleave_index.cluster.sharing import Added, digest, share
from interleave_index.config import Config
from interleave_index.geometry import unit
from interleave_index.grammar import Query
from interleave_index.query import engine
from interleave_index.query.leading import leading, merged
from interleave_index.query.score import Scores
from interleave_index.records import Filters, Not, Partial, PhotoFacts, PhotoRef, RegionRef, Space
from interleave_index.service import Index
from interleave_index.storage.store import Store
from interleave_index.storage.tables import EncodingRow
from interleave_index.web.answers import Page, page_json
from interleave_index.web.local_records import answer_of, plain
from interleave_index.web.searches import Search
from interleave_index.web.shapes import SearchAnswer

from ..damage import turn_over

D = 16
WORDS = ("red", "[red] and [blue] -[yellow]", "[blue]", "[photo:2]", "[region:1/0]", "disc_03")


class HereParts:
    """Parts of a catalog in this process, of which some may be silent."""

    def __init__(self, catalog, number, folder):
        self.count, self.silent = number, set()
        self.asked = []
        self.all = [Partition(catalog, part, number, folder / f"part-{part}") for part in range(number)]

    def ask(self, questions):
        self.asked.append(sorted(questions))
        return {n: self.all[n].ask(*question) for n, question in questions.items() if n not in self.silent}

    def library(self, store, space_id):
        return Scattered(store, space_id, self)

    def close(self):
        for part in self.all:
            part.close()


@pytest.fixture
def parted(toy_index, tmp_path):
    """The toy index, once as one machine and once in three parts."""
    parts = HereParts(toy_index.name, 3, tmp_path / "parts")
    yield toy_index, parts
    parts.close()


@pytest.fixture(scope="module")
def random_parts(tmp_path_factory):
    """700 photos with 0 to 6 regions in random directions, some of them equal, in one store and in three parts."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("random")
    with Store.open(folder / "whole", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        add(store, space_id, rng, range(600))
        store.optimize(space_id)
        add(store, space_id, rng, range(600, 700))
        parts = HereParts(store.name, 3, folder)
        yield store, parts
        parts.close()


def make_vectors(rng, *shape):
    return unit(rng.standard_normal(shape).astype(np.float32))


def add(store, space_id, rng, numbers):
    facts = [PhotoFacts(hashlib.sha256(str(n).encode()).hexdigest(), 100, 80, "PNG") for n in numbers]
    counts = rng.integers(0, 7, len(facts))
    image, regions = make_vectors(rng, len(facts), D), [make_vectors(rng, int(n), D) for n in counts]
    for twin in range(0, len(facts) - 60, 50):  # equal photos, in different parts, must tie
        image[twin + 40], regions[twin + 40] = image[twin], regions[twin]
    counts = [len(rows) for rows in regions]
    boxes = [np.tile(np.array([0, 0, 9, 9], np.float32), (n, 1)) for n in counts]
    single = [np.full(n, 0.5, np.float32) for n in counts]
    return store.write_encodings(space_id, facts, image, regions, boxes, single, single)


def searched_file(part):
    return part._held[1].indexes.image.tiers[-1].info.file


def no_picture(source):
    raise AssertionError(source)


def no_model():
    raise AssertionError("no model is needed")


def stored_queries(store, number, seed=1):
    """Queries of stored photos and regions, of every form."""
    rng = np.random.default_rng(seed)
    ids = store.encoded(1)
    block = store.vectors(1, ids)
    with_regions = ids[np.diff(block.offsets) > 0]
    made = []
    for kind in range(number):
        photo, other = (PhotoRef(int(one)) for one in rng.choice(ids, 2))
        first, second, third = (RegionRef(int(one), 0) for one in rng.choice(with_regions, 3))
        forms = ((photo,), (first,), (photo, second), (first, second, Not(third)), (photo, Not(other)))
        made.append(Query(*forms[kind % len(forms)]))
    return made


def ask(store, query, library=None, **options):
    more = {} if library is None else {"library": library}
    return engine.search(store, no_model, query, load_picture=no_picture, **more, **options)


# --- sharing and merging, pure ----------------------------------------------------------------


@given(st.integers(1, 5), st.integers(1, 60), st.integers(1, 70), st.randoms(use_true_random=False), st.data())
@settings(max_examples=150, deadline=None)
def test_the_best_of_all_parts_are_the_best_of_the_whole(parts, photos, wanted, chance, data):
    rng = np.random.default_rng(chance.getrandbits(32))
    ids = np.sort(rng.choice(np.arange(1, 1000), photos, replace=False))
    # few different values, so that ties are the rule
    total, wants = rng.integers(0, 4, (2, photos)).astype(np.float32) / 4
    evidence, against = (rng.integers(0, 3, (photos, 2)).astype(np.float32) for _ in range(2))
    scores = Scores(total, wants, evidence, against)
    own = data.draw(st.sampled_from([None, int(ids[0]), 5000]))
    whole = leading(ids, scores, wanted, own)
    shares = [np.flatnonzero(ids % parts == number) for number in range(parts)]
    found = merged([leading(ids[rows], scores.rows(rows), wanted, own) for rows in shares], wanted)
    assert found.looked_at == whole.looked_at == photos
    assert found.photo_ids.tolist() == whole.photo_ids.tolist()
    assert found.totals.tolist() == whole.totals.tolist()
    for one, other in zip(found.leaders, whole.leaders, strict=True):
        assert one.photo_ids.tolist() == other.photo_ids.tolist()
    if own in ids:
        assert found.photo_ids[0] == own and own not in found.leaders[0].photo_ids


def test_every_photo_is_in_one_part_and_digests_tell_lists_apart():
    ids = np.arange(1, 500)
    shares = [share(ids, number, 4) for number in range(4)]
    assert sorted(np.concatenate(shares).tolist()) == ids.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len({digest(own) for own in [*shares, ids, ids[:-1]]}) == 6


def test_what_texts_add_travels_to_the_photos_that_get_something():
    added = Added.of(np.arange(1, 7), np.array([0, 2, 0, 4, 5, 0], np.float32))
    assert added.share(1, 3).photo_ids.tolist() == [4] and added.share(2, 3).photo_ids.tolist() == [2, 5]
    assert added.to(np.array([5, 1, 2, 9])).tolist() == [5, 0, 2, 0]
    assert Added.of(np.array([3]), np.zeros(1, np.float32)).to(np.array([3])).tolist() == [0]


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "ann"])
@pytest.mark.parametrize("top_k, skip", [(10, 0), (3, 40), (0, 0)])
def test_an_answer_of_parts_is_that_of_one_machine_to_the_last_bit(random_parts, mode, top_k, skip):
    store, parts = random_parts
    for query in stored_queries(store, 5):
        alone = ask(store, query, mode=mode, top_k=top_k, skip=skip)
        together = ask(store, query, parts.library, mode=mode, top_k=top_k, skip=skip)
        assert together == alone, str(query)
        assert [hit.to_json() for hit in together] == [hit.to_json() for hit in alone]


def test_the_answer_does_not_depend_on_the_number_of_parts(random_parts, tmp_path):
    store, three = random_parts
    seven = HereParts(store.name, 7, tmp_path)
    queries = stored_queries(store, 5, seed=9)
    assert [ask(store, one, seven.library, mode="exact") for one in queries] == [
        ask(store, one, three.library, mode="exact") for one in queries
    ]
    seven.close()


@pytest.mark.parametrize("mode", ["auto", "exact", "ann"])
@pytest.mark.parametrize("query", WORDS)
def test_words_texts_and_notes_come_out_as_on_one_machine(parted, query, mode):
    index, parts = parted
    alone = index.search(query, mode=mode)
    index.search_through(parts.library)
    assert index.search(query, mode=mode).to_json() == alone.to_json()
    assert parts.asked, "the parts were asked"
    assert index.search_many([query], mode=mode)[0].to_json() == alone.to_json()


def test_what_is_left_out_or_filtered_is_so_in_every_part(random_parts):
    store, parts = random_parts
    query, left_out = stored_queries(store, 2)[1], range(1, 700, 2)
    together = ask(store, query, parts.library, mode="exact", left_out=left_out)
    assert together == ask(store, query, mode="exact", left_out=left_out)
    assert all(hit.photo.id % 2 == 0 for hit in together)


# --- change -----------------------------------------------------------------------------------


def test_parts_follow_the_catalog_at_the_next_question(random_parts, tmp_path):
    _, _ = random_parts
    rng = np.random.default_rng(5)
    with Store.open(tmp_path / "growing", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        ids = add(store, space_id, rng, range(40))
        parts = HereParts(store.name, 3, tmp_path)
        query = Query(PhotoRef(ids[3]))
        assert ask(store, query, parts.library) == ask(store, query)
        more = add(store, space_id, rng, range(40, 100))
        store.forget(ids[10:20])
        assert ask(store, Query(PhotoRef(more[5])), parts.library) == ask(store, Query(PhotoRef(more[5])))
        found = ask(store, query, parts.library, top_k=200)
        assert found == ask(store, query, top_k=200)
        assert not {hit.photo.id for hit in found} & set(ids[10:20])
        parts.close()
        again = HereParts(store.name, 3, tmp_path)  # what a process before took in is known to the next one
        before = [len(part._store.encoded(1)) for part in again.all]
        assert sum(before) == 90
        assert ask(store, query, again.library, top_k=200) == found
        again.close()


@pytest.mark.parametrize("taken_in", [True, False])
def test_a_photo_whose_stored_vectors_are_damaged_is_left_out_by_parts_too(tmp_path, taken_in):
    rng = np.random.default_rng(5)
    with Store.open(tmp_path / "whole", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        ids = add(store, space_id, rng, range(40))
        parts = HereParts(store.name, 3, tmp_path)
        query = Query(PhotoRef(ids[3]))
        if taken_in:
            ask(store, query, parts.library)
        turn_over(store, EncodingRow, "image", at=3, photo_id=ids[7], space_id=space_id)
        found = ask(store, query, parts.library, top_k=60)
        assert sorted(hit.photo.id for hit in found) == [number for number in ids if number != ids[7]]
        again = ask(store, query, parts.library, top_k=60)  # what a part met is in the catalog by now
        assert [hit.photo for hit in again] == [hit.photo for hit in found]
        assert any(f"(photo {ids[7]})" in note for note in again.notes)
        assert store.status()["damaged"] == (0 if taken_in else 1)
        parts.close()


def test_answers_go_on_while_files_are_made_and_put_in_place(random_parts, tmp_path):
    store, _ = random_parts
    parts = HereParts(store.name, 2, tmp_path)
    for part in parts.all:
        part.follow()
    queries = stored_queries(store, 4)
    expected = [ask(store, query, mode="exact") for query in queries]
    stop, wrong, answered, asked, seen = threading.Event(), [], [], count(), count()

    def keep_asking():
        while not stop.is_set():
            n = next(asked) % len(queries)
            if ask(store, queries[n], parts.library, mode="exact") != expected[n]:
                wrong.append(n)
            answered.append(n)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    files = {searched_file(part) for part in parts.all}
    while next(seen) < 2 or len(answered) < 6:
        for part in parts.all:
            part._store.optimize(1)
            part.follow()
            files.add(searched_file(part))
    stop.set()
    asking.join()
    assert not wrong and len(files) >= 6, "each part searched its new file each time"
    parts.close()


def test_photos_that_a_part_cannot_take_in_yet_are_told_of(tmp_path, monkeypatch):
    rng = np.random.default_rng(7)
    monkeypatch.setattr(partition, "PATIENCE", 0.01)
    with Store.open(tmp_path / "busy", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        ids = add(store, space_id, rng, range(30))
        parts = HereParts(store.name, 2, tmp_path)
        before = ask(store, Query(PhotoRef(ids[0])), parts.library, mode="exact", top_k=50)
        assert len(before) == 30
        add(store, space_id, rng, range(30, 40))
        with parts.all[0]._writing:  # as while new files are made
            found = ask(store, Query(PhotoRef(ids[0])), parts.library, mode="exact", top_k=50)
        assert len(found) == 35 and found.notes[0] == "5 photos came just now and will be found in a moment"
        after = ask(store, Query(PhotoRef(ids[0])), parts.library, mode="exact", top_k=50)
        assert len(after) == 40 and after.notes == before.notes
        parts.close()


def test_a_part_that_is_ahead_answers_about_the_photos_that_are_asked_for(random_parts, tmp_path):
    rng = np.random.default_rng(6)
    with Store.open(tmp_path / "ahead", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        ids = add(store, space_id, rng, range(30))
        parts = HereParts(store.name, 2, tmp_path)
        with store.one_moment():
            before = ask(store, Query(PhotoRef(ids[0])), top_k=50)
            with Store.open(store.name) as other:
                add(other, space_id, rng, range(30, 60))
            for part in parts.all:
                part.follow()
            assert ask(store, Query(PhotoRef(ids[0])), parts.library, top_k=50) == before
        assert len(ask(store, Query(PhotoRef(ids[0])), parts.library, top_k=100)) == 60
        parts.close()


# --- loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["exact", "ann"])
def test_an_answer_without_a_part_is_marked_and_holds_the_photos_of_the_others(random_parts, mode):
    store, parts = random_parts
    query = stored_queries(store, 2)[1]
    whole = ask(store, query, mode="exact", top_k=700)
    parts.silent = {1}
    try:
        found = ask(store, query, parts.library, mode=mode, top_k=20)
        assert found.partial == Partial(3, (1,))
        assert found.to_json()["partial"] == {"partitions": 3, "lost": [1]}
        expected = [hit.photo.id for hit in whole if hit.photo.id % 3 != 1][:20]
        own = query.parts[0].photo_id  # the photo of the region stands first, if it is there
        assert [hit.photo.id for hit in found if hit.photo.id != own] == [one for one in expected if one != own][:20]
        parts.silent = {0, 1, 2}
        nothing = ask(store, query, parts.library, mode=mode)
        assert not nothing.hits and nothing.partial == Partial(3, (0, 1, 2))
    finally:
        parts.silent = set()
    assert ask(store, query, parts.library, mode=mode).partial is None


def test_a_part_that_falls_silent_within_a_query_leaves_no_half_scored_photos(random_parts):
    store, parts = random_parts
    query = stored_queries(store, 2)[1]
    whole = {hit.photo.id: hit.score for hit in ask(store, query, mode="exact", top_k=700)}

    class Failing:
        count = 3

        def __init__(self, after):
            self.left = after

        def ask(self, questions):
            self.left -= 1
            return parts.ask({n: one for n, one in questions.items() if self.left > 0 or n != 2})

    for after in range(1, 5):
        failing = Failing(after)
        found = ask(store, query, lambda store, space_id, f=failing: Scattered(store, space_id, f), mode="ann")
        assert found.hits and all(hit.score == whole[hit.photo.id] for hit in found)
        assert found.partial is None or all(hit.photo.id % 3 != 2 for hit in found)


def test_files_of_another_kind_than_was_said_are_asked_again(random_parts, monkeypatch):
    store, parts = random_parts
    query = stored_queries(store, 2)[1]
    expected, first = ask(store, query, mode="ann"), [True]
    answer = Partition._of_index

    def other_files(self, held, asked, allowed):
        if first:
            first.clear()
            return answer(self, held, replace(asked, exact=not asked.exact), allowed)
        return answer(self, held, asked, allowed)

    monkeypatch.setattr(Partition, "_of_index", other_files)
    assert ask(store, query, parts.library, mode="ann") == expected and not first


def test_a_partial_answer_is_one_by_rest_and_by_the_local_socket(random_parts):
    store, parts = random_parts
    query = stored_queries(store, 1)[0]
    parts.silent = {2}
    try:
        answer = ask(store, query, parts.library)
    finally:
        parts.silent = set()
    assert answer.notes[0].startswith("partial: 1 part of 3 did not answer")
    assert answer_of(json.loads(json.dumps(asdict(answer), default=plain))) == answer
    page = page_json(search_with(answer), Page([], {}, None), Index(store, Config()))
    found = SearchAnswer.model_validate(page).partial
    assert found is not None and found.lost == [2]
    whole = page_json(search_with(ask(store, query, parts.library)), Page([], {}, None), Index(store, Config()))
    assert SearchAnswer.model_validate(whole).partial is None


def search_with(answer):
    """A search of the page that has this answer."""
    made = Search("s", Query.parse("[photo:1]"), Filters(), "stored", "auto", False, set(), 0.0)
    made.answer = answer
    return made
