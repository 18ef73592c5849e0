"""Dies at every step of writing, optimizing and forgetting, once per copy of an index, as kill -9 would.

Run as ``python crash_driver.py INDEX FOLDER``: INDEX is copied to FOLDER/<step> for every step. Each copy is worked on
by a child that ends itself without any clean-up. No test by itself: `test_crashes.py` looks at what is left.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from interleave_index.records import PhotoEncoding, PhotoFacts
from interleave_index.storage import files, generations, upkeep, writes
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch
from interleave_index.storage.store import Store

# step: (what is done, whose function, its name, die before or after that function)
STEPS: dict[str, tuple[str, Any, str, str]] = {
    "optimize, file half written": ("optimize", files, "_finish", "before"),
    "optimize, file not synced": ("optimize", os, "fsync", "before"),
    "optimize, file not named": ("optimize", files, "publish", "before"),
    "optimize, one file named": ("optimize", files, "publish", "after"),
    "optimize, both files named": ("optimize", generations, "commit", "before"),
    "optimize, rows not committed": ("optimize", generations, "raise_change", "after"),
    "optimize, old files still there": ("optimize", upkeep.Upkeep, "sweep", "before"),
    "optimize, one old file removed": ("optimize", Path, "unlink", "after"),
    "write, counter raised": ("write", writes, "raise_seq", "after"),
    "write, no locations yet": ("write", writes, "_write_locations", "before"),
    "write, not committed": ("write", writes, "raise_change", "after"),
    "forget, vectors taken out": ("forget", writes, "take_out", "after"),
    "forget, not committed": ("forget", writes, "raise_change", "after"),
}


def encoding(seed: int, regions: int) -> PhotoEncoding:
    """Vectors of the photo that the write step adds."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(regions + 1, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    flat = np.zeros(regions, np.float32)
    return PhotoEncoding(rows[0], rows[1:], np.zeros((regions, 4), np.float32), flat, flat, ())


def act(store: Store, what: str) -> None:
    """Do what a step is about."""
    if what == "optimize":
        store.optimize(1)
    elif what == "forget":
        store.forget([2, 3])
    else:
        facts = [PhotoFacts(f"{i:064x}", 1, 1, "PNG") for i in range(3)]
        store.write(
            WriteBatch(
                1,
                [PhotoWrite(fact, encoding(i, i)) for i, fact in enumerate(facts)],
                [LocationWrite(f"/photos/{i}.png", f"{i:064x}", 1, 1) for i in range(3)],
            )
        )


def dying(real: Callable[..., Any], when: str) -> Callable[..., Any]:
    """The function, with the end of the process before or after it."""

    def call(*args: Any, **named: Any) -> Any:
        if when == "after":
            real(*args, **named)
        os._exit(9)

    return call


def main(index: Path, folder: Path) -> None:
    """Work through every step."""
    for step, (what, owner, name, when) in STEPS.items():
        copy = shutil.copytree(index, folder / step)
        child = os.fork()
        if child == 0:
            store = Store.open(copy)
            setattr(owner, name, dying(getattr(owner, name), when))
            act(store, what)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 9:
            sys.exit(f"{step}: the step was never reached")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
