"""The second stage: order, relevance and cut-off of what a reranker looked at, and of what it did not."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.config import QuerySettings
from interleave_index.query import rerank
from interleave_index.query.pixels import PixelCache
from interleave_index.query.rerank import RememberingReranker, SecondStage
from tests.query.conftest import scene


class ByColour:
    """Says yes to what shows a colour; remembers what it was shown.

    Args:
        chances: of yes by the name of the colour that fills the middle of a photo; others have 0.1.
    """

    name, at_a_time = "by-colour", 2

    def __init__(self, chances, *, reads_pictures=True, longest=1000):
        self.chances, self.reads_pictures, self.longest = chances, reads_pictures, longest
        self.queries, self.candidates, self.batches = [], [], []

    def prepare(self, picture):
        return picture

    def beyond_context(self, text):
        return text[self.longest :]

    def scores(self, query, candidates):
        from interleave_index.interface.toy import COLOURS

        self.queries.append(query)
        self.candidates += candidates
        self.batches.append(len(candidates))
        names = {tuple(colour): name for name, colour in COLOURS.items()}
        middles = [names.get(tuple(photo[photo.shape[0] // 2, photo.shape[1] // 2]), "") for photo, *_ in candidates]
        return np.array([self.chances.get(name, 0.1) for name in middles], np.float32)


def stage(reranker, count, progress=None):
    return SecondStage(RememberingReranker(lambda: reranker), count, progress)


@pytest.fixture
def five(empty):
    """Five photos of one disc each, larger and larger reds last; their files are on the disk."""
    for name, radius in (("red", 26), ("blue", 25), ("green", 24), ("yellow", 23), ("purple", 22)):
        empty.add(name, scene("white", **{name: (40, 30, radius)}), save=True)
    return empty


def check_one_rule(answer):
    """Relevance never rises on the way down, so that what counts stands before what does not."""
    relevances = [hit.relevance for hit in answer]
    assert relevances == sorted(relevances, reverse=True)
    meant = [answer.meant(hit) for hit in answer]
    assert meant == sorted(meant, reverse=True)


def test_the_reranker_orders_what_it_looked_at_and_its_chance_is_the_relevance(five):
    asked = ByColour({"blue": 0.9, "green": 0.7, "red": 0.2})
    answer = five.ask("[red]", top_k=5, second_stage=stage(asked, 5))
    before = five.names(five.ask("[red]", top_k=5))
    assert before[0] == "red" and five.names(answer)[:3] == ["blue", "green", "red"]
    assert [round(hit.relevance, 6) for hit in answer] == [0.9, 0.7, 0.2, 0.1, 0.1]
    assert answer.cutoff == 0.5 and answer.meant_count == 2
    check_one_rule(answer)
    assert [hit.rank for hit in answer] == [1, 2, 3, 4, 5]
    for hit, name in zip(answer, five.names(answer), strict=True):
        assert hit.reranked is not None and hit.reranked.was == before.index(name) + 1
        assert hit.reranked.score == pytest.approx(hit.relevance)
        (entity,) = hit.entities  # the only part of a query is there exactly if the photo counts
        assert entity.grounding.present == answer.meant(hit)
    assert answer.reranking is not None and answer.reranking.photos == 5 and answer.reranking.seconds > 0
    assert any(note.startswith("the best 5 photos were reranked by by-colour in ") for note in answer.notes)
    values = answer.to_json()
    assert values["rerank"]["model"] == "by-colour" and values["hits"][0]["rerank"]["was"] > 1
    assert "rerank" not in five.ask("[red]").to_json()


def test_what_was_not_looked_at_stands_behind_and_is_no_likelier(five):
    first = five.ask("[red]", top_k=5)
    for chances in ({"red": 0.9}, {"red": 0.3}, {"red": 0.99, "blue": 0.98, "green": 0.97}):
        answer = five.ask("[red]", top_k=5, second_stage=stage(ByColour(chances), 2))
        assert {hit.photo.id for hit in answer[:2]} == {hit.photo.id for hit in first[:2]}
        assert [hit.photo.id for hit in answer[2:]] == [hit.photo.id for hit in first[2:]]
        assert [hit.reranked is None for hit in answer] == [False, False, True, True, True]
        check_one_rule(answer)


def test_photos_count_as_before_where_the_reranker_agrees(five):
    first = five.ask("[red] or [blue]", top_k=5)
    answer = five.ask("[red] or [blue]", top_k=5, second_stage=stage(ByColour({"red": 0.99, "blue": 0.98}), 1))
    assert [first.meant(hit) for hit in first][1:] == [answer.meant(hit) for hit in answer][1:]


def test_a_cut_off_that_the_user_set_is_the_cut_off(five):
    settings = QuerySettings(cutoff=0.8)
    answer = five.ask("[red]", top_k=5, settings=settings, second_stage=stage(ByColour({"red": 0.9, "blue": 0.7}), 2))
    assert answer.cutoff == 0.8 and answer.meant_count == 1
    check_one_rule(answer)


def test_pages_go_on_where_the_one_before_ended_and_nothing_is_looked_at_twice(five):
    asked = ByColour({"blue": 0.9, "green": 0.7})
    second = stage(asked, 3)
    whole = five.ask("[red]", top_k=5, second_stage=second)
    looked = len(asked.candidates)
    pages = [five.ask("[red]", top_k=2, skip=skip, second_stage=second) for skip in (0, 2, 4)]
    assert [hit.photo.id for page in pages for hit in page] == [hit.photo.id for hit in whole]
    assert [hit.relevance for page in pages for hit in page] == [hit.relevance for hit in whole]
    assert [hit.rank for page in pages for hit in page] == [1, 2, 3, 4, 5]
    assert len(asked.candidates) == looked == 3
    five.ask("[blue]", second_stage=second)
    assert len(asked.candidates) == 6  # another query is asked anew


def test_photos_go_in_by_batches_and_progress_is_told(five):
    asked, told = ByColour({}), []
    five.ask("[red]", second_stage=stage(asked, 5, lambda done, total: told.append((done, total))))
    assert asked.batches == [2, 2, 1] and told == [(2, 5), (4, 5), (5, 5)]


def test_the_query_is_shown_whole_with_its_pictures_and_negatives_last(five, tmp_path):
    from PIL import Image

    Image.fromarray(scene(blue=(40, 30, 10))).save(tmp_path / "part.png")
    asked = ByColour({})
    five.ask(
        f"something like [image:{tmp_path}/part.png#box=30,20,50,40] with [red] -[green]", second_stage=stage(asked, 1)
    )
    words, crop, *rest = asked.queries[0]
    assert words == "something like" and rest == ["with", "red", "without", "green"]
    assert crop.shape == (24, 24, 3)  # a fifth larger than the box
    five.ask("more like [photo:1] -[photo:2]", second_stage=stage(asked, 1))
    words, picture, without, other = asked.queries[1]
    assert (words, without) == ("more like", "without")
    assert np.array_equal(picture, five.pictures["red"]) and np.array_equal(other, five.pictures["blue"])


def test_a_point_is_shown_with_what_is_around_it(five, tmp_path):
    from PIL import Image

    Image.fromarray(scene(blue=(40, 30, 10))).save(tmp_path / "part.png")
    asked = ByColour({})
    five.ask(f"[image:{tmp_path}/part.png#point=40,30]", second_stage=stage(asked, 1))
    (crop,) = asked.queries[0]
    assert 15 <= min(crop.shape[:2]) <= 25


def test_a_photo_that_is_the_query_stays_first_and_is_not_looked_at(five):
    asked = ByColour({"blue": 0.9})
    answer = five.ask("[photo:1]", top_k=5, second_stage=stage(asked, 2))
    assert answer[0].photo.id == 1 and answer[0].relevance == 1 and answer[0].reranked is None
    assert len(asked.candidates) == 2 and not any(
        np.array_equal(one[0], five.pictures["red"]) for one in asked.candidates
    )
    check_one_rule(answer)


def test_photos_without_pixels_stand_behind_and_are_told(five):
    five.file("blue").unlink()
    five.file("green").unlink()
    answer = five.ask("[blue]", top_k=5, second_stage=stage(ByColour({}), 5), cache=PixelCache())
    assert [hit.reranked is None for hit in answer] == [False] * 3 + [True] * 2
    assert five.names(answer)[3] == "blue"
    assert any(note.startswith("of 2 photos no pixels are left") for note in answer.notes)
    check_one_rule(answer)


def test_a_reranker_that_reads_words_only_is_not_shown_pictures_and_says_so(five):
    asked = ByColour({"blue": 0.9}, reads_pictures=False)
    answer = five.ask("[red] like [photo:2]", second_stage=stage(asked, 2))
    assert asked.queries == [("red", "like")]
    assert "[photo:2] cannot be shown to the reranker by-colour" in answer.notes
    answer = five.ask("[red] -[green]", second_stage=stage(asked, 2))
    assert asked.queries[-1] == ("red",) and "green cannot be shown to the reranker by-colour" in answer.notes
    first = five.ask("[photo:2]")
    answer = five.ask("[photo:2]", second_stage=stage(asked, 2))
    assert [hit.photo.id for hit in answer] == [hit.photo.id for hit in first] and answer.reranking is None
    assert answer.cutoff == first.cutoff and [hit.relevance for hit in answer] == [hit.relevance for hit in first]
    assert any("keep their order" in note for note in answer.notes)


def test_the_end_of_a_query_that_is_not_read_is_told(five):
    answer = five.ask("[red] and [blue]", second_stage=stage(ByColour({}, longest=5), 1))
    assert "the query is longer than the reranker by-colour reads; it leaves out 'nd blue'" in answer.notes


def test_an_empty_library_is_answered(empty):
    answer = empty.ask("[red]", second_stage=stage(ByColour({}), 5))
    assert not answer.hits and answer.reranking is None


def test_without_the_pixels_of_any_photo_the_first_order_stays(five):
    for name in five.ids:
        five.file(name).unlink()
    first = five.ask("[blue]")
    answer = five.ask("[blue]", second_stage=stage(ByColour({}), 3), cache=PixelCache())
    assert [hit.photo.id for hit in answer] == [hit.photo.id for hit in first] and answer.reranking is None
    assert any(note.startswith("of none of the photos pixels are left") for note in answer.notes)


def test_a_photo_that_was_taken_out_meanwhile_is_not_looked_at(five, monkeypatch):
    photos, gone = five.store.photos, five.ids["blue"]
    five.ask("[red]")
    asked = []

    def without(ids):
        asked.append(list(ids))
        found = photos(ids)
        return {photo_id: photo for photo_id, photo in found.items() if len(asked) > 1 or photo_id != gone}

    monkeypatch.setattr(five.store, "photos", without)
    looked = ByColour({})
    answer = five.ask("[red]", second_stage=stage(looked, 5))
    assert sum(looked.batches) == 4 and five.names(answer)[-1] == "blue"


def test_scores_of_pairs_are_forgotten_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(rerank, "REMEMBERED", 2)
    model = RememberingReranker(lambda: ByColour({"red": 0.9}))
    photo = scene(red=(40, 30, 20))
    model.scores(("red",), [(photo,)] * 3, [b"a", b"b", b"c"])
    assert [model.known(key) for key in (b"a", b"b", b"c")] == [None, pytest.approx(0.9), pytest.approx(0.9)]
