"""How many photos a model takes at a time: as many as fit, found by trying. Knows torch's errors and no model."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Batcher:
    """Runs work in batches; a batch that does not fit into memory is halved and tried again.

    The size that worked is kept for the next call. After `patience` full batches without trouble one twice as
    large is tried, up to `most`, but never again one that did not fit.

    Args:
        start: photos of the first batch.
        most: photos of the largest batch.
        patience: full batches before a larger one is tried.
    """

    def __init__(self, start: int, most: int, patience: int = 2) -> None:
        self.size, self.most, self._patience, self._good = max(1, min(start, most)), max(1, most), patience, 0

    def run(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Made]]) -> list[Made]:
        """What `work` makes of the items, in order.

        Raises:
            whatever `work` raises; out of memory only when a single item does not fit.
        """
        made: list[Made] = []
        at = 0
        while at < len(items):
            batch = items[at : at + self.size]
            try:
                made += work(batch)
            except Exception as error:
                if not out_of_memory(error) or len(batch) == 1:
                    raise
                self.size = self.most = max(1, len(batch) // 2)
                self._good = 0
            else:
                at += len(batch)
                self._grow(len(batch))
                continue
            _free()  # here the failed batch and its traceback are gone
        return made

    def _grow(self, done: int) -> None:
        if done < self.size or self.size == self.most:
            return
        self._good += 1
        if self._good >= self._patience:
            self.size, self._good = min(2 * self.size, self.most), 0


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in words or "can't allocate memory" in words or "not enough memory" in words
    )


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
