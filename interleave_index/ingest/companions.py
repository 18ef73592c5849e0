"""Files of the same shot as a photo: its raw file, and the film of a live photo. Knows names in a folder only."""

from __future__ import annotations

import os
from typing import Literal

from .suffixes import DEVELOPED_SUFFIXES, RAW_SUFFIXES

FILM_SUFFIXES = frozenset((".mov", ".mp4"))  # beside a still picture, phones keep the seconds around it as one of these


def companions(path: str) -> list[tuple[str, Literal["raw", "film"]]]:
    """Files beside a JPEG or HEIF that have its name but for the suffix, by name; none beside other pictures.

    The case of letters does not count, as for cameras. A folder that cannot be listed has none.
    """
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    if suffix.lower() not in DEVELOPED_SUFFIXES:
        return []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    found: list[tuple[str, Literal["raw", "film"]]] = []
    for other in names:
        other_stem, other_suffix = os.path.splitext(other)
        if other_stem.lower() != stem.lower():
            continue
        if other_suffix.lower() in RAW_SUFFIXES:
            found.append((os.path.join(folder, other), "raw"))
        elif other_suffix.lower() in FILM_SUFFIXES:
            found.append((os.path.join(folder, other), "film"))
    return found
