"""From Markdown and HTML to blocks of words and pictures. Nothing is fetched, opened or run.

Markdown is rendered to HTML first (CommonMark with tables, and `![[picture.jpg]]` as note programs write it), so that
both kinds, and HTML within Markdown, are read in one way. HTML is read as events, without a tree: time and memory grow
with the length of a page only, however it is nested.

Left out: scripts, styles, navigation, forms and code blocks (the words of a program describe no picture).

A picture is a reference with the suffix of a picture to a file: relative to the page or absolute, URL-encoded or not,
``file:`` or without a scheme. Where a picture stands in a link to a picture, as a thumbnail does, the latter is meant.
The alternative text of a picture stands as words after it, unless it only repeats the name of the file; that of a
picture on another machine stands there alone.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from ...paths import beside
from ...records.texts import PICTURE_MARK
from .passages import Block, BlockKind
from .sidecars import is_picture
from .words import decoded, folded, unreadable, visible

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

MAX_BLOCKS = 100_000
MAX_ELEMENTS = 500_000
MAX_REFERENCES = 50_000
MAX_MARKDOWN = 1 << 19  # characters, without pictures that are written into the page
_LONGEST_INLINE = 10_000  # characters of one paragraph of Markdown whose marks are read; their cost grows as its square
_LONGEST_FRONT_MATTER = 16_384

_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_CAPTIONS = frozenset(("figcaption", "caption"))
_ITEMS = frozenset(("li", "dt", "dd", "tr"))
_BLOCKS = _HEADINGS | _CAPTIONS | _ITEMS
# fmt: off
_BLOCKS |= frozenset(
    (
        "address", "article", "aside", "blockquote", "body", "center", "details", "div", "dl", "fieldset", "figure",
        "footer", "header", "hr", "html", "main", "ol", "p", "section", "summary", "table", "tbody", "tfoot", "thead",
        "title", "ul"
    )
)
_SKIPPED = frozenset(
    (
        "audio", "button", "canvas", "form", "iframe", "math", "nav", "noscript", "object", "pre", "script", "select",
        "style", "svg", "template", "textarea", "video"
    )
)
# fmt: on
_EMPHASIS = frozenset(("em", "i", "small", "cite"))
_LISTS = frozenset(("ul", "ol", "dl", "table"))
_CELL = "\x1f"  # parts the cells of a table's row; no text holds it, since control characters are left out
_EMBEDDED = re.compile(rb"data:[\w.+/-]*(?:;[\w=.+-]*)*,[\w+/=%-]*")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8}){0,3}")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_WIKI_PICTURE = re.compile(r"!\[\[([^\[\]|\n]{1,500})(?:\|([^\[\]\n]{0,500}))?\]\]")


@dataclass(frozen=True, slots=True)
class PageBlocks:
    """A page before it is cut.

    Attributes:
        title: as the page declares it, else its first heading, or None.
        language: as the page declares it, or None.
    """

    title: str | None
    language: str | None
    blocks: list[Block]


def blocks_of_html(data: bytes, path: str) -> PageBlocks:
    """Blocks of an HTML page.

    Raises:
        TextUnreadable: not text, or more than `MAX_BLOCKS`, `MAX_ELEMENTS` or `MAX_REFERENCES`.
    """
    data = _EMBEDDED.sub(b"data:", data)
    charset = _CHARSET.search(data[:2048])
    return _read(decoded(data, path, charset[1].decode("ascii") if charset else None), path)


def blocks_of_markdown(data: bytes, path: str) -> PageBlocks:
    """Blocks of a Markdown page; title and language of its front matter come before those of its text.

    Raises:
        TextUnreadable: not text, longer than `MAX_MARKDOWN`, or as for HTML.
    """
    text = decoded(_EMBEDDED.sub(b"data:", data), path)
    if len(text) > MAX_MARKDOWN:
        raise unreadable(path, f"has {len(text)} characters", f"at most {MAX_MARKDOWN}; split it")
    facts: dict[str, str] = {}
    front = _FRONT_MATTER.match(text)
    if front:
        facts, text = _front_matter(front[1]), text[front.end() :]
    page = _read(_markdown().render(text), path)
    title = folded(facts.get("title", "")) or page.title
    return PageBlocks(title, _language(facts.get("lang") or facts.get("language")) or page.language, page.blocks)


def picture_path(reference: str, page: str) -> str | None:
    """The absolute path of a picture that a page refers to; None for another machine, data, and no picture's name.

    >>> picture_path("img/a%20b.jpg?size=2#top", "/notes/trip.html")
    '/notes/img/a b.jpg'
    >>> picture_path("https://host/a.jpg", "/notes/trip.html") is None
    True
    """
    reference = reference.strip().replace("\\", "/")
    if not reference or len(reference) > 4096:
        return None
    try:
        parts = urlsplit(reference)
    except ValueError:  # brackets that are no address
        return None
    local = parts.scheme == "file" and parts.netloc.lower() in ("", "localhost")
    if not local and (parts.scheme or parts.netloc):
        return None
    path = unquote(parts.path, errors="surrogateescape")
    if "\0" in path or not is_picture(path):
        return None
    return beside(page, path)


def _language(declared: object) -> str | None:
    text = declared.strip() if isinstance(declared, str) else ""
    return text.replace("_", "-") if _LANGUAGE.fullmatch(text) else None


# --- HTML ------------------------------------------------------------------------------------


def _read(html: str, path: str) -> PageBlocks:
    from lxml import etree

    reader = _Reader(path)
    # Bytes with a named encoding: what a page says of its own encoding was heard before.
    parser: Any = etree.HTMLParser(target=reader, encoding="utf-8", no_network=True)
    try:
        etree.fromstring(html.encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:  # nothing that could be read is left, as in an empty file
        reader.close()
    heading = next((block.text for block in reader.blocks if block.kind == "heading"), "")
    title = reader.title or folded(heading.replace(PICTURE_MARK, " "))
    return PageBlocks(title or None, reader.language, reader.blocks)


@dataclass(slots=True)
class _Reader:
    """Takes the events of a parser."""

    path: str
    blocks: list[Block] = field(default_factory=list)
    title: str = ""
    language: str | None = None
    _words: list[str] = field(default_factory=list)
    _pictures: list[str] = field(default_factory=list)
    _open: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("heading", "caption", "item", "emphasis"), 0))
    _skipped: list[str] = field(default_factory=list)
    _in_title: bool = False
    _plain: bool = False  # whether words of this block stand outside of emphasis
    _said: bool = False  # whether this block has words but those of its pictures
    _group: int = 0
    _elements: int = 0
    _references: int = 0
    _links: list[str | None] = field(default_factory=list)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS:
            raise unreadable(self.path, f"has more than {MAX_ELEMENTS} elements", "fewer; split it")
        if self._skipped or tag in _SKIPPED:
            if not self._skipped or tag == self._skipped[0]:
                self._skipped.append(tag)
            return
        if tag in _BLOCKS:
            self._end_block()
        if tag in _LISTS:
            self._group += 1
        if tag == "html":
            self.language = self.language or _language(attributes.get("lang") or attributes.get("xml:lang"))
        elif tag == "img":
            self._picture(attributes)
        elif tag == "a":
            self._links.append(self._file(attributes.get("href")))
        elif tag in ("td", "th"):
            self._words.append(_CELL)
        elif tag == "br":
            self._words.append(" ")
        elif tag == "hr":
            self._add(Block("rule"))
        elif tag == "title":
            self._in_title = True
        self._count(tag, 1)

    def end(self, tag: str) -> None:
        if self._skipped:
            if tag == self._skipped[-1]:
                self._skipped.pop()
            return
        if tag in _BLOCKS:
            self._end_block()
        if tag == "a" and self._links:
            self._links.pop()
        self._count(tag, -1)

    def data(self, text: str) -> None:
        if not self._skipped:
            self._words.append(visible(text))
            if not text.isspace():
                self._said = True
                self._plain = self._plain or not self._open["emphasis"]

    def close(self) -> None:
        self._end_block()

    def _count(self, tag: str, by: int) -> None:
        for kind, tags in (("heading", _HEADINGS), ("caption", _CAPTIONS), ("item", _ITEMS), ("emphasis", _EMPHASIS)):
            if tag in tags:
                self._open[kind] = max(0, self._open[kind] + by)

    def _picture(self, attributes: dict[str, str]) -> None:
        linked = self._links[-1] if self._links else None
        path = linked or self._file(attributes.get("src")) or self._file(attributes.get("data-src"))
        alternative = folded(attributes.get("alt") or "")
        name = os.path.basename(path or _unquoted(attributes.get("src") or ""))
        if path:
            self._pictures.append(path)
            self._words.append(f" {PICTURE_MARK} ")
        if alternative and not _repeats(alternative, name):
            self._words.append(f" ({alternative}) ")

    def _file(self, reference: str | None) -> str | None:
        if not reference:
            return None
        self._references += 1
        if self._references > MAX_REFERENCES:
            raise unreadable(self.path, f"has more than {MAX_REFERENCES} references", "fewer; split it")
        return picture_path(reference, self.path)

    def _end_block(self) -> None:
        cells = (" ".join(cell.split()) for cell in "".join(self._words).split(_CELL))
        text = ", ".join(filter(None, cells))
        pictures, plain = tuple(self._pictures), self._plain
        alone = bool(pictures) and not self._said
        self._words, self._pictures, self._plain, self._said = [], [], False, False
        if self._in_title:
            self.title, self._in_title = self.title or text, False
        elif text:
            self._add(Block(self._kind(plain, pictures), text, pictures, alone, self._group))

    def _kind(self, plain: bool, pictures: tuple[str, ...]) -> BlockKind:
        if self._open["heading"]:
            return "heading"
        if self._open["caption"]:
            return "caption"
        # A line wholly in italics under a picture is how Markdown writes its caption.
        if not plain and not pictures and self.blocks and self.blocks[-1].alone:
            return "caption"
        return "item" if self._open["item"] else "text"

    def _add(self, block: Block) -> None:
        if len(self.blocks) == MAX_BLOCKS:
            raise unreadable(self.path, f"has more than {MAX_BLOCKS} blocks", "fewer; split it")
        self.blocks.append(block)


def _unquoted(reference: str) -> str:
    """The part of a reference that may hold a file's name."""
    return unquote(reference[:4096].split("?")[0].split("#")[0])


def _repeats(alternative: str, name: str) -> bool:
    """Whether an alternative text says no more than the name of the file."""
    said, stem, whole = (
        _NOT_ALPHANUMERIC.sub("", text).casefold() for text in (alternative, os.path.splitext(name)[0], name)
    )
    return not said or said in (stem, whole)


# --- Markdown --------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark").enable("table")
    reader.validateLink = lambda url: True  # type: ignore[method-assign]  # what is no picture's path is left out later
    reader.core.ruler.at("inline", partial(_bounded_inline, reader))
    reader.inline.ruler.before("image", "wiki_picture", partial(_wiki_picture, reader))
    return reader


def _bounded_inline(reader: MarkdownIt, state: StateCore) -> None:
    """Markdown's own rule, but a paragraph of enormous length is taken as plain words."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) <= _LONGEST_INLINE:
            reader.inline.parse(token.content, reader, state.env, token.children)
        else:
            from markdown_it.token import Token

            token.children.append(Token("text", "", 0, content=token.content))


def _wiki_picture(reader: MarkdownIt, state: StateInline, silent: bool) -> bool:
    """`![[picture.jpg|words]]`; words that are a size, as `300x200`, are none."""
    if not state.src.startswith("![[", state.pos):
        return False
    match = _WIKI_PICTURE.match(state.src, state.pos)
    if not match:
        return False
    if not silent:
        token = state.push("image", "img", 0)
        words = match[2] or ""
        token.attrs = {"src": match[1].strip(), "alt": ""}
        token.content = "" if re.fullmatch(r"[\dx ]*", words) else words
        token.children = []
        reader.inline.parse(token.content, reader, state.env, token.children)
    state.pos = match.end()
    return True


def _front_matter(text: str) -> dict[str, str]:
    """Plain entries of a YAML header by lower-case name; empty when it is damaged or enormous."""
    import yaml

    if len(text) > _LONGEST_FRONT_MATTER:
        return {}
    try:
        # This loader makes nothing but text, lists and mappings.
        facts = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    if not isinstance(facts, dict):
        return {}
    return {key.lower(): value for key, value in facts.items() if isinstance(key, str) and isinstance(value, str)}
