"""Noun phrases of a text, by rules: no model, no download.

A phrase is a run of words in which every word can be of a noun phrase, without the article, possessive or demonstrative
before it: "a black dog is chasing two balls" gives "black dog" and "two balls". What can be of one is decided by lists
of English function words and of verbs that captions use, by endings, and by the words on both sides; whatever is
unknown counts as a noun. A text that declares another language is parted at that language's function words alone.

Source: the idea of parting at function words is that of rapid automatic keyword extraction (Rose et al., 2010, Text
Mining: Applications and Theory, chapter 1); rules and lists are ours, made on captions of Flickr8k.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...records.texts import Span
from .lexicon import (
    ADJECTIVES_IN_ED,
    ADVERB_OR_ADJECTIVE,
    ALWAYS_VERBS,
    AUXILIARIES,
    BEFORE_OF,
    CLAUSES,
    COLOURS,
    DETERMINERS,
    FUNCTION_WORDS,
    HEADS_AFTER_ING,
    NOT_ADVERBS,
    NOUN_OR_VERB,
    NOUNS_IN_ED,
    NOUNS_IN_ING,
    NUMBERS,
    OF_OTHER_LANGUAGES,
    PLACES,
    PLURALS,
    PLURALS_MORE_OFTEN,
    SUBJECTS,
    TAKE_OBJECTS,
)

MAX_WORDS = 6  # of one phrase; of a longer run the last are taken, where the head is

_WORD = re.compile(r"[^\W_]+(?:[-'’&][^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s?$")


def noun_phrases(text: str, language: str | None = None) -> tuple[Span, ...]:
    """Noun phrases as half-open spans of characters, ascending, not overlapping.

    Args:
        language: as the source declares it; None is taken for English.

    >>> text = "A brown dog runs through the deep snow near two children."
    >>> [text[start:end] for start, end in noun_phrases(text)]
    ['brown dog', 'deep snow', 'two children']
    """
    code = (language or "en").split("-")[0].lower()
    words = _words(text)
    if code != "en" and code in OF_OTHER_LANGUAGES:
        stop = OF_OTHER_LANGUAGES[code]
        tags = ["F" if word.lower in stop else "N" for word in words]
    else:
        tags = _tags(words)
    return tuple(_spans(words, tags))


@dataclass(frozen=True, slots=True)
class _Word:
    """A word and where it stands.

    Attributes:
        lower: in lower case, without the possessive ending.
        parted: whether anything but blanks stands between it and the word before.
        owner: whether it ends in a possessive.
    """

    lower: str
    start: int
    end: int
    parted: bool
    owner: bool


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    end = 0
    for match in _WORD.finditer(text):
        lower = match[0].lower()
        plain = _POSSESSIVE.sub("", lower)
        parted = not words or not text[end : match.start()].isspace()
        end = match.end()
        words.append(_Word(plain, match.start(), end, parted, plain != lower))
    return words


@dataclass(slots=True)
class _Clause:
    """What was read of a clause.

    Attributes:
        verb: whether a finite verb or an auxiliary was. "A girl making a face jumps": participles are none.
        participle: whether any verb was.
        link: the last word that is not of a phrase.
    """

    verb: bool = False
    participle: bool = False
    link: str = ""

    def take(self, word: _Word, tag: str) -> None:
        self.participle = self.participle or tag in "VA"
        self.verb = self.verb or tag == "A" or (tag == "V" and not word.lower.endswith(("ing", "ed")))
        if tag not in "ND":
            self.link = word.lower


def _tags(words: Sequence[_Word]) -> list[str]:
    """One letter a word: N in a phrase, D before one, V verb, A auxiliary, T "to", F any other."""
    tags: list[str] = []
    clause = _Clause()
    for position, word in enumerate(words):
        if word.parted or word.lower in CLAUSES:
            clause = _Clause()
        before = "." if word.parted or not tags else tags[-1]
        following = words[position + 1] if position + 1 < len(words) and not words[position + 1].parted else None
        prior = words[position - 1] if before != "." else None
        tag = _tag(word, prior, before, following, clause)
        clause.take(word, tag)
        tags.append(tag)
    return tags


def _tag(word: _Word, prior: _Word | None, before: str, following: _Word | None, clause: _Clause) -> str:
    lower = word.lower
    closed = _closed(lower, prior, before, following)
    if closed:
        return closed
    if word.owner or before == "D":
        return "N"
    if lower in ALWAYS_VERBS or (before == "T" and lower in NOUN_OR_VERB):
        return "V"
    if lower.endswith("ing") and len(lower) > 4 and lower not in NOUNS_IN_ING:
        goes_with = following is not None and following.lower in HEADS_AFTER_ING
        return "N" if goes_with and lower not in TAKE_OBJECTS else "V"
    if lower.endswith("ed") and len(lower) > 3 and lower not in NOUNS_IN_ED:
        return _of_ed(lower, before, following)
    if lower in NOUN_OR_VERB and prior is not None and following is not None:
        return _of_ambiguous(lower, prior, before, following, clause)
    return "N"


def _closed(lower: str, prior: _Word | None, before: str, following: _Word | None) -> str:
    """The letter of a word that is listed, or nothing for any other word."""
    if lower == "can" and before == "D":
        return "N"
    if lower in DETERMINERS:
        return "D"
    if lower == "and" and prior is not None and following is not None:
        # "black and white dog" is one phrase, "dog and cat" are two
        return "N" if prior.lower in COLOURS and following.lower in COLOURS else "F"
    if lower in AUXILIARIES:
        return "A"
    if lower in ADVERB_OR_ADJECTIVE:
        return "N" if before == "D" else "F"
    if lower in FUNCTION_WORDS or (lower.endswith("ly") and len(lower) > 5 and lower not in NOT_ADVERBS):
        return "T" if lower == "to" else "F"
    return ""


def _may_be_noun(word: _Word | None) -> bool:
    if word is None or word.lower in ALWAYS_VERBS or word.lower in ADVERB_OR_ADJECTIVE:
        return False
    closed = word.lower in DETERMINERS or word.lower in FUNCTION_WORDS or word.lower in AUXILIARIES
    return not closed and (not word.lower.endswith("ing") or word.lower in NOUNS_IN_ING)


def _of_ed(lower: str, before: str, following: _Word | None) -> str:
    """A word in -ed: of a phrase before a noun, if it tells a look, or if no noun and no auxiliary stands before it."""
    if not _may_be_noun(following):
        return "V"
    return "N" if lower in ADJECTIVES_IN_ED or "-" in lower or before in "F." else "V"


def _of_ambiguous(lower: str, prior: _Word, before: str, following: _Word, clause: _Clause) -> str:
    """A word like "jumps", which is a verb before a word that begins something new, if its clause has none yet."""
    if clause.participle if lower in PLURALS_MORE_OFTEN else clause.verb:
        return "N"
    begins = not _may_be_noun(following)
    if before != "N":
        return "V" if begins and (prior.lower in SUBJECTS or prior.lower == "and") else "N"
    if lower.endswith("s"):
        return "V" if begins or following.lower in NUMBERS or following.lower in COLOURS else "N"
    several = prior.lower in PLURALS or (prior.lower.endswith("s") and not prior.lower.endswith("ss"))
    several = several or clause.link == "and"  # "a boy and a girl play"
    return "V" if several and (begins or following.lower in COLOURS) else "N"


def _spans(words: Sequence[_Word], tags: Sequence[str]) -> Iterator[Span]:
    run: list[int] = []
    for position, (word, tag) in enumerate(zip(words, tags, strict=True)):
        if run and (word.parted or tag != "N"):
            yield from _phrase(words, run, word if not word.parted else None)
            run = []
        if tag == "N":
            run.append(position)
    if run:
        yield from _phrase(words, run, None)


def _phrase(words: Sequence[_Word], run: Sequence[int], following: _Word | None) -> Iterator[Span]:
    """The span of a run of words, if it names something: not a place like "front", not a measure like "group of"."""
    kept = list(run[-MAX_WORDS:])
    while kept and words[kept[0]].lower == "and":
        kept.pop(0)
    named = [words[position].lower for position in kept]
    measure = following is not None and following.lower == "of" and named[-1:] and named[-1] in BEFORE_OF
    # A place, number or colour alone names nothing that could be shown.
    counted = all(word in NUMBERS or word in COLOURS or word == "and" for word in named)
    if measure or counted or all(word in PLACES for word in named):
        return
    if len(named) == 1 and len(named[0]) == 1 and named[0].isascii():
        return
    yield words[kept[0]].start, words[kept[-1]].end
