"""Which files are text sources, and what each says of which photo."""

from __future__ import annotations

import json

import pytest

from interleave_index.errors import TextUnreadable
from interleave_index.ingest.text.sidecars import Siblings
from interleave_index.ingest.text.sources import MAX_BYTES, kind_of, read_source
from interleave_index.records.texts import TEXT_KINDS

LONG = "a" * 47 + ".jpg"  # Takeout cuts names of photos to 51 characters


def said(source):
    return [passage.text for passage in source.passages]


@pytest.mark.parametrize(
    "name, beside, kind",
    [
        ("a.jpg.xmp", ["a.jpg"], "xmp"),
        ("a.xmp", ["a.CR2"], "xmp"),
        ("a.XMP", ["a.JPG"], "xmp"),
        ("a.xmp", ["b.jpg"], None),
        ("a.txt", ["a.jpg"], "txt"),
        ("a.jpg.txt", ["a.jpg"], "txt"),
        ("a.jpg.txt", ["a.png"], None),
        ("readme.txt", ["a.jpg"], None),
        ("a.jpg.json", ["a.jpg"], "takeout"),
        ("a.json", ["a.jpg"], None),
        ("metadata.json", ["a.jpg"], None),
        ("a.jpg.supplemental-metadata.json", ["a.jpg"], "takeout"),
        ("a.jpg.supplemental-meta.json", ["a.jpg"], "takeout"),
        ("a.jpg.s.json", ["a.jpg"], "takeout"),
        ("a.jpg..json", ["a.jpg"], "takeout"),
        ("a.jpg.other.json", ["a.jpg"], None),
        ("a.jpg(1).json", ["a(1).jpg"], "takeout"),
        ("a.jpg.supplemental-metadata(1).json", ["a(1).jpg"], "takeout"),
        ("a.jpg(1).json", ["a.jpg"], None),
        ("a.jpg.json", ["a-edited.jpg"], "takeout"),
        (LONG[:46] + ".json", [LONG], "takeout"),
        (LONG[:45] + ".json", ["b.jpg"], None),
        ("captions.jsonl", [], "captions"),
        ("other.jsonl", [], None),
        ("TRIP.md", [], "markdown"),
        ("trip.Markdown", [], "markdown"),
        ("index.htm", [], "html"),
        ("index.html", [], "html"),
        ("._trip.md", [], None),
        (".a.jpg.xmp", ["a.jpg"], None),
        ("a.jpg", ["a.jpg"], None),
    ],
)
def test_a_name_and_its_folder_tell_what_a_file_is(name, beside, kind):
    assert kind_of(name, {name, *beside}) == kind
    assert kind_of(name, Siblings([name, *beside])) == kind


def test_asking_about_each_of_many_names_does_not_walk_over_the_folder_each_time():
    class Counting(Siblings):
        walked = 0

        def __iter__(self):
            Counting.walked += 1
            return super().__iter__()

    names = Counting([f"{number}.jpg" for number in range(2000)] + [f"{number}.jpg.json" for number in range(2000)])
    assert [kind_of(name, names) for name in names].count("takeout") == 2000
    assert Counting.walked == 1  # by this test


def test_a_sidecar_of_a_stem_is_about_every_picture_of_that_stem():
    assert read_source("/p/a.txt", "txt", b"Rex", {"a.jpg", "a.NEF", "b.jpg"}).passages[0].about == (
        "/p/a.NEF",
        "/p/a.jpg",
    )
    assert read_source("/p/a.jpg.txt", "txt", b"Rex", {"a.jpg", "a.NEF"}).passages[0].about == ("/p/a.jpg",)


def test_a_text_beside_a_picture_is_read_in_the_encodings_that_editors_write():
    for data in ("Zoë\r\n".encode(), "Zoë".encode("utf-8-sig"), "Zoë".encode("utf-16"), "Zoë".encode("cp1252")):
        assert said(read_source("/p/a.txt", "txt", data, {"a.jpg"})) == ["Zoë"]


def test_paragraphs_of_a_text_are_passages_of_their_own():
    data = b"One\nline.\n\n \nAnother paragraph.\n\n---\n"
    assert said(read_source("/p/a.txt", "txt", data, {"a.jpg"})) == ["One line.", "Another paragraph."]


def xmp(properties):
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
      xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/"
      xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
      xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/">
      {properties}</rdf:RDF></x:xmpmeta>""".encode()


def test_an_xmp_sidecar_gives_title_and_description_in_one_passage_and_keywords_in_another():
    data = xmp("""<rdf:Description photoshop:Headline="Summer">
      <dc:title><rdf:Alt><rdf:li xml:lang="de">See</rdf:li><rdf:li xml:lang="en-GB">Lake</rdf:li></rdf:Alt></dc:title>
      <dc:description><rdf:Alt><rdf:li xml:lang="en">x</rdf:li>
        <rdf:li xml:lang="x-default">Ilse swims</rdf:li></rdf:Alt></dc:description>
      <dc:subject><rdf:Bag><rdf:li>water</rdf:li><rdf:li>Grandma Ilse</rdf:li>
        <rdf:li>water</rdf:li></rdf:Bag></dc:subject>
      <mwg-rs:Regions><rdf:li mwg-rs:Name="Tom"/></mwg-rs:Regions></rdf:Description>""")
    first, second = read_source("/p/a.xmp", "xmp", data, {"a.jpg"}).passages
    assert first.text == "Lake. Summer. Ilse swims" and first.about == ("/p/a.jpg",)
    assert second.text == "water, Grandma Ilse, Tom"
    assert [second.text[start:end] for start, end in second.phrases] == ["water", "Grandma Ilse", "Tom"]


def test_an_xmp_sidecar_without_texts_says_nothing():
    assert read_source("/p/a.xmp", "xmp", xmp("<rdf:Description/>"), {"a.jpg"}).passages == ()


def test_takeout_gives_the_description_and_the_people_of_a_photo_and_of_its_edited_copy():
    data = json.dumps({"title": "a.jpg", "description": "At the lake", "people": [{"name": "Ilse"}, {"name": "Tom"}]})
    source = read_source("/p/a.jpg.json", "takeout", data.encode(), {"a.jpg", "a-edited.jpg", "a(1).jpg"})
    assert said(source) == ["At the lake", "Ilse, Tom"]
    assert {passage.about for passage in source.passages} == {("/p/a.jpg", "/p/a-edited.jpg")}


def test_the_counter_of_equal_names_stands_elsewhere_in_takeout():
    data = b'{"description": "The second"}'
    source = read_source("/p/a.jpg(1).json", "takeout", data, {"a.jpg", "a(1).jpg"})
    assert source.passages[0].about == ("/p/a(1).jpg",)


@pytest.mark.parametrize("data", [b"[]", b"3", b"{}", b'{"description": null, "people": [1, {"name": 2}]}'])
def test_json_of_another_program_says_nothing(data):
    assert read_source("/p/a.jpg.json", "takeout", data, {"a.jpg"}).passages == ()


def test_captions_name_files_of_their_folder_or_below():
    data = b'{"file": "a.jpg", "text": "One"}\n\n{"file": "./below/b.jpg", "text": "Two", "more": 1}\n'
    source = read_source("/p/captions.jsonl", "captions", data, ())
    assert [(passage.text, passage.about) for passage in source.passages] == [
        ("One", ("/p/a.jpg",)),
        ("Two", ("/p/below/b.jpg",)),
    ]


@pytest.mark.parametrize("file", ["/etc/a.jpg", "../a.jpg", "below/../../a.jpg", "", ".", "a\0.jpg"])
def test_captions_that_lead_out_of_their_folder_are_refused_with_the_line(file):
    data = b'{"file": "a.jpg", "text": "One"}\n' + json.dumps({"file": file, "text": "Two"}).encode()
    with pytest.raises(TextUnreadable, match="line 2"):
        read_source("/p/captions.jsonl", "captions", data, ())


@pytest.mark.parametrize(
    "kind, data, words",
    [
        ("xmp", b"<x>", "is no XML"),
        ("xmp", b'<!DOCTYPE x [<!ENTITY a "aaa">]><x>&a;</x>', "entities"),
        ("takeout", b"{", "is no JSON"),
        ("takeout", b"[" * 100_000, "nested too deep"),
        ("takeout", b"{\xff\0", "NUL"),
        ("captions", b'{"file": "a.jpg"}', "line 1"),
        ("captions", b'{"file": "a.jpg", "text": "x"}\n[1]', "line 2"),
        ("captions", b"no", "line 1"),
        ("txt", b"\0\1\2", "NUL"),
        ("markdown", b"a\0", "NUL"),
        ("html", b"<p>\0", "NUL"),
        ("markdown", b"a " * 600_000, "characters"),
        ("html", b"<p>a" * 11_000, "passages"),
        ("html", b"<hr>" * 100_001, "blocks"),
        ("html", b"<b>" * 500_001, "elements"),
        ("html", b"<img src=a>" * 50_001, "references"),
    ],
)
def test_a_damaged_source_is_refused_with_its_name_what_was_found_and_what_was_expected(kind, data, words):
    with pytest.raises(TextUnreadable, match=rf"^text 'a\.x' .*{words}.*expected ") as caught:
        read_source("/p/a.x", kind, data, ())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", sorted(MAX_BYTES))
def test_a_source_of_too_many_bytes_is_refused_before_it_is_read(kind, monkeypatch):
    monkeypatch.setitem(MAX_BYTES, kind, 100)
    with pytest.raises(TextUnreadable, match="has 101 bytes, expected at most 100"):
        read_source("/p/a.x", kind, bytes(101), ())


def test_every_kind_but_that_inside_photos_is_a_source():
    assert set(MAX_BYTES) == set(TEXT_KINDS) - {"embedded"}
    with pytest.raises(ValueError, match="embedded"):
        read_source("/p/a.jpg", "embedded", b"", ())


def test_halves_of_surrogate_pairs_and_unseen_characters_do_not_reach_the_catalog():
    data = b'{"description": "\\ud83d a\\u0000b \\ufffc\\u200bc \\ud83d\\udc15"}'
    assert said(read_source("/p/a.jpg.json", "takeout", data, {"a.jpg"})) == ["a b c 🐕"]
