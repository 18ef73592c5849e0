"""Small texts of every kind that is read beside photos, whole, as a start for those that are broken on purpose."""

from __future__ import annotations

import json

from interleave_index.records.texts import TextKind

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
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"
xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:DateTimeOriginal="2024-06-30T12:00:00">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Lake &amp; boat</rdf:li></rdf:Alt></dc:title>
<dc:subject><rdf:Bag><rdf:li>water</rdf:li><rdf:li>Ilse</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""
TAKEOUT = json.dumps(
    {
        "title": "a.jpg",
        "description": "Zoë 🐕 at the lake",
        "people": [{"name": "Ilse"}],
        "photoTakenTime": {"timestamp": "1719741600"},
        "n": [1.5, None],
    }
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
