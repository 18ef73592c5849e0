"""Writes the list of words that a model was trained with into its folder, as words.txt.

    python tools/known_words.py --model interleave_index/interface/find_mini/weights train-*.tar

A word is known that captions hold twice, a label or the name of a region once, or a name in config.json. Sources that
training leaves out are left out here too. The form of the file is that of `KnownWords` in interface/words.py.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from interleave_index.interface.find_mini.bundle import CONFIG
from interleave_index.interface.find_mini.words import KnownWords, words_of
from interleave_index.training.data import training_photos

MOSTLY_PLURAL = 5  # a plural so many times as common as its singular is a name of its own: jeans, scissors
PERSONS = ("people", "men", "children")  # endings; captions count people in plural, and yet one of them is the name
OWN_NAMES = (  # what looks like a plural and means something else, or nothing, in the singular
    "arts backwards binoculars downwards electronics forwards glasses goggles goods groceries gymnastics headphones "
    "indoors news olympics ones others outdoors quarters shorts sunglasses surroundings themselves they tights towards "
    "trunks upwards waters woods"
)
BEFORE_NOUNS = "a an the his her their its of with one two three four five six some several many few these those other"
PLURAL_SHARE = 0.05  # of a plural's uses, right after one of those words; third persons of verbs stay below 0.03
SINGULAR_SHARE = 0.3  # the same for a singular, asked where the plural is too rare to tell
RARE = 20


@dataclass
class Counts:
    """How often words occurred.

    Attributes:
        captions, names: in captions; in labels and other names.
        after: in captions, right after a word that stands before nouns.
        nouns: those that end a name.
    """

    captions: Counter[str] = field(default_factory=Counter)
    names: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    nouns: set[str] = field(default_factory=set)

    def known(self) -> dict[str, int]:
        words = {word for word, count in self.captions.items() if count > 1} | self.names.keys()
        return {word: self.captions[word] + self.names[word] for word in words}

    def is_noun(self, plural: str, singular: str) -> bool:
        if plural in self.nouns or singular in self.nouns or self._share(plural) >= PLURAL_SHARE:
            return True
        return self.captions[plural] < RARE and self._share(singular) >= SINGULAR_SHARE

    def _share(self, word: str) -> float:
        return self.after[word] / max(self.captions[word], 1)

    def add_caption(self, caption: str) -> None:
        self.captions.update(words_of(caption))
        # split at blanks, as words_of gives no single letters, and "a" stands before nouns
        for before, phrase in pairwise(caption.lower().split()):
            if before in BEFORE_NOUNS.split():
                self.after.update(list(words_of(phrase))[:1])

    def add_name(self, name: str) -> None:
        words = list(words_of(name))
        self.names.update(words)
        self.nouns.update(words[-1:])


def count_words(packs: Iterable[Path], names: Iterable[str]) -> Counts:
    counts = Counts()
    for _, photo in training_photos(packs):
        for caption in photo.captions:
            counts.add_caption(caption)
        for name in (*photo.labels, *(region.label or "" for region in photo.regions)):
            counts.add_name(name)
    for name in names:
        counts.add_name(name)
    return counts


def singulars_of(counts: Mapping[str, int], is_noun: Callable[[str, str], bool]) -> dict[str, str]:
    """The singular of every plural among known words, where both are known and neither means something of its own.

    Slow to begin with, as the dictionary behind it takes more than a second to load: done once, when a list is made.

    Args:
        counts: the known words, and how often each occurred.
        is_noun: of a plural and its singular, whether they are nouns: "dogs", "dog" are, "sits", "sit" are not.
    """
    import inflect

    english = inflect.engine()
    singulars: dict[str, str] = {}
    for word in counts.keys() - set(OWN_NAMES.split()):
        if len(word) < 3 or not word.isascii() or not word.isalpha():
            continue
        singular = english.singular_noun(word)
        if not singular or singular == word or singular not in counts:
            continue
        mostly = counts[word] > MOSTLY_PLURAL * counts[singular] and not word.endswith(PERSONS)
        if not mostly and is_noun(word, singular) and english.plural_noun(singular) == word:
            singulars[word] = str(singular)
    return {word: one for word, one in singulars.items() if one not in singulars}  # "mens" is no plural of men


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, required=True, help="folder of a bundle")
    given = parser.parse_args()
    config = json.loads((given.model / CONFIG).read_text(encoding="utf-8"))
    counts = count_words(sorted(given.packs), (*config.get("vocabulary", ()), *config.get("class_names", ())))
    known = counts.known()
    words = KnownWords(known, singulars_of(known, counts.is_noun))
    words.write(given.model / "words.txt")
    print(f"{len(words.counts)} words, {len(words.singulars)} of them plurals")


if __name__ == "__main__":
    main()
