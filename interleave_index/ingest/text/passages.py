"""From the blocks of a page to its passages.

A passage is a heading with the paragraph after it, a paragraph, or list items and table rows that follow each other,
with the pictures that stand there. It has at most `MAX_TOKENS` tokens: longer ones are cut at the ends of sentences,
and within a sentence of more between words. Passages do not overlap: every word and every picture stands in one, so
that a page is not found twice for the same words. Only a heading is said again, with pictures without other words.

A token is what a text tower is likely to count as one: up to eight letters or digits in a row, one sign of writing
without blanks (Chinese, Japanese), any other visible sign, or a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ...records.texts import PICTURE_MARK, PassageText
from .phrases import noun_phrases
from .words import says_something, unreadable

MAX_TOKENS = 60
MAX_PICTURES = 8  # of one passage
MAX_PASSAGES = 10_000  # of one source

_TOKEN = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{1,8}|[^\w\s]|_"
)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’»)\]]*\s+|(?<=[。！？])")
_ENDS = tuple(".!?…:;。！？：")

BlockKind = Literal["heading", "text", "item", "caption", "rule"]


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of a page in the order of reading.

    Attributes:
        kind: `item` is a list item or a table row; `caption` belongs to the pictures beside it; `rule` has no text and
            parts what stands before it from what comes after.
        text: blanks folded, `PICTURE_MARK` where a picture stands.
        pictures: paths of these, in their order.
        alone: whether pictures stand here without words but their alternative texts.
        group: which list or table an item is of.
    """

    kind: BlockKind
    text: str = ""
    pictures: tuple[str, ...] = ()
    alone: bool = False
    group: int = 0


def tokens(text: str) -> int:
    """How many tokens a text has.

    >>> tokens("Two dogs, running."), tokens("photograph \ufffc")
    (5, 3)
    """
    return len(_TOKEN.findall(text))


def cut(
    blocks: Sequence[Block],
    path: str,
    *,
    title: str | None = None,
    about: tuple[str, ...] = (),
    language: str | None = None,
) -> tuple[PassageText, ...]:
    """Passages of a page, in its order; pictures that no words stand near are left out.

    Args:
        path: of the source, for messages.
        title: said with pictures that no other words stand near.
        about: the photos that each passage describes.
        language: as the source declares it; decides how noun phrases are found.
    Raises:
        TextUnreadable: more than `MAX_PASSAGES`.
    """
    cutter = _Cutter(title or "")
    drafts = cutter.drafts(blocks)
    passages: list[PassageText] = []
    for draft in drafts:
        if len(passages) == MAX_PASSAGES:
            raise unreadable(path, f"has more than {MAX_PASSAGES} passages", "fewer; split it")
        passages.append(draft.passage(about, language))
    return tuple(passages)


def cut_text(text: str, *, about: tuple[str, ...] = (), language: str | None = None) -> tuple[PassageText, ...]:
    """Passages of one paragraph without pictures, blanks folded; empty for one that says nothing."""
    if not says_something(text):
        return ()
    return tuple(
        PassageText(piece, about=about, phrases=noun_phrases(piece, language)) for piece in pieces(text, MAX_TOKENS)
    )


def pieces(text: str, first: int) -> Iterator[str]:
    """A text in pieces of at most `MAX_TOKENS` tokens, the first of at most `first`, cut at sentences if possible."""
    limit = first
    held, count = "", 0
    for sentence in _sentences(text):
        more = tokens(sentence)
        if held and count + more > limit:
            yield held
            held, count, limit = "", 0, MAX_TOKENS
        if more > limit:
            *whole, sentence = _parts(sentence, limit)
            yield from whole
            more, limit = tokens(sentence), MAX_TOKENS
        held, count = (f"{held} {sentence}" if held else sentence), count + more
    if held:
        yield held


def _sentences(text: str) -> Iterator[str]:
    start = 0
    for end in _SENTENCE_END.finditer(text):
        sentence = text[start : end.end()].strip()
        start = end.end()
        if sentence:
            yield sentence
    if text[start:].strip():
        yield text[start:].strip()


def _parts(sentence: str, first: int) -> list[str]:
    """A long sentence in parts of at most `MAX_TOKENS` tokens, the first of `first`, cut between words if possible."""
    parts: list[str] = []
    start, limit = 0, first
    begun: list[int] = []  # where the tokens since `start` begin
    for token in _TOKEN.finditer(sentence):
        if len(begun) == limit:
            at = next((at for at in reversed([*begun[1:], token.start()]) if sentence[at - 1].isspace()), token.start())
            parts.append(sentence[start:at].rstrip())
            start, limit = at, MAX_TOKENS
            begun = [position for position in begun if position >= at]
        begun.append(token.start())
    return [*parts, sentence[start:]]


@dataclass(slots=True)
class _Draft:
    """A passage that still grows."""

    kind: BlockKind
    text: str = ""
    pictures: list[str] = field(default_factory=list)
    group: int = 0

    def passage(self, about: tuple[str, ...], language: str | None) -> PassageText:
        return PassageText(self.text, tuple(self.pictures), about, noun_phrases(self.text, language))


@dataclass(slots=True)
class _Cutter:
    """Goes over the blocks once.

    Attributes:
        context: the last heading, or the title before the first: said with pictures that have no other words.
        heading: what stands before the next words: headings that no words came after yet.
        waiting: pictures that stand alone, whose words are still to come; `waiting_text` has their places.
        draft: the passage that the next block may still join.
    """

    context: str
    heading: str = ""
    heading_pictures: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    waiting_text: str = ""
    draft: _Draft | None = None

    def drafts(self, blocks: Sequence[Block]) -> Iterator[_Draft]:
        for position, block in enumerate(blocks):
            following = blocks[position + 1] if position + 1 < len(blocks) else None
            if block.kind == "rule":
                yield from self._end_section()
            elif block.kind == "heading":
                yield from self._heading(block)
            elif block.alone:
                yield from self._pictures(block, following is not None and following.kind == "caption")
            elif says_something(block.text):
                yield from self._words(block)
        yield from self._end_section()

    def _heading(self, block: Block) -> Iterator[_Draft]:
        if tokens(block.text) > MAX_TOKENS // 2:  # as long as a paragraph: it is one
            yield from self._end_section()
            yield from self._words(Block("text", block.text, block.pictures))
            return
        # Headings that follow each other without words between stand together, as chapter and section do.
        alone = self.heading if self.heading and not self.waiting and self.draft is None else ""
        if not alone or tokens(alone) + tokens(block.text) > MAX_TOKENS // 2:
            yield from self._end_section()
            alone = ""
        self.heading = joined(alone, block.text)
        self.heading_pictures += block.pictures
        if says_something(block.text):
            self.context = " ".join(self.heading.replace(PICTURE_MARK, " ").split())

    def _pictures(self, block: Block, caption_follows: bool) -> Iterator[_Draft]:
        """Pictures without words join their caption, else the words before them, else those after."""
        draft = self.draft
        if draft is not None and draft.kind != "caption" and not caption_follows and self._fits(draft, block):
            draft.text += f" {block.text}"
            draft.pictures += block.pictures
            return
        yield from self._end_draft()
        if self.waiting and len(self.waiting) + len(block.pictures) > MAX_PICTURES:
            yield from self._end_section()
        self.waiting += block.pictures
        self.waiting_text = f"{self.waiting_text} {block.text}".strip()
        if tokens(self.waiting_text) > MAX_TOKENS // 3:
            yield from self._end_section()

    def _words(self, block: Block) -> Iterator[_Draft]:
        draft = self.draft
        follows = draft is not None and draft.kind == block.kind == "item" and draft.group == block.group
        if draft is not None and follows and not self.waiting and self._fits(draft, block):
            draft.text += (" " if draft.text.endswith(_ENDS) else "; ") + block.text
            draft.pictures += block.pictures
            return
        yield from self._end_draft()
        for piece in self._pieces(block):
            yield from self._end_draft()
            self.draft = piece

    @staticmethod
    def _fits(draft: _Draft, block: Block) -> bool:
        together = tokens(draft.text) + 1 + tokens(block.text)
        return together <= MAX_TOKENS and len(draft.pictures) + len(block.pictures) <= MAX_PICTURES

    def _pieces(self, block: Block) -> Iterator[_Draft]:
        """The block's text in drafts; headings and pictures that wait are put before the first."""
        waiting_text = self.waiting_text.replace(f" ({block.text})", "")  # a caption often repeats the alternative text
        before = joined(self.heading, waiting_text)
        join = _spaced if waiting_text else joined
        pictures = [*self.heading_pictures, *self.waiting]
        self._forget_waiting()
        rest = [*pictures, *block.pictures]
        for piece in pieces(block.text, MAX_TOKENS - tokens(before)):
            text = join(before, piece)
            marks = text.count(PICTURE_MARK)
            yield from self._of(block.kind, text, rest[:marks], block.group)
            before, rest = "", rest[marks:]

    def _of(self, kind: BlockKind, text: str, pictures: list[str], group: int = 0) -> Iterator[_Draft]:
        """One draft, or several where more pictures stand than one passage may hold."""
        while text:
            at = _after_mark(text, MAX_PICTURES) if len(pictures) > MAX_PICTURES else len(text)
            part, shown = text[:at].strip(), pictures[:MAX_PICTURES]
            if says_something(part):
                yield _Draft(kind, part, shown, group)
            elif shown and self.context:
                yield _Draft(kind, joined(self.context, part), shown, group)
            text, pictures = text[at:].strip(), pictures[MAX_PICTURES:]

    def _end_draft(self) -> Iterator[_Draft]:
        if self.draft is not None and says_something(self.draft.text):
            yield self.draft
        self.draft = None

    def _end_section(self) -> Iterator[_Draft]:
        """Close what is open; headings and pictures without words after them stand for themselves."""
        yield from self._end_draft()
        pictures = [*self.heading_pictures, *self.waiting]
        text = joined(self.heading, self.waiting_text)
        if pictures and not says_something(text):
            text = joined(self.context, text)
        self._forget_waiting()
        for piece in pieces(text, MAX_TOKENS):
            marks = piece.count(PICTURE_MARK)
            yield from self._of("text", piece, pictures[:marks])
            pictures = pictures[marks:]

    def _forget_waiting(self) -> None:
        self.heading, self.heading_pictures, self.waiting, self.waiting_text = "", [], [], ""


def _after_mark(text: str, number: int) -> int:
    at = 0
    for _ in range(number):
        at = text.index(PICTURE_MARK, at) + 1
    return at


def _spaced(first: str, second: str) -> str:
    return f"{first} {second}".strip()


def joined(first: str, second: str) -> str:
    """Two texts as one; a heading or title gets a full stop, so that it does not run into the words after it.

    >>> joined("Rome", "We saw the Forum."), joined("Why?", "So."), joined("", "a")
    ('Rome. We saw the Forum.', 'Why? So.', 'a')
    """
    if not first or not second:
        return first or second
    stop = "" if first.endswith((*_ENDS, PICTURE_MARK)) else "."
    return f"{first}{stop} {second}"
