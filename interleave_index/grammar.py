"""The query as an ordered list of parts, and its string form. Knows no models, files or SQL.

    query    = { text | [ "-" ] bracket [ "^" number ] }
    bracket  = "[" ( phrase | "image:" source { "#" key "=" value } | "photo:" id | "region:" id "/" ordinal ) "]"
    key      = "box" | "point" | "mask"

A backslash takes the meaning from the character after it: one of ``[ ] \\ ^ # :`` or a blank.
Before any other character it is itself. The whole grammar, with examples, is in docs/query.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from .errors import EmptyQuery, InputError, QueryError
from .records import Entity, Not, Part, PhotoRef, Picture, RegionRef, Term
from .records.parts import LARGEST_WEIGHT, SMALLEST_WEIGHT
from .terms import KINDS, checked, checked_term, is_undecoded, keys, undecoded_words, written

_SPECIAL = "[]\\^#:"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
LONGEST_PIECE = 60  # characters of a query that a message repeats before it shows the query
_DIGITS = re.compile(r"[0-9]{1,18}")
_MARK = re.compile(r"\s*#\w+=")
_BETWEEN_MARKS = re.compile(r"\s+(?=#\w+=)")


def is_mark(word: str) -> bool:
    """Whether a word stands for a mark on the picture that is looked at.

    >>> is_mark("#point=40,60"), is_mark("#1 dog")
    (True, False)
    """
    return _MARK.match(word) is not None


class Query:
    """An ordered request: text and terms mixed, as they would stand in a sentence.

    Frozen, iterable, equal by value. Strings are plain text, taken as they are: use `Query.parse` for the
    bracket form. Blanks are folded, neighbouring texts are joined by one, and empty texts fall away.

    Args:
        parts: text, Entity, Picture, PhotoRef, RegionRef or Not, in order.
    Raises:
        EmptyQuery: no part is left.
        InputError: a part has a value that cannot mean anything, such as a box of no size.

    >>> str(Query("a man with", Entity("a dog", weight=2), Not("a cat")))
    'a man with [a dog]^2 -[a cat]'
    """

    __slots__ = ("parts",)
    parts: tuple[Part, ...]

    def __init__(self, *parts: Part) -> None:
        kept: list[Part] = []
        for part in map(checked, parts):
            if isinstance(part, str) and kept and isinstance(kept[-1], str):
                kept[-1] = f"{kept[-1]} {part}".strip()
            elif part != "":
                kept.append(part)
        if not kept:
            raise EmptyQuery("query is empty, expected text, or a part such as [a dog] or [image:dog.jpg]")
        object.__setattr__(self, "parts", tuple(kept))

    @classmethod
    def parse(cls, text: str) -> Query:
        """Read the string form.

        Raises:
            QueryError: the string does not parse; its `column` is where the trouble starts.
            EmptyQuery: nothing but blanks.

        >>> Query.parse("[a dog] on a beach").parts
        (Entity(text='a dog', weight=1.0), 'on a beach')
        """
        return cls(*_Parser(text).parts())

    @classmethod
    def on_picture(cls, words: Iterable[str], source: str) -> Query:
        """Read words of which some are marks on one picture: ``#point=40,60;-5,6``, ``#box=…`` or ``#mask=…``.

        Args:
            words: joined by blanks as a query; one that begins with such a mark is a part of the picture.
            source: path or URL of the picture.
        Raises:
            as `parse`, with the column in the query that the words stand for.

        >>> str(Query.on_picture(["#point=40,60;-5,6", "[a mug]"], "kitchen.jpg"))
        '[image:kitchen.jpg#point=40,60;-5,6] [a mug]'
        """
        name = written(Picture(source))[1:-1]
        pieces = [piece for word in words for piece in _BETWEEN_MARKS.split(word)]
        return cls.parse(" ".join(f"[{name}{piece.strip()}]" if is_mark(piece) else piece for piece in pieces))

    @property
    def entities(self) -> tuple[Term, ...]:
        """The bracketed parts that are wanted, in order."""
        return tuple(part for part in self.parts if not isinstance(part, str | Not))

    @property
    def negatives(self) -> tuple[Term, ...]:
        """What should not be in the photo, in order."""
        return tuple(part.term for part in self.parts if isinstance(part, Not))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a query is frozen, cannot set {name!r}; make a new Query")

    def __reduce__(self) -> tuple[type[Query], tuple[Part, ...]]:
        return Query, self.parts

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and keys(self.parts) == keys(other.parts)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Query({', '.join(map(repr, self.parts))})"

    def __str__(self) -> str:
        return " ".join(map(written, self.parts))


def point_at(error: QueryError) -> str:
    """Two lines: the query, and a caret under the column where the trouble starts.

    >>> print(point_at(QueryError("stray ]", query="dog]", column=4)))
    dog]
       ^
    """
    line = "".join(c if c.isprintable() else " " for c in error.query)
    return f"{line}\n{' ' * (error.column - 1)}^"


# --- reading ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Char:
    """One character after escapes: `literal` when a backslash stood before it, `at` its column."""

    value: str
    literal: bool
    at: int

    def means(self, special: str) -> bool:
        return self.value == special and not self.literal


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.chars = list(_scan(text))
        self.position = 0
        self.closed = 0  # position behind the last bracket and its weight

    def parts(self) -> Iterator[Part]:
        plain: list[str] = []
        while self.position < len(self.chars):
            negative = self._negative_ahead()
            if negative or self.chars[self.position].means("["):
                yield "".join(plain)
                plain.clear()
                yield self._bracket(negative)
            else:
                plain.append(self._plain())
        yield "".join(plain)

    def _negative_ahead(self) -> bool:
        char, following = self.chars[self.position], self._peek(1)
        if not (char.means("-") and following is not None and following.means("[")):
            return False
        before = self._peek(-1)
        if before is not None and not before.value.isspace() and self.position != self.closed:
            self._fail(
                "-[ inside a word can mean two things, expected a blank before - to leave it out, "
                "or a blank after - to keep it",
                char.at,
            )
        return True

    def _plain(self) -> str:
        char = self.chars[self.position]
        if char.means("]"):
            self._fail(r"] closes nothing, expected [ before it; write \] for the character", char.at)
        if char.means("^"):
            self._fail(
                r"weight on plain text, expected it behind a bracket such as [a dog]^2; "
                r"write \^ for the character",
                char.at,
            )
        self._check_decoded(char)
        self.position += 1
        return char.value

    def _bracket(self, negative: bool) -> Part:
        start = self.position + negative
        opened = self.chars[start].at
        end = start + 1
        while end < len(self.chars) and not self.chars[end].means("]"):
            if self.chars[end].means("["):
                self._fail(r"[ inside brackets, expected ] first; write \[ for the character", self.chars[end].at)
            if self.chars[end].means("^"):
                self._fail(
                    r"^ inside brackets, expected the weight behind ] as in [a dog]^2; "
                    r"write \^ for the character",
                    self.chars[end].at,
                )
            end += 1
        if end == len(self.chars):
            self._fail(r"[ is never closed, expected ]; write \[ for the character", opened)
        self.position = end + 1
        term = self._term(self.chars[start + 1 : end], opened)
        weight = self._weight()
        self.closed = self.position
        term = term if weight is None else replace(term, weight=weight)
        return Not(term) if negative else term

    def _weight(self) -> float | None:
        mark = self._peek(0)
        if mark is None or not mark.means("^"):
            return None
        found = _NUMBER.match(self.text, mark.at + 1)
        end = mark.at + 1 + (len(found.group()) if found else 0)
        following = self.text[end : end + 1]
        if found is None or following.isalnum() or following in tuple("._^"):
            self._fail("weight is not a number, expected one such as [a dog]^2 or [a dog]^0.5", mark.at + 1)
        value = float(found.group())
        if not SMALLEST_WEIGHT <= value <= LARGEST_WEIGHT:
            self._fail(
                f"weight is {_shown(found.group())}, expected 0.001 to 1000; use -[...] for what should be absent",
                mark.at + 1,
            )
        self.position += 1 + len(found.group())
        return value

    def _term(self, inner: list[_Char], opened: int) -> Term:
        inner = _stripped(inner)
        if not _text(inner).strip():
            self._fail("entity is empty, expected a phrase such as [a dog]", opened)
        for kind in KINDS:
            head = inner[: len(kind)]
            if _text(head).lower() == kind and not any(c.literal for c in head):
                return self._reference(kind, inner[len(kind) :], inner[0].at)
        for char in inner:
            self._check_decoded(char)
        return Entity(_text(inner))

    def _reference(self, kind: str, rest: list[_Char], at: int) -> Term:
        if kind == "image:":
            return self._picture(rest, at)
        first, slash, second = _text(_stripped(rest)).partition("/")
        if kind == "photo:" and _DIGITS.fullmatch(first) and not slash:
            return self._guarded(at, lambda: PhotoRef(int(first)))
        if kind == "region:" and _DIGITS.fullmatch(first) and _DIGITS.fullmatch(second):
            return self._guarded(at, lambda: RegionRef(int(first), int(second)))
        form = "[photo:1234]" if kind == "photo:" else "[region:1234/7]"
        self._fail(f"{kind} is followed by {_shown(_text(rest))!r}, expected a form such as {form}", at)

    def _picture(self, rest: list[_Char], at: int) -> Term:
        source, *settings = _split(rest)
        fields: dict[str, Any] = {}
        for setting in settings:
            key, equals, value = _text(setting[1:]).partition("=")
            self._setting(key.strip(), equals, setting[len(key) + 2 :], value, setting[0].at, fields)
            self._guarded(setting[0].at, lambda: Picture("any", **fields))  # points at the setting that is wrong
        name = _text(_stripped(source))
        if not name:
            self._fail("picture has no name, expected a form such as [image:dog.jpg]", at)
        return self._guarded(at, lambda: Picture(name, **fields))

    def _setting(self, key: str, equals: str, chars: list[_Char], value: str, at: int, fields: dict[str, Any]) -> None:
        if key == "array":
            self._fail(
                "a picture or mask given as an array has no string form, expected a path; keep the query in Python", at
            )
        if key not in ("box", "point", "mask") or not equals:
            self._fail(
                rf"unknown #{_shown(key or value)}, expected #box=, #point= or #mask=; write \# for the character", at
            )
        if key in fields or (key == "point" and "points" in fields):
            self._fail(f"#{key} is given twice, expected it once", at)
        if key == "mask":
            fields["mask"] = _text(_stripped(chars)) or self._fail(
                "#mask= names no file, expected a form such as #mask=mask.png", at
            )
        elif key == "box":
            fields["box"] = self._numbers(value, 4, "#box=10,20,200,180", at)
        else:
            items = [item.strip() for item in value.split(";")]
            fields["points"], fields["background"] = (
                tuple(
                    self._numbers(item.removeprefix("-"), 2, "#point=40,60;-5,6", at)
                    for item in items
                    if item.startswith("-") == behind
                )
                for behind in (False, True)
            )

    def _numbers(self, value: str, count: int, form: str, at: int) -> tuple[float, ...]:
        items = [item.strip() for item in value.split(",")]
        if len(items) != count or not all(_NUMBER.fullmatch(item) for item in items):
            self._fail(f"{_shown(value.strip())!r} is not {count} numbers, expected a form such as {form}", at)
        return tuple(float(item) for item in items)

    def _guarded(self, at: int, make: Callable[[], Term]) -> Term:
        try:
            return checked_term(make())
        except InputError as error:
            raise QueryError(str(error), query=self.text, column=at + 1) from error

    def _check_decoded(self, char: _Char) -> None:
        if is_undecoded(char.value):
            self._fail(f"{undecoded_words(char.value)}; only the name of a picture may hold it", char.at)

    def _peek(self, ahead: int) -> _Char | None:
        at = self.position + ahead
        return self.chars[at] if 0 <= at < len(self.chars) else None

    def _fail(self, message: str, at: int) -> NoReturn:
        raise QueryError(message, query=self.text, column=at + 1)


def _scan(text: str) -> Iterator[_Char]:
    at = 0
    while at < len(text):
        following = text[at + 1 : at + 2]
        if text[at] == "\\" and following and (following in _SPECIAL or following.isspace()):
            yield _Char(following, True, at)
            at += 2
        else:
            yield _Char(text[at], False, at)
            at += 1


def _shown(said: str) -> str:
    """What a message repeats of a query; a long piece is cut, for the query stands behind the message."""
    return said if len(said) <= LONGEST_PIECE else f"{said[: LONGEST_PIECE - 1]}…"


def _text(chars: list[_Char]) -> str:
    return "".join(char.value for char in chars)


def _stripped(chars: list[_Char]) -> list[_Char]:
    kept = [i for i, char in enumerate(chars) if char.literal or not char.value.isspace()]
    return chars[kept[0] : kept[-1] + 1] if kept else []


def _split(chars: list[_Char]) -> list[list[_Char]]:
    """Cut before every # that is not escaped; the first piece may be empty."""
    marks = [i for i, char in enumerate(chars) if char.means("#")]
    return [chars[start:end] for start, end in zip([0, *marks], [*marks, len(chars)], strict=True)]
