"""Damaged and hostile sources: each is read or refused with words, within a bounded time."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from interleave_index.errors import TextUnreadable
from interleave_index.ingest.text.passages import MAX_TOKENS, tokens
from interleave_index.ingest.text.sources import read_source
from interleave_index.records.texts import PICTURE_MARK, TextKind

SECONDS = 2.0  # for one small source, on a busy machine

MARKDOWN = """---
title: "Rome"
lang: en
---
# Trip to *Rome*

We saw ![the Forum](img/a%20b.jpg "title") at noon, [so](http://x) <b>hot</b>. ![[c.jpg|Ilse]]

![](d.jpg)

*A caption*

1. one
   - two ~~three~~ `code`

> quote

| a | b |
|:--|--:|
| 1 | ![](e.png) |

```python
print()
```
<figure><img src=f.webp alt="words"><figcaption>Figure</figcaption></figure>

[ref]: g.jpg
![x][ref]
"""
HTML = """<!DOCTYPE html><html lang="en-GB"><head><meta charset="utf-8"><title>Rome &amp; more</title>
<style>p{}</style><script>1 < 2</script></head><body><nav>x</nav><h1>Rome</h1><p>We saw <a href="big.jpg"><img
src='small.jpg' alt="the &quot;Forum&quot;"></a> at&nbsp;noon.<br>Hot<ul><li>one<li>two</ul>
<table><tr><td>a<td>b</table>
<figure><img data-src=c.png><figcaption>Zo&euml; &#x1F415;</figcaption></figure>
<!-- no --><pre>code</pre><hr></body>"""
XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Lake &amp; boat</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>water</rdf:li><rdf:li>Ilse</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
TAKEOUT = json.dumps(
    {"title": "a.jpg", "description": "Zoë 🐕 at the lake", "people": [{"name": "Ilse"}], "n": [1.5, None]}
)
CAPTIONS = "\n".join(json.dumps({"file": f"{name}.jpg", "text": "A dog\nruns"}) for name in "abc")
SOURCES: dict[TextKind, str] = {
    "markdown": MARKDOWN,
    "html": HTML,
    "xmp": XMP,
    "takeout": TAKEOUT,
    "captions": CAPTIONS,
    "txt": "A dog runs.\n\nTwo cats sit.",
}
PIECES = [
    b"<",
    b">",
    b"&",
    b"![",
    b"](",
    b"*",
    b"`",
    b"\n\n",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b'"',
    b"{",
    b"[",
    b"\\u",
    b"../",
]
PIECES += [
    b"<!--",
    b"<![CDATA[",
    b"<!DOCTYPE a [",
    b"<div>",
    b"</p>",
    b"&#xFFFC;",
    b"&#0;",
    b"\xef\xbf\xbc",
    b"---\n",
    b"|",
    b"\t",
]


def mutated(data, random):
    """One to eight changes: bytes set, cut, doubled, put in, or exchanged with another place."""
    for _ in range(random.integers(1, 9)):
        at, to = sorted(random.integers(0, len(data) + 1, size=2).tolist())
        kind = random.integers(5)
        if kind == 0:
            data = data[:at] + bytes([random.integers(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[min(to, at + 40) :]
        elif kind == 2:
            data = data[:to] + data[at : min(to, at + 200)] * int(random.integers(1, 20)) + data[to:]
        elif kind == 3:
            data = data[:at] + PIECES[random.integers(len(PIECES))] * int(random.integers(1, 60)) + data[at:]
        else:
            data = data[to:] + data[at:to] + data[:at]
    return data


def check(kind, data):
    """Read a source; whether it could be."""
    begun = time.perf_counter()
    try:
        source = read_source("/p/a.jpg.x", kind, data, {"a.jpg", "b.jpg"})
    except TextUnreadable as error:
        assert str(error).startswith("text 'a.jpg.x' ") and len(str(error)) < 500
        return False
    finally:
        assert time.perf_counter() - begun < SECONDS
    for passage in source.passages:
        passage.text.encode("utf-8")
        assert passage.text == " ".join(passage.text.split()) and passage.text
        assert passage.text.count(PICTURE_MARK) == len(passage.pictures)
        assert all(path.startswith("/") and "\0" not in path for path in (*passage.pictures, *passage.about))
        end = 0
        for start, stop in passage.phrases:
            assert end <= start < stop <= len(passage.text)
            end = stop
        if kind in ("markdown", "html", "txt"):
            assert tokens(passage.text) <= MAX_TOKENS + 1
    return True


def many(number):
    read = 0
    for index, (kind, text) in enumerate(SOURCES.items()):
        random = np.random.default_rng(index)
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
