"""What threads cost the rest of the machine: how long they spin, and what memory they leave behind.

Knows the environment and the C library only.
"""

from __future__ import annotations

import ctypes
import os
import sys

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


def return_freed_memory() -> None:
    """Give memory that is free in this process, but still counted as its own, back to the system.

    The C library of most Linux systems (glibc) keeps most of what was freed, in a heap for each thread that ever ran
    beside others: after an ingest that is what the model needed, tens of megabytes or more. Other systems need no call,
    and get none.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
