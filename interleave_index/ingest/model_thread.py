"""The thread in which models take photos in: one of this process, for all runs that follow each other in it.

The C library keeps what a thread has freed for the thread that comes next to the same memory. A new thread for each
run would come to another part of it each time, and a process that watches folders for hours would keep the largest
need of a model several times over.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "model")


if hasattr(os, "register_at_fork"):  # the thread does not outlive a fork
    os.register_at_fork(after_in_child=_thread.cache_clear)


def submit(do: Callable[P, T], *args: P.args, **more: P.kwargs) -> Future[T]:
    """Have something done in the thread, after what it was given before."""
    return _thread().submit(do, *args, **more)


def wait_until_idle() -> None:
    """Return when all that it was given so far is done."""
    submit(int).result()
