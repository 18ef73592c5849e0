"""Which files of a folder are text sources, and what one says. Nothing is opened here but the bytes that are given.

Sources, by name:

* ``a.jpg.xmp`` and ``a.xmp``, ``a.jpg.txt`` and ``a.txt`` beside a picture ``a.jpg``;
* ``a.jpg.json`` of Google Takeout, under each of the names that it gives (`sidecars.pictures_of_takeout`);
* ``captions.jsonl``: lines of ``{"file": ..., "text": ...}``;
* pages: ``.md``, ``.markdown``, ``.html``, ``.htm``.

Hidden files are none. A source beyond `MAX_BYTES`, `MAX_CAPTIONS` or `passages.MAX_PASSAGES` is refused, never cut.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection

from ...paths import beside
from ...records.texts import PassageText, SourceText, TextKind
from .. import xmp
from . import sidecars
from .described import Texts, described, texts_of_xmp
from .page import blocks_of_html, blocks_of_markdown
from .passages import Block, cut, cut_text
from .sidecars import Siblings
from .words import decoded, folded, unreadable

MAX_BYTES: dict[TextKind, int] = {
    "xmp": 8 << 20,
    "txt": 1 << 20,
    "takeout": 1 << 20,
    "captions": 64 << 20,
    "markdown": 8 << 20,
    "html": 8 << 20,
}
MAX_CAPTIONS = 500_000
CAPTIONS = "captions.jsonl"
_PAGES: dict[str, TextKind] = {".md": "markdown", ".markdown": "markdown", ".html": "html", ".htm": "html"}


def kind_of(name: str, siblings: Collection[str]) -> TextKind | None:
    """What a file is as a text source, or None.

    Args:
        name: of the file, without its folder.
        siblings: names of all files in that folder; a `Siblings` is fastest when many names are asked.

    >>> kind_of("a.txt", {"a.txt", "a.jpg"}), kind_of("todo.txt", {"todo.txt"}), kind_of("trip.html", ())
    ('txt', None, 'html')
    """
    if name.startswith("."):
        return None
    if name.lower() == CAPTIONS:
        return "captions"
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _PAGES:
        return _PAGES[suffix]
    if suffix == ".xmp":
        return "xmp" if sidecars.pictures_of_sidecar(name, Siblings.of(siblings)) else None
    if suffix == ".txt":
        return "txt" if sidecars.pictures_of_sidecar(name, Siblings.of(siblings)) else None
    if suffix == ".json":
        return "takeout" if sidecars.pictures_of_takeout(name, Siblings.of(siblings)) else None
    return None


def read_source(path: str, kind: TextKind, data: bytes, siblings: Collection[str]) -> SourceText:
    """What a text source says.

    Args:
        path: absolute, of the file; pictures are resolved against its folder and never opened.
        kind: as `kind_of` gave it.
        data: the whole content.
        siblings: names of all files in the folder.
    Returns:
        Its passages in their order; none when it says nothing.
    Raises:
        TextUnreadable: damaged, or beyond a limit.
    """
    if kind not in MAX_BYTES:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(MAX_BYTES)}")
    if len(data) > MAX_BYTES[kind]:
        raise unreadable(path, f"has {len(data)} bytes", f"at most {MAX_BYTES[kind]}; split it")
    about = pictures_beside(path, kind, siblings)
    if kind == "xmp":
        return described(kind, _xmp_texts(path, data), about)
    if kind == "txt":
        return _plain(path, data, about)
    if kind == "takeout":
        return _takeout(path, data, about)
    if kind == "captions":
        return _captions(path, data)
    blocks = blocks_of_markdown(data, path) if kind == "markdown" else blocks_of_html(data, path)
    passages = cut(blocks.blocks, path, title=blocks.title, language=blocks.language)
    return SourceText(kind, blocks.title, blocks.language, passages)


def pictures_beside(path: str, kind: TextKind, siblings: Collection[str]) -> tuple[str, ...]:
    """Paths of the pictures that a sidecar belongs to by its name; of other kinds none belongs to any.

    >>> pictures_beside("/x/a.txt", "txt", {"a.txt", "a.jpg"}), pictures_beside("/x/a.md", "markdown", {"a.jpg"})
    (('/x/a.jpg',), ())
    """
    folder, name = os.path.split(path)
    if kind in ("xmp", "txt"):
        pictures = sidecars.pictures_of_sidecar(name, Siblings.of(siblings))
    elif kind == "takeout":
        pictures = sidecars.pictures_of_takeout(name, Siblings.of(siblings))
    else:
        return ()
    return tuple(os.path.join(folder, picture) for picture in pictures)


def _xmp_texts(path: str, data: bytes) -> Texts:
    try:
        tree = xmp.parse_xmp(data)
    except ValueError as error:
        raise unreadable(path, str(error), "an XMP sidecar") from error
    return Texts() if tree is None else texts_of_xmp(tree)


def _plain(path: str, data: bytes, about: tuple[str, ...]) -> SourceText:
    paragraphs = re.split(r"\n\s*\n", decoded(data, path))
    blocks = [Block("text", folded(paragraph)) for paragraph in paragraphs]
    return SourceText("txt", passages=cut(blocks, path, about=about))


def _takeout(path: str, data: bytes, about: tuple[str, ...]) -> SourceText:
    """Description and names of people; any other JSON object or list beside a photo says nothing."""
    facts = _json(decoded(data, path), path, "")
    if not isinstance(facts, dict):
        return SourceText("takeout")
    people = facts.get("people")
    names = [person.get("name") for person in people if isinstance(person, dict)] if isinstance(people, list) else []
    texts = Texts(
        descriptions=[text for text in (facts.get("description"),) if isinstance(text, str)],
        keywords=[name for name in names if isinstance(name, str)],
    )
    return described("takeout", texts, about)


def _captions(path: str, data: bytes) -> SourceText:
    """One passage a line, or more for a long text; a line that names a file outside of the folder is refused."""
    passages: list[PassageText] = []
    for number, line in enumerate(decoded(data, path).splitlines(), 1):
        if not line.strip():
            continue
        entry = _json(line, path, f" in line {number}")
        file, text = (entry.get("file"), entry.get("text")) if isinstance(entry, dict) else (None, None)
        if not isinstance(file, str) or not isinstance(text, str):
            raise unreadable(path, f"has no file and text in line {number}", 'lines of {"file": ..., "text": ...}')
        if not _stays_inside(file):
            raise unreadable(path, f"names {file[:200]!r} in line {number}", "files of its folder or below")
        about = beside(path, file)
        passages += cut_text(folded(text), about=(about,))
        if len(passages) > MAX_CAPTIONS:
            raise unreadable(path, f"has more than {MAX_CAPTIONS} captions", "fewer; split it")
    return SourceText("captions", passages=tuple(passages))


def _stays_inside(file: str) -> bool:
    parts = file.split("/")
    return bool(file.strip("./")) and not os.path.isabs(file) and ".." not in parts and "\0" not in file


def _json(text: str, path: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "is nested too deep" if isinstance(error, RecursionError) else f"is no JSON ({error})"
        raise unreadable(path, f"{what}{where}", "JSON") from error
