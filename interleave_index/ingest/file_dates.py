"""When a photo was taken, by what lies beside its file: a sidecar, or the file's own name. Knows files, no pixels.

Asked only for photos whose own EXIF and XMP say nothing. The time of the file itself is never taken: copying sets it.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime

from ..paths import is_url
from . import xmp
from .exif import parse_time

MOST_BYTES = 4 << 20  # of a sidecar that is read
EARLIEST = 1990  # year; earlier ones are numbers more often than dates, since names are given by digital devices
_TAKEOUT_ENDING = ".supplemental-metadata"
_TAKEOUT_LENGTH = 46  # characters before ".json", where Google Takeout cuts

# The date is 20240630, 2024-06-30, 2024_06_30 or 2024.06.30; the time may follow as 142233 or 14-22-33, "at" before it.
_NAMED = re.compile(
    r"(?<!\d)(?P<year>\d{4})(?P<between>[-_.]?)(?P<month>\d{2})(?P=between)(?P<day>\d{2})(?!\d)"
    r"(?:[-_ T]+(?:at )?(?P<hour>\d{2})(?P<colon>[-_.:h]?)(?P<minute>\d{2})(?P=colon)(?P<second>\d{2})(?:\d{3})?"
    r"(?!\d))?",
)


def date_beside(path: str) -> datetime | None:
    """The time of a photo by its XMP sidecar, else by its JSON file of Google Takeout, else by its name; or None.

    Of an object in a store only the name is asked, since each sidecar that may be there would be a request.
    XMP and names are wall clocks without a zone, as in EXIF. Takeout keeps seconds of UTC, and UTC is what is given.
    """
    if is_url(path):
        return date_in_name(os.path.basename(path))
    return _of_xmp(path) or _of_takeout(path) or date_in_name(os.path.basename(path))


def date_in_name(name: str) -> datetime | None:
    """The time in a file name as phones, messengers and screenshots write it; midnight where only a date stands there.

    >>> date_in_name("IMG-20240630-WA0007.jpg")
    datetime.datetime(2024, 6, 30, 0, 0)
    >>> date_in_name("WhatsApp Image 2024-06-30 at 14.22.33.jpeg")
    datetime.datetime(2024, 6, 30, 14, 22, 33)
    >>> date_in_name("DSC_20241345.jpg") is None
    True
    """
    for match in _NAMED.finditer(name):
        day = [int(match[part]) for part in ("year", "month", "day")]
        time = [int(match[part] or 0) for part in ("hour", "minute", "second")]
        for numbers in ([*day, *time], day):  # a date counts even where what follows it is no time
            try:
                when = datetime(*numbers)  # type: ignore[arg-type]
            except ValueError:
                continue
            if EARLIEST <= when.year <= datetime.now().year + 1:
                return when
    return None


def _of_xmp(path: str) -> datetime | None:
    stem = os.path.splitext(path)[0]
    for sidecar in (f"{path}.xmp", f"{path}.XMP", f"{stem}.xmp", f"{stem}.XMP"):
        properties = xmp.read_xmp(_read(sidecar))
        for name in xmp.TAKEN:
            when = parse_time(properties.get(name))
            if when is not None:
                return when
    return None


def _of_takeout(path: str) -> datetime | None:
    folder, name = os.path.split(path)
    for base in (name, (name + _TAKEOUT_ENDING)[:_TAKEOUT_LENGTH], name[:_TAKEOUT_LENGTH]):
        try:
            seconds = json.loads(_read(os.path.join(folder, f"{base}.json")))["photoTakenTime"]["timestamp"]
            return datetime.fromtimestamp(int(seconds), UTC).replace(tzinfo=None)
        except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
            continue
    return None


def _read(path: str) -> bytes:
    """The beginning of a regular file; nothing of one that cannot be read."""
    try:
        if not os.path.isfile(path):  # a pipe would wait for ever
            return b""
        with open(path, "rb") as file:
            return file.read(MOST_BYTES)
    except OSError:
        return b""
