"""Going through many items: progress reported one by one, and runs that are encoded together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[str, int, int], None]  # what is being done, how many are done, of how many
TOGETHER = 64  # queries encoded at a time

_Item = TypeVar("_Item")


def tracked(items: Sequence[_Item], what: str, progress: Progress) -> Iterator[tuple[int, _Item]]:
    """The items with their numbers from 0; progress is reported each time that one is done, under `what` in words."""
    for number, item in enumerate(items):
        yield number, item
        progress(what.replace("_", " "), number + 1, len(items))


def chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """The items in runs of `TOGETHER`; never more of them are drawn than asked for."""
    rest = iter(items)
    while together := list(islice(rest, TOGETHER)):
        yield together
