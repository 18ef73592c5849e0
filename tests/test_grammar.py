"""The query's string form: what it means, what it refuses, and that it reads back what it wrote."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fuzz_kinds import check_query
from interleave_index.errors import EmptyQuery, InputError, QueryError
from interleave_index.grammar import Query, point_at
from interleave_index.records import Entity, Not, Part, PhotoRef, Picture, RegionRef
from interleave_index.terms import label

MEANINGS: list[tuple[str, tuple[Part, ...]]] = [
    ("a dog on a beach", ("a dog on a beach",)),
    ("  a\t dog \n", ("a dog",)),
    ("[a dog] on a beach", (Entity("a dog"), "on a beach")),
    ("a man with [a dog]", ("a man with", Entity("a dog"))),
    ("[ a   dog ][a cat]", (Entity("a dog"), Entity("a cat"))),
    ("[image:dog.jpg]", (Picture("dog.jpg"),)),
    ("[IMAGE: my dog.jpg ]", (Picture("my dog.jpg"),)),
    ("[image:dog.jpg#box=10,20,200,180]", (Picture("dog.jpg", box=(10, 20, 200, 180)),)),
    ("[image:dog.jpg # box = 1.5, 2, 3e1, 4]", (Picture("dog.jpg", box=(1.5, 2, 30, 4)),)),
    ("[image:dog.jpg#point=40,60]", (Picture("dog.jpg", points=((40, 60),)),)),
    ("[image:a.jpg#point=40,60;-5,6;7,8]", (Picture("a.jpg", points=((40, 60), (7, 8)), background=((5, 6),)),)),
    ("[image:dog.jpg#mask=mask.png]", (Picture("dog.jpg", mask="mask.png"),)),
    ("[image:https://x.org/a.jpg?b=1]", (Picture("https://x.org/a.jpg?b=1"),)),
    ("[photo:1234]", (PhotoRef(1234),)),
    ("[region:1234/7]", (RegionRef(1234, 7),)),
    ("-[a person]", (Not(Entity("a person")),)),
    ("-[a person] on a beach", (Not(Entity("a person")), "on a beach")),
    ("a beach -[region:3/0]^2", ("a beach", Not(RegionRef(3, 0, weight=2)))),
    ("[a dog]-[a cat]", (Entity("a dog"), Not(Entity("a cat")))),
    ("[a dog]^2-[a cat]", (Entity("a dog", 2), Not(Entity("a cat")))),
    ("[a dog]^0.5, running", (Entity("a dog", 0.5), ", running")),
    ("[photo:12]^2.5", (PhotoRef(12, 2.5),)),
    ("beach - [a dog]", ("beach -", Entity("a dog"))),
    ("well-known -dogs", ("well-known -dogs",)),
    (r"\[a dog\] \^2 \\ \#", (r"[a dog] ^2 \ #",)),
    (r"photo #3", ("photo #3",)),
    (r"[a \] b]", (Entity("a ] b"),)),
    (r"[photo\:12]", (Entity("photo:12"),)),
    ("[note: a dog]", (Entity("note: a dog"),)),
    (r"[image:C:\photos\dog.jpg]", (Picture(r"C:\photos\dog.jpg"),)),
    (r"[image:a\#1\[2\].jpg#mask=m\#.png]", (Picture("a#1[2].jpg", mask="m#.png"),)),
]

MISTAKES = [
    ("[a dog on a beach", 0, "never closed"),
    ("a [dog", 2, "never closed"),
    (r"a [dog\]", 2, "never closed"),
    ("a dog] on", 5, "closes nothing"),
    ("[a [small] dog]", 3, "inside brackets"),
    ("[]", 0, "entity is empty"),
    ("dog -[  ]", 5, "entity is empty"),
    (r"[\ ]", 0, "entity is empty"),
    ("a dog^2", 5, "weight on plain text"),
    ("[a dog^2]", 6, "behind ]"),
    ("[a dog]^two", 8, "not a number"),
    ("[a dog]^", 8, "not a number"),
    ("[a dog]^2x", 8, "not a number"),
    ("[a dog]^1.5.2", 8, "not a number"),
    ("[a dog]^2^3", 8, "not a number"),
    ("[a dog]^0", 8, "expected 0.001 to 1000"),
    ("[a dog]^-1", 8, "expected 0.001 to 1000"),
    ("[a dog]^1e999", 8, "expected 0.001 to 1000"),
    ("semi-[dog]", 4, "inside a word"),
    ("[image:]", 1, "no name"),
    ("[image:#box=1,2,3,4]", 1, "no name"),
    ("[image:dog.jpg#crop=1,2,3,4]", 14, "unknown #crop"),
    ("[image:dog.jpg#1]", 14, "unknown #1"),
    ("[image:dog.jpg#box]", 14, "unknown #box"),
    ("[image:dog.jpg#box=1,2,3]", 14, "not 4 numbers"),
    ("[image:dog.jpg#box=1,2,3,x]", 14, "not 4 numbers"),
    ("[image:dog.jpg#box=1,2,3,1]", 14, "x0 < x1"),
    ("[image:dog.jpg#box=1,2,inf,4]", 14, "not 4 numbers"),
    ("[image:dog.jpg#point=]", 14, "not 2 numbers"),
    ("[image:dog.jpg#point=1,2;]", 14, "not 2 numbers"),
    ("[image:dog.jpg#point=1,-2]", 14, "upper left corner"),
    ("[image:dog.jpg#point=-1,2]", 14, "background points only"),
    ("[image:dog.jpg#mask=]", 14, "names no file"),
    ("[image:dog.jpg#box=1,2,3,4#box=1,2,3,4]", 26, "given twice"),
    ("[image:dog.jpg#box=1,2,3,4#point=1,2]", 26, "box and points"),
    ("[photo:dog.jpg]", 1, "photo: is followed by"),
    ("[photo:12/3]", 1, "expected a form such as [photo:1234]"),
    ("[photo:-1]", 1, "photo: is followed by"),
    ("[region:12]", 1, "expected a form such as [region:1234/7]"),
    ("[region:12/256]", 1, "ordinal"),
    ("[photo:999999999999999999]", 1, "photo id"),
]


@pytest.mark.parametrize(("text", "parts"), MEANINGS)
def test_a_string_means_these_parts(text, parts):
    assert Query.parse(text).parts == parts


@pytest.mark.parametrize(("text", "column", "words"), MISTAKES)
def test_a_mistake_is_named_at_its_column(text, column, words):
    with pytest.raises(QueryError) as caught:
        Query.parse(text)
    assert (caught.value.column, caught.value.query) == (column + 1, text)
    assert words in str(caught.value)
    assert f"at column {caught.value.column}: " in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[photo:{}]", "[image:a.jpg#{}=1]", "[image:a.jpg#box={}]", "[image:a.jpg#point={};1,2]", "[a dog]^{}"]
)
def test_a_long_mistake_is_not_repeated_whole(text):
    with pytest.raises(QueryError) as caught:
        Query.parse(text.replace("{}", "12" * 5000))
    assert len(str(caught.value)) < 500 and "…" in str(caught.value)


def test_the_caret_stands_under_the_mistake():
    with pytest.raises(QueryError) as caught:
        Query.parse("a dog] on\ta beach")
    assert point_at(caught.value) == "a dog] on a beach\n     ^"


@pytest.mark.parametrize("text", ["", "  \n "])
def test_blanks_alone_are_an_empty_query(text):
    with pytest.raises(EmptyQuery):
        Query.parse(text)
    with pytest.raises(EmptyQuery):
        Query(text)


def test_text_given_in_python_is_taken_as_it_is():
    query = Query("see [1]", "and ^ here", Entity("image:of me"))
    assert query.parts == ("see [1] and ^ here", Entity("image:of me"))
    assert str(query) == r"see \[1\] and \^ here [image\:of me]"
    assert Query.parse(str(query)) == query


def test_a_picture_given_as_an_array_is_written_but_not_read():
    array = np.zeros((4, 6, 3), np.uint8)
    query = Query(Picture(array), "on a beach")
    assert str(query) == "[image:#array=4x6] on a beach"
    with pytest.raises(QueryError, match="no string form"):
        Query.parse(str(query))
    masked = Query(Picture("dog.jpg", mask=np.ones((4, 6), bool)))
    with pytest.raises(QueryError, match="no string form"):
        Query.parse(str(masked))


def test_queries_compare_by_value_also_with_arrays():
    one, same, other = (Query(Picture(np.full((2, 2, 3), shade, np.uint8))) for shade in (1, 1, 2))
    assert one == same and hash(one) == hash(same) and one != other
    assert Query("a dog") != "a dog"
    assert Query(Picture(Path("dog.jpg"))) == Query(Picture("dog.jpg"))
    assert Query(Entity("a")) != Query("a") and Query(Not("a")) != Query(Entity("a"))


def test_a_query_is_frozen_and_survives_pickling():
    query = Query.parse("[a dog]^2 on a beach -[a cat]")
    with pytest.raises(AttributeError, match="frozen"):
        query.parts = ()
    assert pickle.loads(pickle.dumps(query)) == query
    assert (list(query), len(query)) == (list(query.parts), 3)


def test_entities_and_negatives_stand_apart():
    query = Query.parse("a man with [a dog]^2 and [region:3/1] -[a cat]")
    assert query.entities == (Entity("a dog", 2), RegionRef(3, 1))
    assert query.negatives == (Entity("a cat"),)
    assert [label(term) for term in query.entities] == ["a dog", "[region:3/1]"]


@pytest.mark.parametrize(
    "part",
    [
        Picture("a.jpg", box=(5, 0, 5, 9)),
        Picture("a.jpg", box=(0, 0, float("nan"), 9)),
        Picture(""),
        Picture("a.jpg", points=((-1, 2),)),
        PhotoRef(-1),
        PhotoRef(1, weight=0),
        RegionRef(1, 300),
        Not(Not("a dog")),  # type: ignore[arg-type]
    ],
)
def test_a_part_that_cannot_mean_anything_is_refused(part):
    with pytest.raises(InputError):
        Query(part)


def test_a_part_of_a_foreign_kind_is_a_type_error():
    with pytest.raises(TypeError, match="query part is int"):
        Query(3)  # type: ignore[arg-type]


# --- round trips -----------------------------------------------------------------------------

written_text = st.text(st.sampled_from("ab [\\]^#:;=,-é\t\u2003.") | st.characters(codec="utf-8"), max_size=12)
names = st.text(st.sampled_from("ab [\\]^#:;=,-é .\n"), min_size=1, max_size=10)
weights = st.floats(0.001, 1000) | st.sampled_from([1, 2, 0.5])
coordinates = st.floats(0, 1e6) | st.integers(0, 5000)
points = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=3).map(tuple)


@st.composite
def boxes(draw):
    x0, y0 = draw(coordinates), draw(coordinates)
    return (x0, y0, x0 + draw(st.floats(1, 900)), y0 + draw(st.floats(1, 900)))


phrases = written_text.filter(lambda text: text.strip())
terms = st.one_of(
    st.builds(Entity, phrases | names.map("image:".__add__) | st.just("Photo:12"), weights),
    st.builds(PhotoRef, st.integers(0, 2**55 - 1), weights),
    st.builds(RegionRef, st.integers(0, 2**55 - 1), st.integers(0, 255), weights),
    st.builds(Picture, names, weight=weights),
    st.builds(Picture, names | names.map(lambda name: Path("x" + name)), boxes(), weight=weights),
    st.builds(Picture, names, points=points, background=points | st.just(()), weight=weights),
    st.builds(Picture, names, mask=names, weight=weights),
)
parts = st.lists(written_text | terms | st.builds(Not, terms), max_size=5)


@given(parts, terms)
@settings(max_examples=400, deadline=None)
def test_every_query_reads_back_as_it_was_written(some, term):
    query = Query(*some, term)
    assert Query.parse(str(query)) == query
    assert str(Query.parse(str(query))) == str(query)


pieces = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "-[",
            "^",
            "2",
            "\\",
            "#",
            "a dog",
            " ",
            "image:",
            "photo:",
            "region:",
            "1",
            "/",
            "box=",
            "point=",
            "mask=",
            "1,2",
            "3,4",
            ";",
            "-",
            ",",
            ".",
            "x.jpg",
        ]
    )
    | st.characters(),
    max_size=14,
).map("".join)
bracketed = st.lists(st.tuples(st.sampled_from(["[{}]", "-[{}]", "[{}]^2", "{} ", " "]), pieces), max_size=4).map(
    lambda some: "".join(form.replace("{}", inside) for form, inside in some)
)


@given(pieces | bracketed)
@settings(max_examples=600, deadline=None)
def test_any_string_is_refused_with_a_column_or_reads_back(text):
    check_query(text)


# --- marks on the picture that is looked at --------------------------------------------------


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["#point=40,60;-5,6"], (Picture("a b.jpg", points=((40, 60),), background=((5, 6),)),)),
        (["#box=1,2,30,40"], (Picture("a b.jpg", box=(1, 2, 30, 40)),)),
        (["#mask=my stroke.png"], (Picture("a b.jpg", mask="my stroke.png"),)),
        (
            ["#point=1,2 #point=3,4", "  #box=0,0,5,5"],
            (
                Picture("a b.jpg", points=((1, 2),)),
                Picture("a b.jpg", points=((3, 4),)),
                Picture("a b.jpg", box=(0, 0, 5, 5)),
            ),
        ),
        (["[a mug]", "#point=1,2"], (Entity("a mug"), Picture("a b.jpg", points=((1, 2),)))),
        (["a", "dog"], ("a dog",)),
        (["#1", "dog"], ("#1 dog",)),
    ],
)
def test_marks_without_brackets_are_parts_of_the_picture(words, wanted):
    assert Query.on_picture(words, "a b.jpg") == Query(*wanted)


def test_names_with_characters_of_the_grammar_stay_whole():
    for name in ("a#1.jpg", "[x].jpg", "a^2.jpg", "https://example.org/a.jpg?x=1#y"):
        assert Query.on_picture(["#point=1,2"], name) == Query(Picture(name, points=((1, 2),)))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("#pint=1,2", "unknown #pint"),
        ("#point=1", "is not 2 numbers"),
        ("#point=-1,2", "background points only"),
        ("#box=5,5,1,1", "x0 < x1"),
    ],
)
def test_a_mark_that_is_none_is_said_where_it_stands(word, said):
    with pytest.raises(QueryError, match=said) as error:
        Query.on_picture([word], "a.jpg")
    assert error.value.column == len("[image:a.jpg#")
