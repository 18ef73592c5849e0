"""Words are found in the same rows by both databases: one contract, and texts made at random."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from interleave_index.storage import words, words_tsvector
from interleave_index.storage.store import Store

LONG = " ".join(f"word{n}" for n in range(400))
ROWS = {
    1: "Climbing the mountains of Visby",
    2: "Café Müller, IMG_2043.jpg",
    3: "a a a b a",
    4: "O'Brien's \\ 'quoted' & | ! <-> (x):*",
    5: "日本語のテキスト ÄRGER straße Ünï",
    6: "",
    7: LONG,
    8: "字" * 900 + " end",
    9: "home ann " * 300 + "home zoe",
    10: "Cafe\u0301 twice x² 3.14",
}
FOUND = {
    "mountain": [1],
    "CLIMBED": [1],
    "the mountains": [1],
    "mountains the": [],
    "cafe": [2, 10],
    "café muller": [2],
    "img_2043": [2],
    "2043 jpg": [2],
    "b a": [3],
    "a b a": [3],
    "b b": [],
    "o'brien's": [4],
    "quoted": [4],
    "'); DROP TABLE photo; --": [],
    "日本語のテキスト": [5],
    "arger": [5],
    "straße": [5],
    "word0": [7],
    "word250 word251 word252 word253 word254 word255 word256": [7],
    " ".join(f"word{n}" for n in range(150, 300)): [7],
    " ".join(f"word{n}" for n in (*range(150, 220), 221)): [],
    "字" * 900: [8],
    "字" * 899: [],
    "end": [8],
    "home zoe": [9],
    "zoe home": [],
    "3 14": [10],
    "*": [],
    "": [],
}


@pytest.fixture
def store(database: Any, tmp_path: Path) -> Any:
    with Store.open(database.name(tmp_path / "index"), create=True) as made:
        yield made


def keep(store: Store, rows: dict[int, str]) -> None:
    with store._session.writing("a test") as connection:
        words.put(connection, "passage", rows)


def found(store: Store, phrase: str, limit: int = 100) -> list[int] | None:
    ids = store.texts.holding("passage", phrase, limit)
    return None if ids is None else ids.tolist()


def test_each_phrase_is_found_where_it_stands(store):
    keep(store, ROWS)
    assert {phrase: found(store, phrase) for phrase in FOUND} == FOUND
    assert store.texts.count_words("passage") == len(ROWS) and store.texts.count_words("photo") == 0


def test_more_rows_than_the_limit_tell_nothing(store):
    keep(store, {n: f"red {n}" for n in range(1, 8)})
    assert found(store, "red", 6) is None and found(store, "red", 7) == [1, 2, 3, 4, 5, 6, 7]


def test_rows_are_replaced_and_taken_out_with_all_their_parts(store):
    keep(store, {1: LONG, 2: "red"})
    keep(store, {1: "blue"})
    assert (found(store, "word300"), found(store, "blue")) == ([], [1])
    with store._session.writing("a test") as connection:
        words.remove(connection, "passage", [1, 5])
    assert (found(store, "blue"), found(store, "red"), store.texts.count_words("passage")) == ([], [2], 1)


def test_texts_made_at_random_are_found_alike(postgres, tmp_path):
    """Runs of words out of few: phrases of them stand in some texts, and some across the parts of a tsvector."""
    rng = random.Random(3)
    some = ["a", "running", "runs", "Café", "cafe", "x-ray", "don't", "IMG_1", "ß", "été", "字字", "1e5", "e"]
    rows = {n: " ".join(rng.choices(some, k=rng.choice((3, 40, 700)))) for n in range(1, 60)}
    server = postgres.url(postgres.blank(), tmp_path / "there")
    with Store.open(tmp_path / "here", create=True) as here, Store.open(server, create=True) as there:
        for one in (here, there):
            keep(one, rows)
        several = 0
        for _ in range(150):
            text = rows[rng.randint(1, 59)].split()
            start = rng.randrange(len(text))
            phrase = " ".join(text[start : start + rng.choice((1, 2, 3, 5, 64, 90))])
            assert found(here, phrase) == found(there, phrase), phrase
            several += len(found(here, phrase) or ()) > 1
        assert several > 20


def test_a_phrase_of_64_words_stands_whole_in_one_part():
    lexemes = [str(n) for n in range(1000)]
    parts = [tuple(part) for part in words_tsvector._parts(lexemes)]
    for start in range(1000 - 63):
        run = tuple(lexemes[start : start + 64])
        assert any(part[int(run[0]) - int(part[0]) :][:64] == run for part in parts if int(part[0]) <= start), start
