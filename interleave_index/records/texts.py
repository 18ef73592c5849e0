"""Text sources beside the photos, cut into passages, and the passages that answer a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

PICTURE_MARK = "\ufffc"  # stands in a passage's text where a picture stands: Unicode's object replacement character

TextKind = Literal["embedded", "xmp", "txt", "takeout", "captions", "markdown", "html"]
TEXT_KINDS: tuple[TextKind, ...] = ("embedded", "xmp", "txt", "takeout", "captions", "markdown", "html")

Span = tuple[int, int]
SHOWN_TEXT = 60  # characters in a console


@dataclass(frozen=True, slots=True)
class PassageText:
    """One piece of a text source.

    Attributes:
        text: plain words, blanks folded, with `PICTURE_MARK` where a picture stands among them.
        pictures: absolute paths of these pictures, in their order.
        about: absolute paths of photos that the text describes without standing around them, as a caption does.
        phrases: noun phrases as half-open spans of characters of `text`, ascending, not overlapping.
    """

    text: str
    pictures: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    phrases: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceText:
    """What one text source says: the passages of a sidecar or a page, or what is written inside a photo's file.

    Attributes:
        title: of a page, or None.
        language: as the source declares it, such as ``en`` or ``de-CH``, or None.
    """

    kind: TextKind
    title: str | None = None
    language: str | None = None
    passages: tuple[PassageText, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of the index with its source.

    Attributes:
        document_id, kind, title, language: of the source; `ordinal` is the passage's place in it, from 0.
        path: of the source; of the photo, for text that is written inside a photo's file.
        text, phrases: as in `PassageText`.
        photos: ids of the indexed photos that it shows or is about, in order, each once.
        inline: ids of the pictures in the order of the marks in `text`; None for one that is not indexed.
    """

    id: int
    document_id: int
    kind: str
    path: str | None
    title: str | None
    language: str | None
    ordinal: int
    text: str
    phrases: tuple[Span, ...] = ()
    photos: tuple[int, ...] = ()
    inline: tuple[int | None, ...] = ()

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= SHOWN_TEXT else f"{self.text[: SHOWN_TEXT - 3]}..."
        return f"Passage({self.id}, {self.kind}, {self.path!r}, {text!r})"

    def to_json(self) -> dict[str, Any]:
        """The passage as plain JSON values; see docs/cli.md."""
        return {
            "passage_id": self.id,
            "document_id": self.document_id,
            "kind": self.kind,
            "path": self.path,
            "title": self.title,
            "language": self.language,
            "ordinal": self.ordinal,
            "text": self.text,
            "phrases": [list(span) for span in self.phrases],
            "photo_ids": list(self.photos),
            "pictures": list(self.inline),
        }


@dataclass(frozen=True, slots=True)
class TextMatch:
    """What the texts of a photo added to its score.

    Attributes:
        added: of the score, by the passage and the words together; above 0.
        passage: the one whose meaning is nearest to the query, where one is near enough to count; else one that holds
            the words, or None where only the name of the file does.
        words: those of the query that occur in the photo's texts or in its file and folder names, as they were asked.
    """

    added: float
    passage: Passage | None
    words: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "added": self.added,
            "passage": None if self.passage is None else self.passage.to_json(),
            "words": list(self.words),
        }


@dataclass(frozen=True, slots=True)
class PhraseHit:
    """Which phrase of a passage answers one entity of a query.

    Attributes:
        text: the entity as an answer calls it.
        span: half-open characters of the passage's text; None where it has no phrases.
        score: cosine less what captions in general score there, -1 to 1.
    """

    text: str
    span: Span | None
    score: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"text": self.text, "span": None if self.span is None else list(self.span), "score": self.score}


@dataclass(frozen=True, slots=True)
class TextHit:
    """One ranked passage; `words` as in `TextMatch`, one `PhraseHit` for each entity of the query."""

    rank: int
    passage: Passage
    score: float
    entities: tuple[PhraseHit, ...] = ()
    words: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The hit as plain JSON values; see docs/cli.md."""
        return {
            "rank": self.rank,
            "score": self.score,
            **self.passage.to_json(),
            "entities": [entity.to_json() for entity in self.entities],
            "words": list(self.words),
        }
