"""The facts that a hit must have."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from ..dates import Moment, moment
from ..errors import InputError
from ..paths import absolute, is_url, user_path

Place: TypeAlias = tuple[float, float, float]
MapBox: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Filters:
    """Facts that a hit must have; None and empty mean any. What is given is brought to one form.

    Attributes:
        after, before: bounds on the time taken, `after` inclusive, `before` exclusive: dates, datetimes without a zone,
            years, or text such as ``2024-07``; kept as datetimes. The rule stands in `dates`.
        camera: part of the camera's name, in any case.
        near: latitude and longitude in degrees, radius in kilometres (great circle).
        within: south, west, north, east in degrees; west beyond east goes over the date line.
        folder: photos with a location in this folder or below, or in one of several; kept as a tuple of paths.
        include_missing: also photos that have no present location.

    Raises:
        InputError: a value that cannot be read.

    >>> Filters(after="2024", near=[48.1, 11.6, 5]).near
    (48.1, 11.6, 5.0)
    """

    after: Moment | None = None
    before: Moment | None = None
    camera: str | None = None
    near: Sequence[float] | None = None
    within: Sequence[float] | None = None
    folder: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None
    include_missing: bool = False

    def __post_init__(self) -> None:
        if self.camera is not None and not isinstance(self.camera, str):
            raise InputError(f"camera is {self.camera!r}, expected part of a camera's name")
        settled: dict[str, Any] = {
            "after": moment(self.after, "after"),
            "before": moment(self.before, "before"),
            "camera": self.camera or None,
            "near": None if self.near is None else _place(self.near),
            "within": None if self.within is None else _map_box(self.within),
            "folder": _folders(self.folder),
            "include_missing": bool(self.include_missing),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    @property
    def bounds(self) -> tuple[datetime | None, datetime | None]:
        """`after` and `before` as they are kept."""
        return self.after, self.before  # type: ignore[return-value]

    @property
    def folders(self) -> tuple[Path | str, ...]:
        """`folder` as it is kept; empty means any."""
        return self.folder or ()  # type: ignore[return-value]


def _place(given: Sequence[float]) -> Place:
    latitude, longitude, radius = _numbers("near", given, 3, "latitude, longitude, kilometres")
    if not (abs(latitude) <= 90 and abs(longitude) <= 180 and radius > 0):
        raise InputError(
            f"near is {tuple(given)}, expected latitude -90 to 90, longitude -180 to 180, kilometres above 0"
        )
    return latitude, longitude, radius


def _map_box(given: Sequence[float]) -> MapBox:
    south, west, north, east = _numbers("within", given, 4, "south, west, north, east in degrees")
    if not (-90 <= south <= north <= 90 and abs(west) <= 180 and abs(east) <= 180):
        raise InputError(
            f"within is {tuple(given)}, expected south and north from -90 to 90, south first, and west and east "
            "from -180 to 180"
        )
    return south, west, north, east


def _numbers(name: str, given: Any, count: int, form: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in given)
    except (TypeError, ValueError):
        numbers = ()
    if isinstance(given, str) or len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} is {given!r}, expected {count} numbers: {form}")
    return numbers


def _folders(given: Any) -> tuple[Path | str, ...] | None:
    several = [given] if isinstance(given, str | os.PathLike) else given
    if several is None:
        return None
    try:
        paths = tuple(_folder(folder) for folder in several)
    except TypeError as error:
        raise InputError(f"folder is {given!r}, expected a path, or several") from error
    return paths or None


def _folder(given: str | os.PathLike[str]) -> Path | str:
    """A folder of this machine, or the URL of one in a store."""
    place = absolute(user_path(given))
    return place if is_url(place) else Path(place)
