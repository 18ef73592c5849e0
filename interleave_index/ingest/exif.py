"""Facts that a camera wrote into a file: time, camera, lens, place, orientation. Tolerates every kind of damage."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION, MAKE, MODEL, CHANGED = 0x0112, 0x010F, 0x0110, 0x0132
EXIF_IFD, GPS_IFD = 0x8769, 0x8825
TAKEN, DIGITIZED, LENS_MAKE, LENS_MODEL = 0x9003, 0x9004, 0xA433, 0xA434
_TIME = re.compile(r"\s*(\d{4})[:\-/.](\d{1,2})[:\-/.](\d{1,2})[T ]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2}))?")


@dataclass(frozen=True, slots=True)
class ExifFacts:
    """What could be read; everything else is None.

    Attributes:
        taken_at: the camera's wall clock, without a time zone.
        camera: make and model, the make not said twice.
        latitude, longitude: degrees, north and east positive.
        orientation: 1 to 8; 1 when absent or not valid.
    """

    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    orientation: int = 1


def read_exif(image: Image.Image) -> ExifFacts:
    """Facts of an opened picture; damaged or missing EXIF gives empty facts, never an error."""
    try:
        exif = image.getexif()
        main = dict(exif)
    except Exception:  # a damaged block may raise anything; the pixels do not depend on it
        return ExifFacts()
    detail, gps = _sub_block(exif, EXIF_IFD), _sub_block(exif, GPS_IFD)
    latitude, longitude = _place(gps)
    taken = (detail.get(TAKEN), detail.get(DIGITIZED), main.get(TAKEN), main.get(CHANGED))
    return ExifFacts(
        taken_at=next((when for when in map(parse_time, taken) if when), None),
        camera=_named(_text(main.get(MAKE)), _text(main.get(MODEL))),
        lens=_named(_text(detail.get(LENS_MAKE)), _text(detail.get(LENS_MODEL))),
        latitude=latitude,
        longitude=longitude,
        orientation=_orientation(main.get(ORIENTATION)),
    )


def parse_time(value: object) -> datetime | None:
    """A time as cameras write it, or None; zeros and impossible dates are None.

    >>> parse_time("2021:07:04 18:05:09")
    datetime.datetime(2021, 7, 4, 18, 5, 9)
    >>> parse_time("0000:00:00 00:00:00") is None
    True
    """
    found = _TIME.match(_text(value) or "")
    if not found:
        return None
    try:
        return datetime(*(int(part or 0) for part in found.groups()))  # type: ignore[arg-type]
    except ValueError:
        return None


def _sub_block(exif: Image.Exif, tag: int) -> dict[int, Any]:
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
