"""Which FAISS files a fold leaves, and which it writes anew with what came since. Pure: knows no SQL, no files.

Files of one kind hold one after the other what was encoded between two values of the counter. A fold writes one new
file of all that was encoded after some value. It gathers what came since the last file and takes older files in as
long as they are small beside what is gathered:

    take in the file before while its rows <= ABSORB * rows gathered so far

A file that is taken in makes the new one at least (1 + 1 / ABSORB) times as large as it, so that a row is rewritten a
logarithmic number of times; sizes grow by more than ABSORB from file to file, so that their number is logarithmic,
too. Size-tiered compaction: O'Neil et al., The log-structured merge-tree, Acta Informatica 33 (1996).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .recipes import recipe_for

if TYPE_CHECKING:
    from .files import Kind

ABSORB = 2.0
DEAD_SHARE = 0.2  # of the rows of a file that were taken out, from which it is written anew
FOLD_SHARE, FOLD_ROWS = 0.05, 2_000  # rows outside of files that are folded in after an ingest; the least of both


@dataclass(frozen=True, slots=True)
class Held:
    """A file as a fold sees it.

    Attributes:
        after, mark: it holds what was encoded with ``after < seq <= mark``.
        rows: in the file.
        living: of them, those that still hold.
        is_whole: the file is as it was written.
    """

    after: int
    mark: int
    rows: int
    living: int
    is_whole: bool = True

    @property
    def is_spent(self) -> bool:
        """Whether it is to be written anew whatever came."""
        return not self.is_whole or self.rows - self.living > DEAD_SHARE * self.rows


def fold_after(files: Mapping[Kind, Sequence[Held]], came: Mapping[Kind, int], dim: int) -> int:
    """The value of the counter after which all is written anew; 0 is everything.

    Args:
        files: of kinds whose files are made together, by mark; by kind.
        came: rows encoded after the last file, by kind; where it is none, and no file is spent, everything is
            written: whoever asks then wants one file.
    """
    boundaries = set.intersection(*({0, *(file.mark for file in of_kind)} for of_kind in files.values()))
    spent = [file.after for of_kind in files.values() for file in of_kind if file.is_spent]
    if not spent and not any(came.values()):
        return 0
    last = min([max(boundaries), *spent])
    after = max(boundary for boundary in boundaries if boundary <= last)
    for older in sorted((boundary for boundary in boundaries if boundary < after), reverse=True):
        if not any(_absorbs(of_kind, came[kind], older, after, dim) for kind, of_kind in files.items()):
            break
        after = older
    return after


def _absorbs(files: Sequence[Held], came: int, older: int, after: int, dim: int) -> bool:
    """Whether what is gathered after `after` takes in what was encoded after `older`."""
    gathered = came + sum(file.living for file in files if file.mark > after)
    before = sum(file.living for file in files if older < file.mark <= after)
    if 0 < before <= ABSORB * gathered:
        return True
    flat = [file.living for file in files if file.mark <= after and not recipe_for(file.rows, dim).coarse]
    return any(flat) and not recipe_for(gathered, dim).coarse and recipe_for(sum(flat) + gathered, dim).coarse


def is_due(came: int, went: int, rows: int, files: Mapping[Kind, Sequence[Held]]) -> bool:
    """Whether a fold is worth its while after an ingest.

    Args:
        came, went: photos (or passages) encoded, and taken out, after the last file.
        rows: all that hold.
        files: as above.
    """
    is_much = came > 0 and came + went > min(FOLD_ROWS, FOLD_SHARE * rows)
    return is_much or any(file.is_spent for of_kind in files.values() for file in of_kind)
