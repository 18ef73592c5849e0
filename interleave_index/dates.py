"""The rule for dates in filters, the same for commands, Python and REST.

* The time of a photo is what the camera's clock showed. It has no zone, and neither has a bound: one with an offset or
  a `Z` is refused, since nobody knows which of the photos' clocks it should be compared with.
* A bound names a moment: a year, month, day or minute means its first moment. ``after`` includes that moment,
  ``before`` does not: after 2024 and before 2025 are the photos of 2024.
* Digits alone are a date by their number: 4 a year, 6 year and month, 8 year, month and day. They are never seconds.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TypeAlias

from .errors import InputError

Moment: TypeAlias = "date | datetime | str | int"

EXPECTED = "expected a date such as 2024, 2024-07, 2024-07-31 or 2024-07-31T18:30"
_FORM = re.compile(
    r"(?P<year>\d{4})(?:(?P<dash>[-:/.]?)(?P<month>\d{1,2})(?:(?P=dash)(?P<day>\d{1,2})"
    r"(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?)?)?)?"
    r"(?P<zone>Z|[+-]\d{2}:?\d{2})?",
    re.IGNORECASE,
)


def moment(value: Moment | None, name: str = "date") -> datetime | None:
    """The moment that a bound names, without a zone; None stays None.

    Args:
        value: a date, a datetime without a zone, a year as a number, or text in one of the forms above.
        name: what the bound is called in messages.
    Raises:
        InputError: it is no date, or it has a zone.

    >>> moment("2024-07"), moment(date(2024, 7, 31)), moment(2024)
    (datetime.datetime(2024, 7, 1, 0, 0), datetime.datetime(2024, 7, 31, 0, 0), datetime.datetime(2024, 1, 1, 0, 0))
    """
    if value is None:
        return None
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            raise InputError(_zone_words(name, value.isoformat()))
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InputError(f"{name} is a {type(value).__name__}, {EXPECTED}")
    return _read(str(value).strip(), name)


def _read(text: str, name: str) -> datetime:
    parts = _FORM.fullmatch(text)
    if parts is None or (text.isdigit() and len(text) not in (4, 6, 8)):
        raise InputError(f"{name} is {text!r}, {EXPECTED}")
    if parts["zone"]:
        raise InputError(_zone_words(name, text))
    fields = ("year", "month", "day", "hour", "minute", "second")
    defaults = (1, 1, 1, 0, 0, 0)
    numbers = [int(parts[field] or default) for field, default in zip(fields, defaults, strict=True)]
    try:
        return datetime(*numbers)  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(f"{name} is {text!r}, which is no date: {error}") from error


def _zone_words(name: str, text: str) -> str:
    return (
        f"{name} is {text!r} with a time zone, expected one without: "
        "photos have the time that the camera's clock showed, so say that"
    )
