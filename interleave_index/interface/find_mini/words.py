"""What of a text a model can read: the words that it was trained with, near words for others, singulars of plurals.

A text tower breaks a word that it never met into pieces, and still gives a vector. Here such words are found, so that
the user can be warned. Knows text and one file, no model; `tools/known_words.py` writes the file of the bundled model.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ...errors import ModelError

_IRREGULAR = {
    "children": "child", "feet": "foot", "geese": "goose", "mice": "mouse", "oxen": "ox", "people": "person",
    "teeth": "tooth",
}  # fmt: skip
_SHORTENED = ("ain", "can", "shan", "won")  # before 't
_LETTER, _MARK = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ", "\u0300-\u036f"
_BIT = re.compile(
    rf"(?P<word>[{_LETTER}0-9][{_LETTER}{_MARK}0-9]*)(?P<tail>['’](?:s|t|re|ve|ll|d|m)(?![{_LETTER}{_MARK}0-9]))?"
    rf"|(?P<other>[^\s{_LETTER}0-9]+)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+[a-z]{0,2}|\d+[a-z]\d+")  # 3, 30th, 5pm, 4x4
_JOINTS = "-‐‑'’"


class _Piece(NamedTuple):
    """One word of a text: `shown` as written, `key` to compare it by, `end` past an ending such as 's."""

    shown: str
    key: str
    start: int
    end: int
    foreign: bool
    negated: bool


@dataclass(frozen=True, slots=True)
class KnownWords:
    """The words that a model was trained with. All are lower-case and without accents, as its tokenizer makes them.

    Attributes:
        counts: how often each occurred.
        singulars: singular of the plural nouns among them.
    """

    counts: Mapping[str, int]
    singulars: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_file(cls, path: Path) -> KnownWords:
        """Read what `write` wrote.

        Raises:
            ModelError: the file cannot be read, or a line has another form.
        """
        counts: dict[str, int] = {}
        singulars: dict[str, str] = {}
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                word, count, *singular = line.split("\t")
                counts[word] = int(count)
                if singular:
                    (singulars[word],) = singular
        except OSError as error:
            raise ModelError(f"list of words {path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise ModelError(
                f"list of words {path} is damaged after {len(counts)} words, expected lines of a word, a tab, its "
                "count and for plurals a tab and the singular; copy the model again"
            ) from error
        return cls(counts, singulars)

    def write(self, path: Path) -> None:
        """Write the list, sorted, one word a line: word, tab, count, and for plurals tab, singular."""
        lines = []
        for word, count in self.counts.items():
            singular = f"\t{self.singulars[word]}" if word in self.singulars else ""
            lines.append(f"{word}\t{count}{singular}\n")
        path.write_text("".join(sorted(lines)), encoding="utf-8")

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a text that the model does not know, as they are written, in order, each once.

        Case, accents and endings ('s, n't, -s, -ing, -ed) do not count; parts of a hyphenated word count for
        themselves. Numbers, single letters and punctuation are always known. Characters of another script, and emoji,
        are one word as long as they follow each other.
        """
        words: dict[str, str] = {}
        for piece in _pieces(text):
            if not self._knows(piece):
                words.setdefault(piece.key, piece.shown)
        return tuple(words.values())

    def _knows(self, piece: _Piece) -> bool:
        if piece.foreign:
            return False
        word = piece.key
        if len(word) == 1 or word in self.counts or _NUMBER.fullmatch(word):
            return True
        if piece.negated and (word in _SHORTENED or word.removesuffix("n") in self.counts):
            return True
        return any(stem in self.counts for stem in (*_plural_stems(word), *_verb_stems(word)))

    def near(self, word: str, most: int = 3) -> tuple[str, ...]:
        """Known words that are spelt nearly like one word, likeliest first; empty where none is near.

        One letter may be added, lost, changed or swapped with its neighbour, two in words of six letters and more.
        Of words equally near, those with the same letters, the same beginning and of more frequent use come first.
        """
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        pieces = list(_pieces(word))
        if len(pieces) != 1 or pieces[0].foreign or len(pieces[0].key) < 3:
            return ()
        key = pieces[0].key
        edits = 1 if len(key) < 6 else 2
        near = process.extract(
            key, list(self.counts), scorer=OSA.distance, processor=None, score_cutoff=edits, limit=None
        )
        ranked = sorted(
            (_apart(key, other, distance, self.counts[other]), other) for other, distance, _ in near if other != key
        )
        return tuple(other for apart, other in ranked[:most] if apart <= ranked[0][0] + 1)

    def singular(self, word: str) -> str:
        """The singular of a plural noun that is known, in lower case; any other word as it is.

        A plural that hardly occurs in the singular (jeans, scissors), or means something else there (glasses), stays.
        """
        key = _plain(word)
        if key in self.singulars:
            return self.singulars[key]
        if key in self.counts:
            return word
        return next((stem for stem in _plural_stems(key) if stem in self.counts), word)


def without(text: str, words: Collection[str]) -> str:
    """The text with some of its words taken out, single blanks between the others.

    A word goes with its ending ('s), and with hyphens that joined it to others. Punctuation stays where it stands
    between words; empty where no word is left.

    >>> without("a photo of Bello's dog, Rex, in a sun-drenched park", ["bello", "Rex", "drenched"])
    'a photo of dog, in a sun park'
    """
    gone = {piece.key for word in words for piece in _pieces(word)}
    kept, at = [], 0
    for piece in _pieces(text):
        if piece.key not in gone:
            continue
        start, end = piece.start, piece.end
        while start > at and text[start - 1] in _JOINTS:
            start -= 1
        while end < len(text) and text[end] in _JOINTS:
            end += 1
        kept.append(text[at:start])
        at = end
    left = " ".join(" ".join((*kept, text[at:])).split())
    if not kept:
        return left
    left = re.sub(r"\s+(?=[,.;:!?])", "", left)
    left = re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", left).lstrip(" ,;:")
    return left if next(_pieces(left), None) else ""


def words_of(text: str) -> Iterator[str]:
    """The words of a text as a list of known words holds them: no numbers, single letters, endings or other scripts."""
    for piece in _pieces(text):
        if not (piece.foreign or piece.negated or len(piece.key) == 1 or _NUMBER.fullmatch(piece.key)):
            yield piece.key


def _pieces(text: str) -> Iterator[_Piece]:
    for match in _BIT.finditer(text):
        if match["word"] is not None:
            tail = (match["tail"] or "")[1:].lower()
            yield _Piece(match["word"], _plain(match["word"]), match.start(), match.end(), False, tail == "t")
            continue
        at = match.start()
        for foreign, run in groupby(match["other"], _is_foreign):
            shown = "".join(run)
            if foreign and any(not _only_joins(character) for character in shown):
                key = unicodedata.normalize("NFC", shown).lower()
                yield _Piece(shown, key, at, at + len(shown), True, False)
            at += len(shown)


def _plain(word: str) -> str:
    """A word as the tokenizer sees it."""
    if word.isascii():
        return word.lower()
    apart = unicodedata.normalize("NFD", word)
    return "".join(character for character in apart if unicodedata.category(character) != "Mn").lower()


def _is_foreign(character: str) -> bool:
    """Whether a character that is no Latin letter, digit or blank means something, unlike punctuation."""
    if ord(character) < 0x250:
        return False
    kind = unicodedata.category(character)
    if kind in ("Sk", "Cf"):  # colours of skin; joiners and tags within an emoji
        return ord(character) >= 0x1F3FB or character in "\u200c\u200d"
    return kind[0] in "LMN" or kind in ("So", "Cn", "Co", "Cs")  # new emoji are unassigned in older tables


def _only_joins(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Me", "Mc", "Cf")


def _plural_stems(word: str) -> Iterator[str]:
    """What a word may be the plural of; three letters or more."""
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    elif word.endswith("men"):
        yield word[:-3] + "man"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        yield word[:-1]
        if word.endswith("ies"):
            yield word[:-3] + "y"
        elif word.endswith("ves"):
            yield from (word[:-3] + "f", word[:-3] + "fe")
        elif len(word) > 4 and word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
            yield word[:-2]


def _verb_stems(word: str) -> Iterator[str]:
    """What a word in -ing or -ed may be a form of; three letters or more."""
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2:
            yield from (stem, stem + "e")
            if stem[-1] == stem[-2]:
                yield stem[:-1]
            if ending == "ed" and stem.endswith("i"):
                yield stem[:-1] + "y"


def _apart(word: str, other: str, distance: float, count: int) -> float:
    same_letters = sorted(word) == sorted(other)
    return distance + 0.5 * (word[0] != other[0]) - 0.5 * same_letters - 0.2 * math.log10(max(count, 1))
