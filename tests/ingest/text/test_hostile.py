"""Damaged and hostile sources: each is read or refused with words, within a bounded time."""

from __future__ import annotations

import json
import time
from random import Random

import pytest

from benchmarks.fuzz_kinds import check_source
from benchmarks.fuzz_texts import SOURCES, XMP
from benchmarks.mutations import mutated
from interleave_index.errors import TextUnreadable
from interleave_index.ingest.text.sources import read_source
from interleave_index.records.texts import TextKind

SECONDS = 2.0  # for one small source, on a busy machine


def check(kind, data):
    """Read a source; whether it could be."""
    begun = time.perf_counter()
    try:
        return check_source(kind, data)
    finally:
        assert time.perf_counter() - begun < SECONDS


def many(number):
    read = 0
    for index, (kind, text) in enumerate(SOURCES.items()):
        random = Random(index)
        assert check(kind, text.encode())
        read += sum(check(kind, mutated(text.encode(), random)) for _ in range(number))
    assert read > number * len(SOURCES) / 4  # the changes leave something to be read


def test_damaged_sources_are_read_or_refused():
    many(100)


@pytest.mark.slow
def test_two_thousand_damaged_sources_of_each_kind_are_read_or_refused():
    many(2000)


N = 20_000
BOMBS: dict[str, tuple[TextKind, bytes]] = {
    "nested divisions": ("html", b"<div>" * N),
    "nested tables": ("html", b"<table><td>" * N),
    "formatting that is never closed": ("html", b"<b><p>x" * 5000),
    "many attributes": ("html", b"<p " + b" ".join(b"a%d=1" % number for number in range(N)) + b">x"),
    "signs that open nothing": ("html", b"<" * (5 * N)),
    "entities": ("html", b"&amp;" * N),
    "a title that is never closed": ("html", b"<title>" + b"x " * N),
    "cells": ("html", b"<tr>" + b"<td>x" * N),
    "nested quotes": ("markdown", b">" * (5 * N)),
    "nested lists": ("markdown", b"\n".join(b" " * depth + b"- a" for depth in range(300))),
    "brackets": ("markdown", b"[" * (5 * N)),
    "pictures that are never closed": ("markdown", b"![" * (N // 4) + b"\n\nwords"),
    "links in links": ("markdown", b"[a](" * N),
    "stars": ("markdown", b"*a " * N + b"\n\n" + b"*_" * N),
    "backticks": ("markdown", b"".join(b"`" * number + b" " for number in range(400))),
    "references": ("markdown", b"".join(b"[a%d]: b\n" % number for number in range(N // 4))),
    "aliases in the header": ("markdown", b"---\na: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\ntitle: [*c,*c]\n---\nwords"),
    "a paragraph of one word": ("txt", b"x" * (50 * N)),
    "a paragraph without an end": ("txt", b"word " * (10 * N)),
    "sentences of quotes": ("txt", b'." ' * (10 * N)),
    "keywords": ("xmp", XMP.replace("<rdf:li>water</rdf:li>", "<rdf:li>w</rdf:li>" * N).encode()),
    "one keyword": ("xmp", XMP.replace("water", "water " * N).encode()),
    "nested elements": ("xmp", b"<a>" * N + b"</a>" * N),
    "nested arrays": ("takeout", b'{"description":' + b"[" * N),
    "a great number": ("takeout", b'{"description": ' + b"9" * N + b"}"),
    "people": ("takeout", json.dumps({"people": [{"name": f"n{number}"} for number in range(N)]}).encode()),
    "empty lines": ("captions", b"\n" * (10 * N)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_source_that_is_made_to_take_long_does_not(name):
    kind, data = BOMBS[name]
    begun = time.perf_counter()
    try:
        read_source("/p/a.jpg.x", kind, data, {"a.jpg"})
    except TextUnreadable as error:
        assert len(str(error)) < 500
    assert time.perf_counter() - begun < 10
