"""What EXIF, IPTC and XMP of a photo's own file say in words. Tolerates every kind of damage."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...records.texts import SourceText
from .. import xmp
from ..exif import EXIF_IFD, sub_block
from .described import Texts, described, texts_of_xmp

if TYPE_CHECKING:
    from PIL import Image

DESCRIPTION, USER_COMMENT = 0x010E, 0x9286
XP_TITLE, XP_COMMENT, XP_KEYWORDS, XP_SUBJECT = 0x9C9B, 0x9C9C, 0x9C9E, 0x9C9F  # written by Windows, in UTF-16
IPTC_CHARSET, IPTC_TITLE, IPTC_KEYWORDS, IPTC_HEADLINE, IPTC_CAPTION = (1, 90), (2, 5), (2, 25), (2, 105), (2, 120)
_UTF_8 = b"\x1b%G"  # how IPTC says that its texts are UTF-8
MAX_CHARACTERS = 65_536  # of one field; a longer one is cut


def embedded_texts(image: Image.Image) -> SourceText | None:
    """Title, description and keywords that are written inside an opened picture, or None when there are none.

    The same text in several of EXIF, IPTC and XMP is said once. Damaged blocks say nothing; never raises.
    """
    texts = Texts()
    # A damaged block may raise anything; the others and the pixels do not depend on it.
    for read in (_of_xmp, _of_iptc, _of_exif):
        try:
            with warnings.catch_warnings(action="ignore"):  # Pillow warns of damage
                found = read(image)
        except Exception:
            continue
        texts.titles += found.titles
        texts.descriptions += found.descriptions
        texts.keywords += found.keywords
    for field in (texts.titles, texts.descriptions, texts.keywords):
        field[:] = [text[:MAX_CHARACTERS] for text in field]
    said = described("embedded", texts)
    return said if said.passages else None


def _of_xmp(image: Image.Image) -> Texts:
    block = image.info.get("xmp")
    tree = xmp.parse_xmp(block) if isinstance(block, bytes | str) else None
    return Texts() if tree is None else texts_of_xmp(tree)


def _of_iptc(image: Image.Image) -> Texts:
    from PIL.IptcImagePlugin import getiptcinfo

    facts: Mapping[Any, Any] = getiptcinfo(image) or {}  # type: ignore[arg-type]
    unicode = facts.get(IPTC_CHARSET) == _UTF_8

    def texts(*fields: tuple[int, int]) -> list[str]:
        return [_western(value, unicode) for name in fields for value in _all(facts.get(name))]

    return Texts(texts(IPTC_TITLE, IPTC_HEADLINE), texts(IPTC_CAPTION), texts(IPTC_KEYWORDS))


def _of_exif(image: Image.Image) -> Texts:
    exif = image.getexif()
    detail = sub_block(exif, EXIF_IFD)
    title, comment, words, subject = (_utf_16(exif.get(tag)) for tag in (XP_TITLE, XP_COMMENT, XP_KEYWORDS, XP_SUBJECT))
    description = exif.get(DESCRIPTION)
    if isinstance(description, str):
        # Pillow reads this field as Latin-1; most programs write UTF-8 into it.
        description = description.encode("latin-1", "replace")
    descriptions = [_western(description, False)] if isinstance(description, bytes) else []
    descriptions += [subject, comment, _user_comment(detail.get(USER_COMMENT), exif.endian)]
    return Texts([title], descriptions, words.split(";"))


def _all(value: object) -> Iterator[bytes]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bytes):
            yield each


def _western(value: bytes, unicode: bool) -> str:
    value = value.split(b"\0")[0]  # fixed-size fields carry rubbish after it
    if unicode:
        return value.decode("utf-8", "replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("cp1252", "replace")


def _utf_16(value: object) -> str:
    data = bytes(value) if isinstance(value, bytes | tuple | list) else b""
    return data.decode("utf-16-le", "replace").split("\0")[0]


def _user_comment(value: object, byte_order: str | None) -> str:
    """The text after the eight bytes that name its charset; JIS and an unknown charset are read as UTF-8."""
    if isinstance(value, str):
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        return ""
    charset, data = value[:8], value[8:]
    if charset == b"UNICODE\0":
        return _of_unknown_order(data, byte_order)
    if charset in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)):
        return _western(data, False)
    return _western(value, False)  # some programs leave the charset out


def _of_unknown_order(data: bytes, byte_order: str | None) -> str:
    """UTF-16 by its mark; else in the order in which more is plain letters; else in that of the file."""
    orders = ["utf-16-le", "utf-16-be"] if byte_order != ">" else ["utf-16-be", "utf-16-le"]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace").split("\0")[0]
    read = [data.decode(order, "replace").split("\0")[0] for order in orders]
    return max(read, key=lambda text: sum(character < "\u0250" for character in text))
