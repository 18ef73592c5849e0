"""Wrong tokens, counted: each address may be wrong a few times, and all together a few times more."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from .problems import Refused

OF_ONE, SECONDS_OF_ONE = 10, 10.0  # wrong tokens of one address, and after how long it may be wrong once more
OF_ALL, SECONDS_OF_ALL = 60, 1.0
REMEMBERED = 10_000  # addresses


@dataclass(slots=True)
class _Allowance:
    """What is left of a number that grows back with time."""

    left: float
    seen: float


class Guesses:
    """How often a token may still be tried.

    When one address has been wrong too often, its tokens are not even compared for a while. When all together have,
    only those of addresses that were right before are; so nobody can lock the owner out from elsewhere.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of_one: OrderedDict[str, _Allowance] = OrderedDict()
        self._of_all = _Allowance(OF_ALL, clock())
        self._right: OrderedDict[str, None] = OrderedDict()

    def check(self, client: str) -> None:
        """Refused with 429 when a token of this client may not be compared now."""
        own = self._of_one.get(client)
        if own is not None:
            self._grow(own, OF_ONE, SECONDS_OF_ONE)
            if own.left < 1:
                raise _too_many((1 - own.left) * SECONDS_OF_ONE)
        self._grow(self._of_all, OF_ALL, SECONDS_OF_ALL)
        if self._of_all.left < 1 and client not in self._right:
            raise _too_many((1 - self._of_all.left) * SECONDS_OF_ALL)

    def was_wrong(self, client: str) -> None:
        """Count a wrong token."""
        own = self._of_one.setdefault(client, _Allowance(OF_ONE, self._clock()))
        self._of_one.move_to_end(client)
        own.left -= 1
        self._of_all.left = max(0.0, self._of_all.left - 1)
        while len(self._of_one) > REMEMBERED:
            self._of_one.popitem(last=False)

    def was_right(self, client: str) -> None:
        """Remember a client that knows the token."""
        self._right[client] = None
        self._right.move_to_end(client)
        while len(self._right) > REMEMBERED:
            self._right.popitem(last=False)

    def _grow(self, allowance: _Allowance, most: int, seconds: float) -> None:
        now = self._clock()
        allowance.left = min(float(most), allowance.left + (now - allowance.seen) / seconds)
        allowance.seen = now


def _too_many(seconds: float) -> Refused:
    wait = max(1, math.ceil(seconds))
    return Refused(429, f"too many wrong tokens; come back in {wait} s", retry_after=wait)
