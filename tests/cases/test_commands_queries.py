"""Queries that were probably meant otherwise, and bytes that are no text."""

import os

import pytest

from interleave_index import Entity, Picture, Query
from interleave_index.errors import InputError, QueryError
from interleave_index.query.hints import query_hints


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("[imge:dog.jpg] on grass", "[image:dog.jpg]"),
        ("[img: dog.jpg]", "[image:dog.jpg]"),
        ("-[Image : dog.jpg]", "[image:dog.jpg]"),
        ("[foto:12]", "[photo:12]"),
        ("[regoin:12/3]", "[region:12/3]"),
        ("[my dog.JPG]", "[image:my dog.JPG]"),
        ("[a dog]²", "[a dog]^2"),
        ("[a dog] 2", "[a dog]^2"),
        ("- [a dog]", "-[a dog]"),
        ("a cat −[a dog]", "-[a dog]"),
    ],
)
def test_what_was_probably_meant_is_offered(text, advice):
    (hint,) = query_hints(Query.parse(text))
    assert advice in hint


@pytest.mark.parametrize(
    "text",
    [
        "[a dog]^2 on grass",
        "[2 dogs] 2cv",
        "[time: noon]",
        "[a red car]",
        "a well-known [dog]",
        "-[a dog]",
        "[a dog] and 2 cats",
    ],
)
def test_what_is_meant_as_it_stands_gets_no_hint(text):
    assert query_hints(Query.parse(text)) == []


def test_brackets_in_plain_text_are_pointed_out():
    (hint,) = query_hints(Query("[a dog]^2 on grass"))
    assert "Query.parse" in hint


def test_the_hint_is_a_note_of_the_answer(toy_index):
    assert "[image:dog.jpg]" in toy_index.search("[imge:dog.jpg]").notes[0]
    assert "[image:dog.jpg]" in toy_index.ground(1, "[imge:dog.jpg]").notes[0]


@pytest.mark.parametrize(("data", "column"), [(b"caf\xe9", 4), (b"[caf\xe9]", 5), (b"a -[\xff]", 5)])
def test_a_byte_that_is_no_text_is_refused_at_its_column(data, column):
    with pytest.raises(QueryError, match="not UTF-8") as caught:
        Query.parse(os.fsdecode(data))
    assert caught.value.column == column


def test_a_byte_that_is_no_text_is_refused_in_python_too():
    for part in ("caf\udce9", Entity("caf\udce9")):
        with pytest.raises(InputError, match="0xe9"):
            Query(part)


def test_the_name_of_a_picture_may_hold_any_byte():
    assert Query.parse(os.fsdecode(b"[image:caf\xe9.jpg]")) == Query(Picture("caf\udce9.jpg"))
