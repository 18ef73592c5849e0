"""Facts and texts in an XMP block: of a file whose EXIF does not have them, or of a sidecar.

`read_xmp` tolerates every kind of damage; `parse_xmp` says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DC = "{http://purl.org/dc/elements/1.1/}"
EXIF = "{http://ns.adobe.com/exif/1.0/}"
EXIF_EX = "{http://cipa.jp/exif/1.0/}"
AUX = "{http://ns.adobe.com/exif/1.0/aux/}"
IPTC = "{http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/}"
IPTC_EXTENSION = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
REGIONS = "{http://www.metadataworkinggroup.com/schemas/regions/}"
TIFF = "{http://ns.adobe.com/tiff/1.0/}"
XMP = "{http://ns.adobe.com/xap/1.0/}"

TAKEN = (EXIF + "DateTimeOriginal", PHOTOSHOP + "DateCreated", XMP + "CreateDate", EXIF + "DateTimeDigitized")
LENS = (EXIF_EX + "LensModel", AUX + "Lens")
_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
_ANGLE = re.compile(r"\s*(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])\s*", re.IGNORECASE)


def read_xmp(block: bytes | str | None) -> dict[str, str]:
    """Properties of an XMP block that have plain text, by namespace and name; empty when it cannot be parsed.

    Entities are refused, so that a small block cannot unfold into a large one.
    """
    try:
        tree = parse_xmp(block)
    except ValueError:
        return {}
    if tree is None:
        return {}
    found: dict[str, str] = {}
    for name, value in _properties(tree):
        if value and value.strip():
            found.setdefault(name, value.strip())
    return found


def parse_xmp(block: bytes | str | None) -> Element | None:
    """The tree of an XMP block, None for an empty one.

    Raises:
        ValueError: it is no XML, or defines entities.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    text = block if isinstance(block, bytes) else (block or "").encode("utf-8", "replace")
    text = text.strip(b"\0 \r\n\t")
    if not text:
        return None
    try:
        tree: Element = fromstring(text)
    except (ParseError, LookupError) as error:
        raise ValueError(f"is no XML ({error})") from error
    except DefusedXmlException as error:
        raise ValueError("defines XML entities") from error
    return tree


def read_texts(tree: Element, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """All values of some properties, by namespace and name, in the order of the file; blank ones are left out.

    A value in several languages (`rdf:Alt`) gives one: the default, else the English one, else the first.
    A list (`rdf:Bag`, `rdf:Seq`) gives each item; a property that stands several times, as of face regions, all.
    """
    found: dict[str, list[str]] = {}
    for element in tree.iter():
        for name, value in element.attrib.items():
            if name in names:
                found.setdefault(name, []).append(value)
        if element.tag in names:
            found.setdefault(element.tag, []).extend(_values(element))
    kept = {name: tuple(value.strip() for value in values if value.strip()) for name, values in found.items()}
    return {name: values for name, values in kept.items() if values}


def _values(element: Element) -> list[str]:
    for holder in element:
        items = [(item.get(_LANGUAGE, "").lower(), item.text or "") for item in holder.findall(RDF + "li")]
        if holder.tag == RDF + "Alt" and items:
            return [min(items, key=lambda item: _preference(item[0]))[1]]
        if holder.tag in (RDF + "Bag", RDF + "Seq"):
            return [text for _, text in items]
    return [element.text or ""]


def _preference(language: str) -> int:
    if language == "x-default":
        return 0
    return 1 if language.split("-")[0] == "en" else 2


def _properties(tree: Element) -> Iterator[tuple[str, str | None]]:
    """Both ways in which XMP writes a property: as an attribute and as an element."""
    for element in tree.iter():
        yield from element.attrib.items()
        yield element.tag, element.text


def angle(text: str | None) -> float | None:
    """Degrees of a place as XMP writes it, north and east positive, or None.

    >>> angle("48,8.5N"), angle("11,34,30W")
    (48.141666666666666, -11.575)
    """
    match = _ANGLE.fullmatch(text or "")
    if not match:
        return None
    degrees, minutes, seconds, letter = match.groups()
    value = float(degrees) + float(minutes) / 60 + float(seconds or 0) / 3600
    return -value if letter.upper() in "SW" else value
