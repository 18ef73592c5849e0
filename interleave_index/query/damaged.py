"""Photos whose stored vectors are not those that were written: answers are made without them, and say so."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np

from ..errors import EncodingDamaged, IndexDamaged
from ..records import Rle
from ..wording import number_of
from .candidates import Ids, Vectors

if TYPE_CHECKING:
    from ..storage.indexes import VectorIndex
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

Given = ParamSpec("Given")
Result = TypeVar("Result")
NAMED = 5  # photos in a note


class FilesDisagree(IndexDamaged):
    """FAISS files hold another vector than the catalog, whose own is as it was written.

    A file may have changed since it was compared with its checksum, and large ones are compared by `verify` only.
    """

    def __init__(self, space_id: int, what: str) -> None:
        self.space_id = space_id
        super().__init__(
            f"FAISS files of space {space_id} hold another vector of {what} than the catalog; "
            "`interleave-index verify` tells which, `interleave-index repair --apply` makes them anew"
        )


def asked_again(ask: Callable[Concatenate[Store, Given], Result]) -> Callable[Concatenate[Store, Given], Result]:
    """Let a question be asked again, without them, whenever it comes upon photos with damaged vectors.

    One that names such a photo itself is an error. One that comes upon a damaged FAISS file is asked again when the
    file was made anew.
    """

    @wraps(ask)
    def answered(store: Store, /, *given: Given.args, **named: Given.kwargs) -> Result:
        met: set[int] = set()  # photos that the store leaves out since they were met
        are_compared = False
        while True:
            try:
                return ask(store, *given, **named)
            except EncodingDamaged as error:
                if met.issuperset(error.photo_ids):
                    raise
                met.update(error.photo_ids)
            except FilesDisagree as error:
                if are_compared:
                    raise
                store.compare_files(error.space_id)
                are_compared = True

    return answered


def photos_left_out(damaged: Collection[int]) -> tuple[str, ...]:
    """What an answer says of these photos, which are left out of it; nothing where there are none."""
    if not damaged:
        return ()
    named = ", ".join(map(str, sorted(damaged)[:NAMED])) + (", …" if len(damaged) > NAMED else "")
    return (_left_out(f"{number_of(len(damaged), 'photo')} left out", f" (photo {named})"),)


def passages_left_out(count: int) -> tuple[str, ...]:
    """What an answer says of so many passages that are left out of it; nothing where there are none."""
    return (_left_out(f"{number_of(count, 'passage')} left out"),) if count else ()


def _left_out(what: str, which: str = "") -> str:
    return f"{what}, whose stored vectors are damaged{which}; `interleave-index repair --apply` has them encoded again"


def masks_or_none(load: Callable[[], Sequence[Rle]], notes: list[str]) -> Callable[[], Sequence[Rle]]:
    """Loads masks; of a photo whose masks are damaged none, which then gets boxes, and a note says why."""

    def loaded() -> Sequence[Rle]:
        try:
            return load()
        except EncodingDamaged as error:
            notes.append(f"{error}; boxes stand in for them")
            return ()

    return loaded


def compare(space_id: int, of_files: Vectors, rows: Ids, stored: StoredVectors) -> None:
    """See that photos were ranked by the very vectors that the catalog holds of them.

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
            raise FilesDisagree(space_id, f"photo {stored.photo_ids[place]}")


def compare_passages(store: Store, space_id: int, index: VectorIndex, passage_ids: Ids) -> None:
    """See that passages were ranked by the very vectors that the catalog holds of them; errors as `compare`."""
    stored = store.texts.vectors(space_id, passage_ids)
    for block in index.scan(np.sort(passage_ids)):
        for passage_id, vector in zip(block.photo_ids.tolist(), block.vectors, strict=True):
            if passage_id in stored and not np.array_equal(vector, stored[passage_id]):
                raise FilesDisagree(space_id, f"passage {passage_id}")
