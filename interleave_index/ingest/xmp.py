"""Facts in an XMP block, for files whose EXIF does not have them. Tolerates every kind of damage."""

from __future__ import annotations

import re
from collections.abc import Iterator

EXIF = "{http://ns.adobe.com/exif/1.0/}"
EXIF_EX = "{http://cipa.jp/exif/1.0/}"
AUX = "{http://ns.adobe.com/exif/1.0/aux/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
TIFF = "{http://ns.adobe.com/tiff/1.0/}"
XMP = "{http://ns.adobe.com/xap/1.0/}"

TAKEN = (EXIF + "DateTimeOriginal", PHOTOSHOP + "DateCreated", XMP + "CreateDate", EXIF + "DateTimeDigitized")
LENS = (EXIF_EX + "LensModel", AUX + "Lens")
_ANGLE = re.compile(r"\s*(\d+),(\d+(?:\.\d+)?)(?:,(\d+(?:\.\d+)?))?([NSEW])\s*", re.IGNORECASE)


def read_xmp(block: bytes | str | None) -> dict[str, str]:
    """Properties of an XMP block that have plain text, by namespace and name; empty when it cannot be parsed.

    Entities are refused, so that a small block cannot unfold into a large one.
    """
    if not block:
        return {}
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    text = block if isinstance(block, bytes) else block.encode("utf-8", "replace")
    try:
        tree = fromstring(text.strip(b"\0 \r\n\t"))
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return {}
    found: dict[str, str] = {}
    for name, value in _properties(tree):
        if value and value.strip():
            found.setdefault(name, value.strip())
    return found


def _properties(tree: object) -> Iterator[tuple[str, str | None]]:
    """Both ways in which XMP writes a property: as an attribute and as an element."""
    for element in tree.iter():  # type: ignore[attr-defined]
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
