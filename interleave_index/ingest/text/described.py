"""What metadata says of a photo: title, description and keywords, as passages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...records.texts import PassageText, SourceText, Span, TextKind
from .. import xmp
from .passages import MAX_TOKENS, cut_text, joined, pieces, tokens
from .sidecars import is_picture
from .words import folded, says_something

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_KEYWORDS = 1000

_TITLES = (xmp.DC + "title", xmp.PHOTOSHOP + "Headline")
_DESCRIPTIONS = (
    xmp.DC + "description",
    xmp.TIFF + "ImageDescription",
    xmp.EXIF + "UserComment",
    xmp.IPTC + "AltTextAccessibility",
    xmp.IPTC + "ExtDescrAccessibility",
)
_KEYWORDS = (xmp.DC + "subject", xmp.IPTC_EXTENSION + "PersonInImage", xmp.REGIONS + "Name")

# What cameras and programs write into the fields of a description by themselves, folded to lower case. Short codes are
# the scene modes of Huawei's and Honor's cameras. "Screenshot" is not here: it says what the picture is.
BOILERPLATE = frozenset(
    (
        "olympus digital camera",
        "konica minolta digital camera",
        "minolta digital camera",
        "kodak digital still camera",
        "digital still camera",
        "digital camera",
        "samsung camera pictures",
        "sony dsc",
        "lead technologies inc. v1.01",
        "created with gimp",
        "exif_jpeg_picture",
        "default",
        "untitled",
        "ascii",
        "cof",
        "dav",
        "edf",
        "fbt",
        "hdr",
        "mde",
        "nor",
        "oznor",
        "rbt",
        "sdr",
        "vsco",
    )
)


@dataclass(slots=True)
class Texts:
    """Fields of metadata as they were read, the better source first."""

    titles: list[str] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)


def texts_of_xmp(tree: Element) -> Texts:
    """Texts of an XMP block; names of people, in the photo or beside a face, count as keywords."""
    found = xmp.read_texts(tree, _TITLES + _DESCRIPTIONS + _KEYWORDS)
    titles, descriptions, keywords = (
        [value for name in names for value in found.get(name, ())] for names in (_TITLES, _DESCRIPTIONS, _KEYWORDS)
    )
    return Texts(titles, descriptions, keywords)


def described(kind: TextKind, texts: Texts, about: tuple[str, ...] = ()) -> SourceText:
    """One passage of title and description, cut where it is long, and one of the keywords.

    Texts that are said twice, or as a part of another, stand once; what cameras write by themselves is left out.
    """
    said = _unique([*map(_cleaned, texts.titles), *map(_cleaned, texts.descriptions)])
    text = ""
    for each in said:
        text = joined(text, each)
    keywords = list(dict.fromkeys(filter(says_something, map(folded, texts.keywords))))
    keywords = [word for word in keywords if word.lower() not in BOILERPLATE][:MAX_KEYWORDS]
    return SourceText(kind, passages=(*cut_text(text, about=about), *_of_keywords(keywords, about)))


def _cleaned(text: str) -> str:
    """The text with blanks folded, or nothing for boilerplate, data, and the name of the file."""
    text = folded(text)
    if text.lower() in BOILERPLATE or not says_something(text):
        return ""
    if text[0] in "{[<" or text.lower().startswith("dcim\\") or (" " not in text and is_picture(text)):
        return ""
    return text


def _unique(texts: Iterable[str]) -> list[str]:
    """Texts that no other says as well, whatever the case, in their order."""
    kept: list[str] = []
    for text in texts:
        if not text or any(_within(text, other) for other in kept):
            continue
        kept = [other for other in kept if not _within(other, text)]
        kept.append(text)
    return kept


def _within(text: str, other: str) -> bool:
    return f" {text.casefold().rstrip('. ')} " in f" {other.casefold().rstrip('. ')} "


def _of_keywords(keywords: list[str], about: tuple[str, ...]) -> list[PassageText]:
    """Keywords parted by commas; each is a phrase."""
    passages: list[PassageText] = []
    held: list[str] = []
    for keyword in (next(pieces(keyword, MAX_TOKENS)) for keyword in keywords):
        if held and tokens(", ".join([*held, keyword])) > MAX_TOKENS:
            passages.append(_listed(held, about))
            held = []
        held.append(keyword)
    if held:
        passages.append(_listed(held, about))
    return passages


def _listed(keywords: list[str], about: tuple[str, ...]) -> PassageText:
    spans: list[Span] = []
    start = 0
    for keyword in keywords:
        spans.append((start, start + len(keyword)))
        start += len(keyword) + len(", ")
    return PassageText(", ".join(keywords), about=about, phrases=tuple(spans))
