"""What to say of filters that leave photos out which somebody may have meant."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import Filters

if TYPE_CHECKING:
    from ..storage.store import Store

MOST_NAMES = 3
ALIKE = 0.5  # share of common letters from which a name is near


def filter_notes(store: Store, space_id: int, filters: Filters) -> list[str]:
    """Notes on photos without a date, and on cameras and folders that no photo has, with names that are near.

    Args:
        store: the catalog.
        space_id: the space that was searched.
        filters: those of the search.
    """
    notes = []
    if filters.after is not None or filters.before is not None:
        undated = store.undated(space_id, filters)
        if undated:
            photos = "1 photo has no date and is" if undated == 1 else f"{undated} photos have no date and are"
            notes.append(f"{photos} left out by the filter on the date")
    if filters.camera is not None:
        notes += _camera_note(filters.camera, store.cameras())
    for folder in filters.folders:
        if not store.has_below(folder):
            notes.append(_folder_note(folder, [row["name"] for row in store.facets()["folders"]]))
    return notes


def _camera_note(wanted: str, cameras: Sequence[str]) -> list[str]:
    if any(wanted.casefold() in name.casefold() for name in cameras):
        return []
    if not cameras:
        return [f"no camera is named {wanted!r}; no photo tells its camera"]
    return [f"no camera is named {wanted!r}; {_offer(near_names(wanted, cameras), cameras)}"]


def _folder_note(wanted: Path | str, folders: Sequence[str]) -> str:
    by_name = {os.path.basename(path): path for path in folders}
    near = [by_name[name] for name in near_names(os.path.basename(wanted), by_name)]
    return f"no indexed photo lies in {str(wanted)!r}; {_offer(near, folders)}"


def _offer(near: Sequence[str], every: Sequence[str]) -> str:
    return f"near: {', '.join(near)}" if near else f"there are: {', '.join(every[:MOST_NAMES])}"


def near_names(wanted: str, names: Iterable[str]) -> list[str]:
    """Names that are spelled much alike, best first: as a whole, or by one of their words.

    >>> near_names("cannon", ["Canon EOS 5D", "Apple iPhone 12"])
    ['Canon EOS 5D']
    """
    sought = wanted.casefold()

    def likeness(name: str) -> float:
        pieces = [name.casefold(), *name.casefold().split()]
        return max(difflib.SequenceMatcher(None, sought, piece).ratio() for piece in pieces)

    scored = sorted(((likeness(name), name) for name in names), key=lambda pair: (-pair[0], pair[1]))
    return [name for score, name in scored[:MOST_NAMES] if score >= ALIKE]
