"""The words of a query as they stand, and how much of them occurs in texts and file names. Needs no model.

A word counts by how rare it is: idf = ln(1 + (N - n + 1/2) / (n + 1/2)) for n of N rows that hold it, as in BM25. What
a row holds of a query is a share, 0 to 1: the sum of the idf of the words that occur over that of all words asked.
Words that the model does not know, and numbers, make a share of their own, since for those there is no other evidence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..grammar import Query
from ..records import Entity, Floats

if TYPE_CHECKING:
    from ..storage.store import Store

Ids = NDArray[np.int64]
NONE: Ids = np.empty(0, np.int64)
MOST_WORDS = 32  # of one query that are looked up
LEAST_COMMON, COMMON_SHARE = 2_000, 20  # a word in more rows than this, and than one in so many, tells nothing
NO_LIMIT = 2**31
WORD_NATS = 2.9  # where every known word occurs
UNKNOWN_NATS = 14.4  # where every word that the model does not know occurs; more than photos differ by
_WORD = re.compile(r"[^\W_]+")
_LEFT, _RIGHT = "\N{LEFT DOUBLE QUOTATION MARK}", "\N{RIGHT DOUBLE QUOTATION MARK}"
# With a minus before it, a phrase is not one that must occur.
_QUOTED = re.compile(rf'(?<![-\u2212])(?:"([^"]+)"|{_LEFT}([^{_RIGHT}]+){_RIGHT})')
_NUMBER = re.compile(r"\d{3,}|\d+\D|\D+\d")  # a model reads small numbers, and tells no large ones apart
_FUNCTION_WORDS = """
    a about above across after against all along also am among an and any are around as at away be because been
    before behind being below beneath beside between beyond both but by can could did do does down during each
    either every few for from had has have he her here hers him his how i if image images in inside into is it its
    itself just like many may me might more most much must my near next no nor not of off on one only onto or other
    our out outside over own per photo photos picture pictures she should so some such than that the their them then
    there these they this those through to together too toward towards two under up upon us very was we were what
    when where which while who whom whose will with within without would you your
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True, slots=True)
class AskedWords:
    """The words of a query that are looked up.

    Attributes:
        known, unknown: content words as they were written, each once; `unknown` are those that the model has not met,
            and numbers.
        required: phrases in quotation marks, which must occur.
    """

    known: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[str, ...]:
        """Known and unknown words."""
        return self.known + self.unknown


def asked_words(query: Query, unknown: Collection[str]) -> AskedWords:
    """The words of a query's texts and text entities; negatives ask for none.

    Args:
        unknown: words that the model has not met, as they were written.

    >>> from interleave_index.grammar import Query
    >>> asked_words(Query.parse('[Grandma Ilse] at the "red door" in IMG_2043'), ["Ilse"])
    AskedWords(known=('Grandma', 'red', 'door', 'IMG'), unknown=('Ilse', '2043'), required=('red door',))
    """
    texts = [part.text if isinstance(part, Entity) else part for part in query.parts if isinstance(part, str | Entity)]
    strange = {word.casefold() for text in unknown for word in _words(text)}
    found: dict[str, str] = {}
    for text in texts:
        for word in _words(text):
            if word.lower() not in FUNCTION_WORDS:
                found.setdefault(word.casefold(), word)
    kept = list(found.items())[:MOST_WORDS]
    is_strange = [folded in strange or _NUMBER.match(folded) is not None for folded, _ in kept]
    quoted = [next(filter(None, groups)).strip() for text in texts for groups in _QUOTED.findall(text)]
    return AskedWords(
        tuple(word for (_, word), odd in zip(kept, is_strange, strict=True) if not odd),
        tuple(word for (_, word), odd in zip(kept, is_strange, strict=True) if odd),
        tuple(dict.fromkeys(phrase for phrase in quoted if _WORD.search(phrase))),
    )


def _words(text: str) -> list[str]:
    """Words of a text, an accent and its letter as one character: an accent of its own would part them.

    >>> _words("Fe\N{COMBINING CIRCUMFLEX ACCENT}te_2043") == ["F\N{LATIN SMALL LETTER E WITH CIRCUMFLEX}te", "2043"]
    True
    """
    return _WORD.findall(unicodedata.normalize("NFC", text))


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Rows (photos or passages) that hold words of a query.

    Attributes:
        ids: (n,) int64, ascending, rows that hold at least one word.
        known, unknown: (n,) float32, share of the known and of the unknown words that they hold, 0 to 1.
        held: by word, the ascending ids of the rows that hold it.
    """

    ids: Ids
    known: Floats
    unknown: Floats
    held: dict[str, Ids]

    def nats(self, ids: Ids) -> Floats:
        """(n,) float32: what the words that these rows hold are worth, in nats of the query's log-odds."""
        worth = np.zeros(len(ids), np.float32)
        if len(self.ids):
            places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            there = self.ids[places] == ids
            worth[there] = (WORD_NATS * self.known[places] + UNKNOWN_NATS * self.unknown[places])[there]
        return worth

    def words_of(self, row_id: int) -> tuple[str, ...]:
        """Words of the query that a row holds."""
        return tuple(
            word
            for word, ids in self.held.items()
            if (place := np.searchsorted(ids, row_id)) < len(ids) and ids[place] == row_id
        )


NOTHING = Occurrences(NONE, np.zeros(0, np.float32), np.zeros(0, np.float32), {})


# By word the ascending ids of the rows that hold it; None for too many to tell anything.
Held = Mapping[str, Ids | None]


def told_by(store: Store, words: AskedWords) -> Held:
    """The passages that hold each word of a query."""
    return store.texts.all_holding("passage", words.every, _common(len(store.texts.links().passage_ids)))


def in_passages(told: Held, words: AskedWords, passage_ids: Ids) -> Occurrences:
    """Which of these passages (ascending ids) hold words of a query; `told` as `told_by` gives it."""
    own = {word: None if ids is None else among(ids, passage_ids) for word, ids in told.items()}
    return _shares(words, own, len(passage_ids))


def in_photos(store: Store, told: Held, words: AskedWords) -> Occurrences:
    """Which photos hold words of a query, in the names of their files or in their passages; see `in_passages`."""
    links, photos = store.texts.links(), store.texts.count_words("photo")
    named = store.texts.all_holding("photo", words.every, _common(photos))
    held: dict[str, Ids | None] = {}
    for word in words.every:
        by_name, by_text = named[word], told[word]
        held[word] = None if by_name is None or by_text is None else np.union1d(by_name, links.photos_of(by_text))
    return _shares(words, held, photos)


def among(values: Ids, ids: Ids) -> Ids:
    """Those of the values that stand among some ascending ids, in their order.

    >>> among(np.array([9, 2, 5]), np.array([2, 3, 9])).tolist()
    [9, 2]
    """
    if not len(ids):
        return NONE
    places = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    found: Ids = values[ids[places] == values]
    return found


def required_photos(store: Store, words: AskedWords) -> Ids | None:
    """Photos that hold every phrase that must occur, ascending; None where none is required."""
    kept: Ids | None = None
    links = store.texts.links()
    for phrase in words.required:
        told = store.texts.holding("passage", phrase, NO_LIMIT)
        named = store.texts.holding("photo", phrase, NO_LIMIT)
        here = np.union1d(NONE if named is None else named, NONE if told is None else links.photos_of(told))
        kept = here if kept is None else np.intersect1d(kept, here)
    return kept


def required_passages(store: Store, words: AskedWords, passage_ids: Ids) -> Ids:
    """Those of the passages (ascending ids) that hold every phrase that must occur."""
    for phrase in words.required:
        told = store.texts.holding("passage", phrase, NO_LIMIT)
        passage_ids = np.intersect1d(passage_ids, NONE if told is None else told)
    return passage_ids


def _common(rows: int) -> int:
    return max(LEAST_COMMON, rows // COMMON_SHARE)


def _shares(words: AskedWords, held: Held, rows: int) -> Occurrences:
    """Shares by row; a word that is too common to tell anything weighs nothing, and one that occurs nowhere counts."""
    found = {word: ids for word, ids in held.items() if ids is not None}
    rarity = {word: float(np.log1p((max(rows - len(ids), 0) + 0.5) / (len(ids) + 0.5))) for word, ids in found.items()}
    ids = np.unique(np.concatenate([NONE, *found.values()]))
    shares = [
        _share(ids, [word for word in group if word in found], found, rarity) for group in (words.known, words.unknown)
    ]
    return Occurrences(ids, shares[0], shares[1], {word: ids for word, ids in found.items() if len(ids)})


def _share(ids: Ids, group: Sequence[str], found: dict[str, Ids], rarity: dict[str, float]) -> Floats:
    total = np.zeros(len(ids), np.float32)
    for word in group:
        total[np.searchsorted(ids, found[word])] += np.float32(rarity[word])
    whole = sum(rarity[word] for word in group)
    return total / np.float32(whole) if whole else total
