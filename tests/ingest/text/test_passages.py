"""Blocks of a page become passages: words with their pictures, each in one passage, none too long."""

from __future__ import annotations

import re

import numpy as np
import pytest

from interleave_index.ingest.text.passages import MAX_PICTURES, MAX_TOKENS, Block, BlockKind, cut, cut_text, tokens
from interleave_index.records.texts import PICTURE_MARK as P


def text(words, *pictures):
    return Block("text", words, pictures)


def heading(words):
    return Block("heading", words)


def caption(words):
    return Block("caption", words)


def item(words, *pictures, group=1):
    return Block("item", words, pictures, group=group)


def alone(*pictures, words=""):
    return Block("text", " ".join([P] * len(pictures)) + words, pictures, alone=True)


def passages(*blocks, title=None):
    return [(passage.text, list(passage.pictures)) for passage in cut(blocks, "/p/a.md", title=title)]


def test_a_token_is_a_short_run_of_letters_a_sign_or_a_picture():
    assert tokens("two dogs") == 2
    assert tokens("photograph") == 2  # eight letters and two
    assert tokens("犬が走る") == 4
    assert tokens(f"a, b {P}") == 4


def test_each_paragraph_is_a_passage_and_a_heading_stands_before_the_first_of_its_own():
    assert passages(heading("Rome"), text("The Forum."), text("The Tiber."), heading("Paris"), text("The Seine.")) == [
        ("Rome. The Forum.", []),
        ("The Tiber.", []),
        ("Paris. The Seine.", []),
    ]


def test_headings_without_words_between_stand_together_and_a_last_one_for_itself():
    assert passages(heading("Rome"), heading("Day one"), text("Hot."), heading("Day two?")) == [
        ("Rome. Day one. Hot.", []),
        ("Day two?", []),
    ]


def test_a_heading_as_long_as_a_paragraph_is_one():
    long = " ".join(["word"] * 40)
    assert passages(heading("Short"), heading(long), text("Words.")) == [("Short", []), (long, []), ("Words.", [])]


def test_pictures_stand_in_the_passage_of_the_words_around_them():
    assert passages(text(f"A {P} b {P}", "/1.jpg", "/2.jpg")) == [(f"A {P} b {P}", ["/1.jpg", "/2.jpg"])]


def test_a_picture_without_words_joins_its_caption():
    assert passages(text("Before."), alone("/1.jpg"), caption("The Forum"), text("After.")) == [
        ("Before.", []),
        (f"{P} The Forum", ["/1.jpg"]),
        ("After.", []),
    ]


def test_a_caption_that_repeats_the_alternative_text_says_it_once():
    assert passages(alone("/1.jpg", words=" (The Forum)"), caption("The Forum")) == [(f"{P} The Forum", ["/1.jpg"])]


def test_a_picture_without_words_and_caption_joins_the_paragraph_before_it():
    assert passages(text("Before."), alone("/1.jpg"), alone("/2.jpg"), text("After.")) == [
        (f"Before. {P} {P}", ["/1.jpg", "/2.jpg"]),
        ("After.", []),
    ]


def test_a_picture_before_all_words_of_its_section_joins_those_after_it():
    assert passages(text("Before."), heading("Rome"), alone("/1.jpg"), text("After.")) == [
        ("Before.", []),
        (f"Rome. {P} After.", ["/1.jpg"]),
    ]
    assert passages(text("Before."), Block("rule"), alone("/1.jpg"), text("After.")) == [
        ("Before.", []),
        (f"{P} After.", ["/1.jpg"]),
    ]


def test_pictures_without_any_words_near_stand_with_their_heading_else_with_the_title_else_nowhere():
    assert passages(heading("Rome"), alone("/1.jpg")) == [(f"Rome. {P}", ["/1.jpg"])]
    assert passages(alone("/1.jpg"), title="Holidays") == [(f"Holidays. {P}", ["/1.jpg"])]
    assert passages(alone("/1.jpg")) == []


def test_a_heading_that_is_said_again_is_said_without_its_own_picture():
    got = passages(Block("heading", f"Old {P} Rome", ("/0.jpg",)), text("Words."), Block("rule"), alone("/1.jpg"))
    assert got == [(f"Old {P} Rome. Words.", ["/0.jpg"]), (f"Old Rome. {P}", ["/1.jpg"])]


def test_pictures_do_not_join_a_paragraph_beyond_its_limits():
    full = " ".join(["word"] * MAX_TOKENS)
    assert passages(text(full), alone("/1.jpg"), text("After.")) == [(full, []), (f"{P} After.", ["/1.jpg"])]
    many = [f"/{number}.jpg" for number in range(2 * MAX_PICTURES + 1)]
    got = passages(heading("Rome"), alone(*many))
    assert [len(pictures) for _, pictures in got] == [MAX_PICTURES, MAX_PICTURES, 1]
    assert all(words.startswith("Rome. ") for words, _ in got)
    assert [picture for _, pictures in got for picture in pictures] == many


def test_items_of_one_list_stand_together_as_far_as_they_fit():
    assert passages(item("Eggs"), item("Milk."), item(f"{P} Bread", "/1.jpg"), item("Tom", group=2)) == [
        (f"Eggs; Milk. {P} Bread", ["/1.jpg"]),
        ("Tom", []),
    ]
    got = passages(*[item("ten words " * 10) for _ in range(7)])
    assert all(tokens(words) <= MAX_TOKENS for words, _ in got) and len(got) == 4


def test_a_long_paragraph_is_cut_at_the_ends_of_sentences_without_overlap():
    sentence = " ".join(["word"] * 24) + "."
    got = [words for words, _ in passages(heading("Rome"), text(" ".join([sentence] * 5)))]
    assert got == [f"Rome. {sentence} {sentence}", f"{sentence} {sentence}", sentence]


def test_a_long_sentence_is_cut_between_words_and_a_long_word_anywhere():
    words = [f"word{number}" for number in range(150)]
    got = [piece.text for piece in cut_text(" ".join(words))]
    assert [len(piece.split()) for piece in got] == [60, 60, 30]
    assert " ".join(got).split() == words
    assert [len(piece.text) for piece in cut_text("x" * 1000)] == [480, 480, 40]
    assert [len(piece.text) for piece in cut_text("犬" * 100)] == [60, 40]


def test_sentences_of_chinese_and_japanese_end_without_a_blank():
    got = [piece.text for piece in cut_text(("犬" * 39 + "。") * 2)]
    assert got == ["犬" * 39 + "。"] * 2


def test_a_text_without_a_letter_or_digit_is_no_passage():
    assert cut_text("... !") == ()
    assert passages(text("***"), heading("---")) == []


KINDS: tuple[BlockKind, ...] = ("heading", "text", "text", "item", "caption")


@pytest.mark.parametrize("seed", range(20))
def test_every_word_and_picture_is_in_one_passage_in_order_and_none_is_too_long(seed):
    random = np.random.default_rng(seed)
    blocks, words, pictures = [heading("start")], ["start"], []
    for number in range(40):
        kind = KINDS[random.integers(len(KINDS))]
        if random.random() < 0.2:
            names = [f"/{number}-{at}.jpg" for at in range(random.integers(1, 12))]
            blocks.append(alone(*names))
            pictures += names
            continue
        length = int(random.integers(1, 30 if kind == "heading" else 200))
        said = [f"w{number}x{at}" + "." * int(random.random() < 0.1) for at in range(length)]
        shown = [f"/{number}.jpg"] if kind == "text" and random.random() < 0.5 else []
        blocks.append(Block(kind, " ".join([*said, *[P] * len(shown)]), tuple(shown)))
        words += said
        pictures += shown
    got = cut(blocks, "/p/a.md")
    assert [picture for passage in got for picture in passage.pictures] == pictures
    for passage in got:
        assert passage.text.count(P) == len(passage.pictures) <= MAX_PICTURES
        assert tokens(passage.text) <= MAX_TOKENS + 1  # a full stop after a heading
    said = [word.strip(".;") for word in " ".join(passage.text.replace(P, "") for passage in got).split()]
    first = list(dict.fromkeys(word for word in said if re.search(r"\w", word)))
    assert first == [word.strip(".") for word in words]
