"""Facts that a camera wrote into a file: time, camera, lens, place, orientation. Tolerates every kind of damage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import xmp

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION, MAKE, MODEL, CHANGED = 0x0112, 0x010F, 0x0110, 0x0132
EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005
TAKEN, DIGITIZED, LENS_MAKE, LENS_MODEL, COLOUR_SPACE = 0x9003, 0x9004, 0xA433, 0xA434, 0xA001
INTEROP_INDEX = 1
_TIME = re.compile(r"\s*(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})[T ]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?")
_DAY = re.compile(r"\s*(\d{4})-(\d{2})-(\d{2})\s*")


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """What could be read; everything else is None.

    Attributes:
        taken_at: the camera's wall clock, without a time zone.
        camera: make and model, the make not repeated.
        latitude, longitude: degrees, north and east positive.
        orientation: 1 to 8; 1 when absent or not valid.
        adobe_rgb: whether the file says so by its numbers alone, as cameras do that embed no profile.
    """

    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    orientation: int = 1
    adobe_rgb: bool = False


def read_exif(image: Image.Image) -> ExifFacts:
    """Facts of an opened picture, from its EXIF and, where that says nothing, from its XMP.

    Damaged or missing blocks give empty facts, never an error.
    """
    try:
        exif = image.getexif()
    except Exception:  # a damaged block may raise anything; the pixels do not depend on it
        from PIL import Image

        exif = Image.Exif()
    block = image.info.get("xmp")
    return facts_of(exif, block if isinstance(block, bytes | str) else None)


def facts_of(exif: Image.Exif, xmp_block: bytes | str | None = None) -> ExifFacts:
    """Facts of an EXIF block and an XMP block; see `read_exif`."""
    try:
        main = dict(exif)
    except Exception:  # as above
        main = {}
    detail, gps, interop = (sub_block(exif, tag) for tag in (EXIF_IFD, GPS_IFD, INTEROP_IFD))
    return facts_from(main, detail, gps, interop, xmp_block)


def facts_from(
    main: dict[int, Any],
    detail: dict[int, Any],
    gps: dict[int, Any],
    interop: dict[int, Any] | None = None,
    xmp_block: bytes | str | None = None,
) -> ExifFacts:
    """Facts of the parts of an EXIF block, each by tag, and of an XMP block."""
    interop = interop or {}
    beside = xmp.read_xmp(xmp_block)
    latitude, longitude = _place(gps)
    if latitude is None:
        latitude, longitude = _xmp_place(beside)
    return ExifFacts(
        taken_at=_taken(main, detail, beside),
        camera=_named(_text(main.get(MAKE)), _text(main.get(MODEL)))
        or _named(_text(beside.get(xmp.TIFF + "Make")), _text(beside.get(xmp.TIFF + "Model"))),
        lens=_named(_text(detail.get(LENS_MAKE)), _text(detail.get(LENS_MODEL)))
        or next((lens for lens in (_text(beside.get(name)) for name in xmp.LENS) if lens), None),
        latitude=latitude,
        longitude=longitude,
        orientation=_orientation(main.get(ORIENTATION)),
        adobe_rgb=_text(interop.get(INTEROP_INDEX)) == "R03" or detail.get(COLOUR_SPACE) == 2,
    )


def _taken(main: dict[int, Any], detail: dict[int, Any], beside: dict[str, str]) -> datetime | None:
    """The first time that can be read; when the file was changed comes last, since editing a photo sets it."""
    candidates = [detail.get(TAKEN), detail.get(DIGITIZED), main.get(TAKEN)]
    candidates += [beside.get(name) for name in xmp.TAKEN]
    candidates.append(main.get(CHANGED))
    return next((when for when in map(parse_time, candidates) if when), None)


def parse_time(value: object) -> datetime | None:
    """A time as cameras and XMP write it, or None; zeros and impossible dates are None.

    Hour 24 is the first hour of the day that is named: phones count the hours of a day from 1 to 24.

    >>> parse_time("2021:07:04 18:05:09")
    datetime.datetime(2021, 7, 4, 18, 5, 9)
    >>> parse_time("2019:01:01 24:04:20")
    datetime.datetime(2019, 1, 1, 0, 4, 20)
    >>> parse_time("0000:00:00 00:00:00") is None
    True
    """
    text = _text(value) or ""
    match = _TIME.match(text) or _DAY.fullmatch(text)
    if not match:
        return None
    numbers = [int(part or 0) for part in match.groups()]
    if numbers[3:4] == [24]:
        numbers[3] = 0
    try:
        return datetime(*numbers)  # type: ignore[arg-type]
    except ValueError:
        return None


def sub_block(exif: Image.Exif, tag: int) -> dict[int, Any]:
    """One part of an EXIF block by tag; empty when it is absent or damaged."""
    try:
        return dict(exif.get_ifd(tag))
    except Exception:  # as above: one damaged block must not hide the others
        return {}


def _orientation(value: object) -> int:
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    # Cut at NUL: fixed-size fields carry rubbish after it.
    return " ".join("".join(c for c in value.split("\0")[0] if c.isprintable() or c.isspace()).split()) or None


def _named(make: str | None, model: str | None) -> str | None:
    if not make or not model:
        return model or make
    return model if model.lower().startswith(make.split()[0].lower()) else f"{make} {model}"


def _place(gps: dict[int, Any]) -> tuple[float | None, float | None]:
    latitude = _degrees(gps.get(2), gps.get(1), "S", 90)
    longitude = _degrees(gps.get(4), gps.get(3), "W", 180)
    # A receiver without a fix writes zeros; nobody photographs the exact crossing of equator and meridian.
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    return latitude, longitude


def _xmp_place(beside: dict[str, str]) -> tuple[float | None, float | None]:
    latitude = xmp.angle(beside.get(xmp.EXIF + "GPSLatitude"))
    longitude = xmp.angle(beside.get(xmp.EXIF + "GPSLongitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None, None
    return (None, None) if latitude == longitude == 0 else (latitude, longitude)


def _degrees(parts: Any, reference: object, negative: str, limit: float) -> float | None:
    try:
        values = [float(part) for part in parts]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not 1 <= len(values) <= 3:
        return None
    degrees: float = sum(value / 60**power for power, value in enumerate(values))
    if not 0 <= degrees <= limit:  # also false for NaN, which a rational 0/0 becomes
        return None
    return -degrees if (_text(reference) or "").upper().startswith(negative) else degrees
