"""Parts that have inverted lists: answers are equal to those of one machine within the recall that is promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cluster_lists import forms
from interleave_index.geometry import unit
from interleave_index.grammar import Query
from interleave_index.query import approximate
from interleave_index.query.calibration import of_library
from interleave_index.records import PhotoFacts, PhotoRef, Space
from interleave_index.storage import calibrate, recipes
from interleave_index.storage.store import Store

from .test_parts import HereParts, ask

D, PHOTOS, PARTS, TOP = 32, 1500, 3, 10


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """1,500 photos of three regions around 40 themes, in one store and in three parts, all with inverted lists.

    60 photos came late and are in no file.
    """
    folder, rng = tmp_path_factory.mktemp("listed"), np.random.default_rng(3)
    patch = pytest.MonkeyPatch()
    patch.setattr(recipes, "FLAT_ROWS", 300)
    patch.setattr(calibrate, "WORTH", np.inf)  # lists are taken however little they save here
    patch.setattr(approximate, "FEWEST_ROUGH", 300)
    patch.setattr(approximate, "MOST_ROUGH", 300)
    with Store.open(folder / "whole", create=True) as store:
        space_id = store.ensure_space(Space("random", "0" * 64, "none", D))
        themes = unit(rng.normal(size=(40, D)).astype(np.float32))
        add(store, space_id, rng, themes, range(PHOTOS))
        kept = of_library(store.null_sample(space_id, 512))  # kept, as an ingest does
        store.save_calibration(space_id, replace(kept, stand_in=False).to_bytes())
        store.optimize(space_id)
        parts = HereParts(store.name, PARTS, folder)
        for part in parts.all:
            part.follow()
        add(store, space_id, rng, themes, range(PHOTOS, PHOTOS + 60))
        yield store, parts
        parts.close()
    patch.undo()


def add(store, space_id, rng, themes, numbers):
    facts = [PhotoFacts(f"{n:064x}", 100, 80, "PNG") for n in numbers]
    count = len(facts)

    def around(*shape):
        middle = themes[rng.integers(0, len(themes), shape)]
        return unit((middle + 0.8 * rng.normal(size=(*shape, D)) / D**0.5).astype(np.float32))

    flat = np.zeros((count, 3), np.float32)
    store.write_encodings(
        space_id, facts, around(count), around(count, 3), np.zeros((count, 3, 4), np.float32), flat, flat
    )


def joint_index(store, parts):
    """The regions of all parts, as one query asks them."""
    library = parts.library(store, 1)
    return library._indexes(library._states()).region


NAMES = tuple(forms(1, 2, 3))


def test_all_parts_have_lists(listed):
    store, parts = listed
    ask(store, Query(PhotoRef(1)), parts.library)  # they take in what came late
    for part in parts.all:
        held = part._held[1].indexes
        assert not held.image.is_exact and not held.region.is_exact
        assert len(part._held[1].photo_ids) > PHOTOS / PARTS


@pytest.mark.parametrize("name", NAMES)
def test_answers_of_parts_with_lists_keep_the_promised_recall(listed, name):
    store, parts = listed
    rng = np.random.default_rng(NAMES.index(name))
    found, wanted, scores_differ = 0, 0, 0
    for _ in range(15):
        query = forms(*(int(one) for one in rng.choice(store.encoded(1), 3, replace=False)))[name]
        best = {hit.photo.id: hit.score for hit in ask(store, query, mode="exact", top_k=TOP)}
        hits = ask(store, query, parts.library, mode="ann", top_k=TOP)
        assert hits.partial is None and len(hits) == TOP
        both = [hit for hit in hits if hit.photo.id in best]
        found, wanted = found + len(both), wanted + len(best)
        scores_differ += sum(hit.score != best[hit.photo.id] for hit in both)
    assert found >= 0.99 * wanted
    assert not scores_differ, "a photo that is found has the score of one machine to the last bit"


def test_a_photo_on_no_list_of_any_part_scores_no_more_than_the_bound(listed):
    """Each part ends its lists elsewhere: the bound of all is the highest of theirs, not the lowest."""
    store, parts = listed
    index = joint_index(store, parts)
    queries = unit(np.random.default_rng(9).normal(size=(20, D)).astype(np.float32))
    every, best = index.best(queries)
    ends = []
    for query, near in enumerate(index.nearest_photos(queries, TOP)):
        assert (np.diff(near.scores) <= 0).all() and len(set(near.photo_ids.tolist())) == len(near.photo_ids)
        of_photos = dict(zip(every.tolist(), best[:, query].tolist(), strict=True))
        assert set(near.photo_ids.tolist()) <= set(of_photos)
        singly = [part._held[1].indexes.region.nearest_photos(queries[query : query + 1], TOP)[0] for part in parts.all]
        assert near.least == pytest.approx(max(one.least for one in singly), abs=1e-6)
        ends.append({one.least for one in singly})
    assert any(len(each) > 1 for each in ends), "the lists of parts end at different scores"


def test_rough_cosines_of_parts_are_those_of_their_lists_by_ids_of_the_catalog(listed):
    store, parts = listed
    index = joint_index(store, parts)
    queries = unit(np.random.default_rng(4).normal(size=(2, D)).astype(np.float32))
    allowed = store.encoded(1)[5::7]
    ids, rough = index.rough(queries, allowed)
    same, exact = index.best(queries, allowed)
    assert ids.tolist() == same.tolist() == allowed.tolist()
    assert np.abs(rough - exact).max() > 0 and np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.5
