"""Hard negatives: a true caption of a photo against one that is nearly right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .library import Library, asked
from .outcome import Outcome, percent
from .progress import Progress

FIELDS = ("key", "kind", "caption", "negative")


def read_pairs(path: Path) -> list[dict[str, str]]:
    """Read one JSON object a line; empty lines are skipped.

    Each has a true ``caption`` and a false ``negative`` of the photo with this ``key``, and ``kind``: how the false one
    was made.

    Raises:
        InputError: the file cannot be read, or a line is not such an object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"hard negatives {path} cannot be read: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            pairs.append({name: str(record[name]) for name in FIELDS})
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"hard negatives {path}, line {number}: {line[:60]!r} cannot be used ({error!r}), "
                f"expected an object with key, kind, caption and negative"
            ) from error
    return pairs


def hard_negatives(library: Library, pairs: Sequence[dict[str, str]], progress: Progress) -> Outcome:
    """Share of pairs whose true caption scores strictly higher for the photo, in all and by kind.

    Args:
        library: the pack; pairs of photos that are not in it are left out.
    Returns:
        ``above``, ``tied`` (not counted as above), ``chance`` 50, ``n`` pairs, ``kinds``: per kind ``above`` and
        ``n``. Arrays: ``hard_scores`` (n, 2) float32, true and false, ``hard_keys``, ``hard_kinds`` (n,).
    """
    place = {photo.key: position for position, photo in enumerate(library.photos)}
    kept = [pair for pair in pairs if pair["key"] in place]
    queries = [asked(pair[name]) for pair in kept for name in ("caption", "negative")]
    table = library.totals(queries, len(queries), "hard negatives", progress)
    own = np.repeat(np.array([place[pair["key"]] for pair in kept], np.int64), 2)
    scores = table[np.arange(len(queries)), own].reshape(-1, 2)
    above, tied = scores[:, 0] > scores[:, 1], scores[:, 0] == scores[:, 1]
    kinds = np.array([pair["kind"] for pair in kept], str)
    by_kind = {}
    for kind in np.unique(kinds):
        of_kind = kinds == kind
        by_kind[str(kind)] = {"above": percent(above[of_kind]), "n": int(of_kind.sum())}
    return Outcome(
        {"above": percent(above), "tied": percent(tied), "chance": 50.0, "n": len(kept), "kinds": by_kind},
        {"hard_scores": scores, "hard_kinds": kinds, "hard_keys": np.array([pair["key"] for pair in kept], str)},
    )
