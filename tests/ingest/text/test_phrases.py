"""Noun phrases of captions: what a person would point at."""

from __future__ import annotations

import numpy as np
import pytest

from interleave_index.ingest.text.phrases import MAX_WORDS, noun_phrases
from interleave_index.records.texts import PICTURE_MARK


def phrases(text, language=None):
    return [text[start:end] for start, end in noun_phrases(text, language)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A brown dog runs through the deep snow.", ["brown dog", "deep snow"]),
        ("Two men and a woman play with three balls", ["Two men", "woman", "three balls"]),
        ("a black and white dog and a cat", ["black and white dog", "cat"]),
        ("His red hat, her striped shirt", ["red hat", "striped shirt"]),
        ("the girl's red shoes", ["girl's red shoes"]),
        ("Grandma Ilse in Rome", ["Grandma Ilse", "Rome"]),
        ("IMG 2043 with some words", ["IMG 2043", "words"]),
        ("", []),
        ("...", []),
        ("is on the", []),
    ],
)
def test_articles_and_possessives_stand_before_a_phrase_and_numbers_in_it(text, expected):
    assert phrases(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a dog jumps over a log", ["dog", "log"]),
        ("a horse clears the jump", ["horse clears", "jump"]),  # a verb that the lists do not know
        ("a big jump by a horse", ["big jump", "horse"]),
        ("two dogs play in a field", ["two dogs", "field"]),
        ("a play in a theatre", ["play", "theatre"]),
        ("a man rides the waves", ["man", "waves"]),
        ("a girl making a face jumps into the sea", ["girl", "face", "sea"]),
        ("the leaves fell", ["leaves"]),
        ("he leaves the house", ["house"]),
        ("she wants to dance", ["wants"]),
        ("a child watches as a man walks by", ["child", "man"]),
    ],
)
def test_a_word_that_is_noun_and_verb_is_told_by_its_neighbours(text, expected):
    assert phrases(text) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a boy jumping into a swimming pool", ["boy", "swimming pool"]),
        ("a man wearing boots with a fishing rod", ["man", "boots", "fishing rod"]),
        ("the laughing woman", ["laughing woman"]),
        ("women laughing", ["women"]),
        ("a tall building near the crossing", ["tall building", "crossing"]),
        ("a girl dressed in striped pants", ["girl", "striped pants"]),
        ("a bed covered with red sheets", ["bed", "red sheets"]),
        ("a highly unusual hat worn happily", ["unusual hat"]),
    ],
)
def test_participles_are_of_a_phrase_only_before_what_they_tell_of(text, expected):
    assert phrases(text) == expected


def test_places_measures_numbers_and_colours_alone_name_nothing_to_point_at():
    assert phrases("a group of people in front of a house with a pair of skis at the top") == [
        "people",
        "house",
        "skis",
    ]
    assert phrases("a man in black and one in red with two others") == ["man"]


def test_no_phrase_crosses_punctuation_or_a_picture():
    assert phrases("red, round ball") == ["round ball"]
    assert phrases(f"old forum {PICTURE_MARK} new market") == ["old forum", "new market"]


def test_of_a_long_run_the_last_words_are_kept_where_the_head_is():
    assert phrases("green metal garden chair leg rest screw hole") == ["garden chair leg rest screw hole"]
    assert MAX_WORDS == 6


def test_a_text_of_another_language_is_parted_at_its_function_words():
    assert phrases("Ein brauner Hund läuft durch den tiefen Schnee", "de-CH") == ["brauner Hund", "tiefen Schnee"]
    assert phrases("un chien noir dans la neige", "fr") == ["chien noir", "neige"]
    assert phrases("犬が走る", "ja") == ["犬が走る"]


def test_spans_ascend_do_not_overlap_and_begin_and_end_with_words():
    random = np.random.default_rng(0)
    words = [
        "a",
        "the",
        "two",
        "dog",
        "dogs",
        "red",
        "black",
        "and",
        "of",
        "'s",
        "jumps",
        "waves",
        "running",
        "to",
        "is",
    ]
    words += [",", ".", "(", ")", "-", "'", "é", "犬", PICTURE_MARK, "can", "who", "other"]
    for _ in range(2000):
        text = " ".join(random.choice(words, size=random.integers(0, 30)))
        end = 0
        for start, stop in noun_phrases(text):
            assert end <= start < stop <= len(text)
            assert text[start].isalnum() and (text[stop - 1].isalnum() or text[stop - 1] in "'")
            end = stop
