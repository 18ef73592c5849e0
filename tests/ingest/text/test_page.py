"""What is read of Markdown and HTML: words and pictures in their order, and nothing that is fetched or run."""

from __future__ import annotations

import socket

import pytest

from interleave_index.ingest.text.page import picture_path
from interleave_index.ingest.text.sources import read_source
from interleave_index.records.texts import PICTURE_MARK as P


def read(text, kind="markdown"):
    data = text if isinstance(text, bytes) else text.encode()
    return read_source("/notes/trip.md", kind, data, ())


def passages(text, kind="markdown"):
    return [(passage.text, list(passage.pictures)) for passage in read(text, kind).passages]


@pytest.mark.parametrize(
    "reference, path",
    [
        ("a.jpg", "/notes/a.jpg"),
        ("./img/a%20b.JPG", "/notes/img/a b.JPG"),
        ("img\\a.jpg", "/notes/img/a.jpg"),
        ("../a.jpg?width=3#top", "/a.jpg"),
        ("../../../a.jpg", "/a.jpg"),
        ("/photos/a.jpg", "/photos/a.jpg"),
        ("file:///photos/a%C3%AB.jpg", "/photos/aë.jpg"),
        ("file://localhost/photos/a.jpg", "/photos/a.jpg"),
        ("caf%E9.jpg", "/notes/caf\udce9.jpg"),
        ("file://host/photos/a.jpg", None),
        ("http://host/a.jpg", None),
        ("HTTPS://host/a.jpg", None),
        ("//host/a.jpg", None),
        ("data:image/png;base64,aaaa", None),
        ("javascript:a.jpg", None),
        ("a.svg", None),
        ("a.pdf", None),
        ("a%00.jpg", None),
        ("http://[/a.jpg", None),
        ("", None),
        ("a" * 5000 + ".jpg", None),
    ],
)
def test_a_reference_is_a_file_relative_to_the_page_or_nothing(reference, path):
    assert picture_path(reference, "/notes/trip.md") == path


def test_markdown_keeps_words_and_pictures_in_their_order():
    assert passages("# Rome\n\nThe **old** [Forum](http://x) ![](f.jpg) at\nnoon &amp; *later*.\n\n![](t.jpg)\n") == [
        (f"Rome. The old Forum {P} at noon & later. {P}", ["/notes/f.jpg", "/notes/t.jpg"])
    ]


def test_alternative_text_stands_in_brackets_after_its_picture_unless_it_repeats_the_name():
    assert passages("See ![Ilse swims](a.jpg)") == [(f"See {P} (Ilse swims)", ["/notes/a.jpg"])]
    for alternative in ("IMG_1.jpg", "IMG 1", "img-1", ""):
        assert passages(f"See ![{alternative}](IMG_1.jpg)") == [(f"See {P}", ["/notes/IMG_1.jpg"])]


def test_of_a_picture_on_another_machine_the_alternative_text_is_kept():
    assert passages("See ![Ilse swims](https://host/a.jpg) ![](data:image/png;base64,AAAA)") == [
        ("See (Ilse swims)", [])
    ]


def test_a_line_in_italics_under_a_picture_is_its_caption():
    assert passages("Before.\n\n![](a.jpg)\n\n*Ilse swims*\n\nAfter.") == [
        ("Before.", []),
        (f"{P} Ilse swims", ["/notes/a.jpg"]),
        ("After.", []),
    ]


def test_a_figure_has_its_caption_and_a_thumbnail_stands_for_the_picture_that_it_links_to():
    page = '<figure><a href="big.jpg"><img src="small.jpg"></a><figcaption>Ilse</figcaption></figure>'
    assert passages(page) == passages(page, "html") == [(f"{P} Ilse", ["/notes/big.jpg"])]


def test_pictures_of_note_programs_are_read():
    assert passages("See ![[img/a b.jpg|300x200]] and ![[b.jpg|Ilse]] and ![[note]]") == [
        (f"See {P} and {P} (Ilse) and", ["/notes/img/a b.jpg", "/notes/b.jpg"])
    ]


def test_lists_and_rows_of_tables_stand_together():
    assert passages("- eggs\n- milk\n\n1. first\n\n| a | b |\n|---|---|\n| c | |\n") == [
        ("eggs; milk", []),
        ("first", []),
        ("a, b; c", []),
    ]


def test_code_is_left_out_but_within_a_sentence():
    assert passages("Say `hello`.\n\n```\nprint(1)\n```\n\n    indented code\n") == [("Say hello.", [])]


def test_scripts_styles_forms_and_navigation_are_left_out():
    page = """<html><head><style>p {color: red}</style><script src="http://host/x.js">alert("p")</script></head><body>
      <nav><p>Home</p></nav><p>Ilse<script>document.write("no")</script> swims.</p><template><p>no</p></template>
      <form><p>no</p><button>no</button></form><svg><title>no</title><text>no</text></svg><!-- no --><p>Tom.</p>"""
    assert passages(page, "html") == [("Ilse swims.", []), ("Tom.", [])]


def test_nothing_is_fetched(monkeypatch):
    def refuse(*words, **named):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    page = """<!DOCTYPE html SYSTEM "http://host/x.dtd"><link rel=stylesheet href="http://host/x.css">
      <base href="http://host/"><img src="http://host/a.jpg" alt="Ilse"><iframe src="http://host/"></iframe><p>Words"""
    assert passages(page, "html") == [("(Ilse)", []), ("Words", [])]


def test_title_and_language_are_those_that_the_page_declares_else_the_first_heading():
    source = read("---\ntitle: 2019\nLang: de_CH\ntags: [a, b]\n---\n# Rome\n\nWords")
    assert (source.title, source.language) == ("2019", "de-CH")
    source = read("Words\n\n## Rome ![](a.jpg)\n\nWords")
    assert (source.title, source.language) == ("Rome", None)
    source = read("<html lang=fr><title> A\n title </title><h1>Rome</h1>", "html")
    assert (source.title, source.language) == ("A title", "fr")
    assert read("Words").title is None


@pytest.mark.parametrize("front", ["a: [", "- a", "title: [a]", "title: &a [*a]", "lang: 'not a language'", "[" * 5000])
def test_a_damaged_or_odd_header_says_nothing_and_the_page_is_read(front):
    source = read(f"---\n{front}\n---\nWords")
    assert (source.title, source.language, len(source.passages)) == (None, None, 1)


def test_a_page_in_the_encoding_that_it_declares():
    page = '<html><head><meta charset="iso-8859-2"></head><p>Žižka'
    assert passages(page.encode("iso-8859-2"), "html") == [("Žižka", [])]
    assert passages(page.replace("iso-8859-2", "no-such").encode("cp1252"), "html") == [("Žižka", [])]
    assert passages(page.replace("iso-8859-2", "base64").encode("cp1252"), "html") == [("Žižka", [])]


def test_the_language_of_a_page_decides_how_phrases_are_found():
    passage = read("<html lang=de><p>Ein brauner Hund läuft durch den tiefen Schnee", "html").passages[0]
    assert [passage.text[a:b] for a, b in passage.phrases] == ["brauner Hund", "tiefen Schnee"]


@pytest.mark.parametrize("text", ["", " \n", "<", "<!-- -->", "\ufeff", "<p></p>", "---\n---\n"])
@pytest.mark.parametrize("kind", ["markdown", "html"])
def test_a_page_without_words_has_no_passages(text, kind):
    assert passages(text, kind) == []
