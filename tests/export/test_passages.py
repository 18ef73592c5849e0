"""The words of passages as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interleave_index.export.passages import EXCERPT, excerpt, lit_spans, pieces, spoken
from interleave_index.records.texts import PICTURE_MARK, Passage, PhraseHit, TextHit, TextMatch

PASSAGE = Passage(
    1,
    1,
    "markdown",
    "/notes/a.md",
    "A walk",
    None,
    0,
    f"A dog {PICTURE_MARK} and Ilse's IMG_2043 {PICTURE_MARK}\x1b[2J",
    ((2, 5),),
    (7,),
    (7, None),
)


def test_pictures_have_their_ids_and_nothing_that_a_terminal_obeys_is_left():
    assert pieces(PASSAGE) == [(r"A dog [photo 7] and Ilse's IMG_2043 [picture]\x1b[2J", False)]
    assert pieces(PASSAGE, [(2, 7)])[:2] == [("A ", False), ("dog [photo 7]", True)]


def test_phrases_and_words_are_lit_once_where_they_overlap():
    hit = TextHit(
        1, PASSAGE, 0.5, (PhraseHit("a dog", (2, 5), 0.6), PhraseHit("x", None, 0.0)), ("DOG", "ilse", "2043")
    )
    (spans,) = lit_spans([hit])
    assert [PASSAGE.text[slice(*span)] for span in spans] == ["dog", "Ilse", "2043"]
    (more,) = lit_spans([replace(hit, words=("do", "IMG"))])
    assert [PASSAGE.text[slice(*span)] for span in more] == ["dog", "IMG"]


def test_a_phrase_that_is_only_the_nearest_in_its_passage_is_not_lit():
    near, far = (TextHit(1, PASSAGE, 0.5, (PhraseHit("a dog", (2, 5), score),)) for score in (0.6, 0.3))
    assert lit_spans([near, far]) == [[(2, 5)], []] and lit_spans([far]) == [[(2, 5)]]
    assert lit_spans([]) == []


def test_a_match_is_told_by_its_passage_around_the_word_or_by_the_name():
    told = spoken(TextMatch(0.1, PASSAGE, ("Ilse",)))
    assert told.startswith("text: ") and "Ilse" in told
    long = replace(PASSAGE, text=f"{'many words ' * 40}of Ilse {'and more ' * 40}")
    assert "of Ilse" in spoken(TextMatch(0.1, long, ("Ilse",)))
    assert spoken(TextMatch(0.1, None, ("a\x1b", "b"))) == r"name: a\x1b, b"


@pytest.mark.parametrize("text", ["word " * 30, "x" * 200, "a " * 100 + "y" * 90, "x" * EXCERPT])
def test_an_excerpt_is_never_too_long_and_holds_its_place(text):
    for place in range(len(text)):
        found = excerpt(text, place)
        assert 0 < len(found) <= EXCERPT
        assert text[place].isspace() or text[place] in found
