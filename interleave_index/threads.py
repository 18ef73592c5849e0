"""How long threads of numerical libraries spin while they wait for work. Knows the environment only."""

from __future__ import annotations

import os

BRIEFLY = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",
    "OPENBLAS_THREAD_TIMEOUT": "4",  # a power of two; numpy's threads spin for 20 ms by default
}


def spin_briefly() -> None:
    """Have the threads of numpy, FAISS and torch spin for some microseconds, unless the user has said how long.

    Threads that spin long take the processor from those that work: two programs on one machine become ten times slower,
    and a search twice. Threads that sleep at once make one photo take twice as long. It is to be called before numpy
    and torch are loaded, and holds for child processes too.
    """
    for name, value in BRIEFLY.items():
        os.environ.setdefault(name, value)
