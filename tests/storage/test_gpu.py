"""Codes on devices. No GPU is here: torch's own device `cpu`, which really computes, stands in the place of each card,
and FAISS' flat index on the processor in that of the index on all cards.
"""

import logging

import faiss
import numpy as np
import pytest

from interleave_index.geometry import unit
from interleave_index.storage import gpu
from interleave_index.storage.recipes import Recipe, new_index
from interleave_index.storage.segment import Segment

NONE = np.empty(0, np.int64)


@pytest.fixture
def cards(monkeypatch):
    """Two devices, used from the first row on."""
    monkeypatch.setattr(gpu, "devices", lambda: ("cpu", "cpu"))
    monkeypatch.setattr(gpu, "WORTH_ROWS", 1)


@pytest.fixture
def regions():
    """Regions of 60 photos, 1 to 8 each; those of photo 7 are very many."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 60)
    counts[7] = 90
    ids = np.concatenate([photo * 256 + np.arange(count) for photo, count in enumerate(counts, 1)])
    return Segment.of(ids, unit(rng.standard_normal((len(ids), 24))).astype(np.float16), regions=True)


def brute(segment, queries, photos):
    """Best product of each of these photos."""
    vectors = segment.codes.view("<f2").astype(np.float32)
    owners = segment.ids // 256
    return np.stack([(vectors[owners == photo] @ queries.T).max(0) for photo in photos])


def filled(segment):
    segment._on_gpu.wait()
    assert segment._on_gpu.is_filled
    return segment


def asked(count, seed=1):
    return unit(np.random.default_rng(seed).standard_normal((count, 24))).astype(np.float32)


def test_every_photo_is_scored_on_the_cards_as_by_brute_force(cards, regions):
    queries = asked(5)
    ids, best = filled(regions).best(queries, regions.select(None, NONE))
    assert ids.tolist() == list(range(1, 61))
    np.testing.assert_allclose(best, brute(regions, queries, ids), atol=1e-6)


def test_filters_and_removals_hold_on_the_cards(cards, regions, monkeypatch):
    queries, allowed, dead = asked(2), np.arange(1, 50), np.array([3, 8])
    chosen = filled(regions).select(allowed, dead)
    monkeypatch.setattr(Segment, "scan", None)  # the processor scores nothing
    ids, best = regions.best(queries, chosen)
    assert ids.tolist() == [photo for photo in range(1, 50) if photo not in (3, 8)]
    np.testing.assert_allclose(best, brute(regions, queries, ids), atol=1e-6)


def test_the_nearest_photos_of_a_batch_come_from_the_cards(cards, regions, monkeypatch):
    queries = asked(3)
    monkeypatch.setattr(filled(regions), "index", None)  # FAISS is not asked
    truth = brute(regions, queries, range(1, 61))
    for near, scores in zip(regions.nearest_photos(queries, 10, regions.select(None, NONE)), truth.T, strict=True):
        assert near.photo_ids.tolist() == (np.argsort(-scores)[:10] + 1).tolist()


def test_lists_are_left_alone_where_the_cards_hold_the_codes(cards, monkeypatch):
    rng = np.random.default_rng(2)
    vectors = unit(rng.standard_normal((2000, 24))).astype(np.float16)
    recipe = Recipe("IVF16,PQ12x4fs,Refine(SQfp16)", 16)
    index = new_index(recipe, 24, vectors.astype(np.float32))
    index.add(vectors.astype(np.float32))
    segment = filled(Segment(np.arange(2000), index, recipe, regions=False))
    queries, everything = asked(2), segment.select(None, NONE)
    for scores in (segment.best(queries, everything)[1], segment.rough(queries, everything)[1]):
        np.testing.assert_allclose(scores, vectors.astype(np.float32) @ queries.T, atol=1e-6)


def test_the_processor_answers_while_the_cards_fill(cards, regions, monkeypatch):
    monkeypatch.setattr(gpu.DeviceCodes, "_fill", lambda *_: None)
    queries = asked(2)
    ids, best = regions.best(queries, regions.select(None, NONE))
    assert not regions._is_on_gpu
    np.testing.assert_allclose(best, brute(regions, queries, ids), atol=1e-6)


@pytest.mark.parametrize("later", [False, True])
def test_a_card_without_room_is_told_in_one_line_and_the_processor_answers(cards, regions, monkeypatch, caplog, later):
    def full(*_):
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2.00 GiB")

    if later:
        filled(regions)
    monkeypatch.setattr(gpu._Part, "best" if later else "__init__", full)
    queries = asked(2)
    with caplog.at_level(logging.WARNING):
        ids, best = regions.best(queries, regions.select(None, NONE))
        regions._on_gpu.wait()
        regions.best(queries, regions.select(None, NONE))
    np.testing.assert_allclose(best, brute(regions, queries, ids), atol=1e-6)
    assert len(caplog.messages) == 1 and "out of memory. Tried" in caplog.text and not regions._is_on_gpu


def test_small_segments_and_machines_without_cards_are_left_to_the_processor(regions, monkeypatch):
    assert regions._on_gpu is None
    monkeypatch.setattr(gpu, "WORTH_ROWS", 1)
    assert Segment(regions.ids, regions.index, Recipe(), regions=True)._on_gpu is None


def test_lists_are_trained_with_the_cards_where_there_are_some(monkeypatch):
    made = []

    def on_all_gpus(index):  # a stand-in that assigns on the processor
        made.append(index)
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", on_all_gpus)
    vectors = asked(600)
    index = new_index(Recipe("IVF16,PQ12x4fs,Refine(SQfp16)", 16), 24, vectors)
    assert len(made) == 1 and made[0].ntotal == 16  # the centres were in it
    index.add(vectors)
    assert (index.search(vectors[:50], 1)[1][:, 0] == np.arange(50)).mean() > 0.9
