"""Whether a folder whose photos are gone looks like a disk that is not there just now. Knows the file system only."""

from __future__ import annotations

import os

from ..paths import is_url

SHARE = 0.5  # of the photos of a folder: when more are gone at once, nobody is taken to have deleted them
AT_LEAST = 50  # photos that are gone at once before their share counts


def why_unmounted(root: str, gone: int, known: int) -> str | None:
    """What makes a folder look unmounted, in words, or None.

    Args:
        root: a folder that was listed.
        gone: photos of it that were there at the last look and were not met now.
        known: photos of it that were there at the last look.
    """
    if not gone:
        return None
    if is_url(root):
        if gone == known:
            return "nothing is left of it in its store"
    elif not os.path.isdir(root):
        return None
    elif _is_empty(root):
        return "the folder is empty"
    if gone >= AT_LEAST and gone > SHARE * known:
        return f"{gone} of its {known} photos are gone at once"
    return None


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False
