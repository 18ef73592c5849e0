"""Photos whose stored vectors are not those that were written: answers are made without them, and say so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np

from ..errors import EncodingDamaged, IndexDamaged
from ..records import Rle
from ..wording import number_of
from .candidates import Ids, Vectors

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

Given = ParamSpec("Given")
Result = TypeVar("Result")
NAMED = 5  # photos in a note


class FilesDisagree(IndexDamaged):
    """FAISS files hold other vectors of a photo than the catalog, whose own are as they were written."""


def asked_again(ask: Callable[Concatenate[Store, Given], Result]) -> Callable[Concatenate[Store, Given], Result]:
    """Let a question be asked again, without them, whenever it comes upon photos with damaged vectors.

    One that names such a photo itself is an error.
    """

    @wraps(ask)
    def answered(store: Store, /, *given: Given.args, **named: Given.kwargs) -> Result:
        while True:
            known = _known(store)
            try:
                return ask(store, *given, **named)
            except EncodingDamaged:
                if _known(store) == known:
                    raise

    return answered


def _known(store: Store) -> frozenset[int]:
    active = store.active_space()
    return store.damaged(active[0]) if active is not None else frozenset()


def left_out_note(store: Store, space_id: int) -> tuple[str, ...]:
    """What an answer says of the photos that are left out of it; nothing where there are none."""
    damaged = sorted(store.damaged(space_id))
    if not damaged:
        return ()
    named = ", ".join(map(str, damaged[:NAMED])) + (", …" if len(damaged) > NAMED else "")
    return (
        f"{number_of(len(damaged), 'photo')} left out, whose stored vectors are damaged (photo {named}); "
        "`interleave-index repair --apply` has them encoded again",
    )


def masks_or_none(load: Callable[[], Sequence[Rle]], notes: list[str]) -> Callable[[], Sequence[Rle]]:
    """Loads masks; of a photo whose masks are damaged none, which then gets boxes, and a note says why."""

    def loaded() -> Sequence[Rle]:
        try:
            return load()
        except EncodingDamaged as error:
            notes.append(f"{error}; boxes stand in for them")
            return ()

    return loaded


def compare(of_files: Vectors, rows: Ids, stored: StoredVectors) -> None:
    """See that photos were ranked by the very vectors that the catalog holds of them.

    A FAISS file may have changed since it was compared with its checksum, and large ones are compared by `verify` only.

    Args:
        of_files: by which photos were ranked.
        rows: (n,) where each photo of `stored` is among them.
    Raises:
        FilesDisagree: some are others.
    """
    for place, row in enumerate(rows.tolist()):
        first, past = of_files.offsets[row], of_files.offsets[row + 1]
        own = stored.regions[stored.offsets[place] : stored.offsets[place + 1]]
        same = np.array_equal(of_files.image[row], stored.image[place])
        if not (same and np.array_equal(of_files.regions[first:past], own)):
            raise FilesDisagree(
                f"FAISS files hold other vectors of photo {stored.photo_ids[place]} than the catalog; "
                "`interleave-index verify` tells which, `interleave-index repair --apply` makes them anew"
            )
