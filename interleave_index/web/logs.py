"""A log that stays readable under attack: so many records a minute, and few tracebacks among them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOGGERS = ("uvicorn.error", "interleave_index.web", "interleave_index.web.http", "asyncio")
RECORDS, TRACEBACKS = 20, 2  # a minute


class Sparing(logging.Filter):
    """Lets a number of records of a minute through, and says how many it kept back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minute = 0
        self._records = self._tracebacks = self._kept_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            if self._kept_back:
                record.msg = f"{record.getMessage()} (and {self._kept_back} more records in the minute before)"
                record.args = ()
            self._minute, self._records, self._tracebacks, self._kept_back = minute, 0, 0, 0
        if self._records >= RECORDS:
            self._kept_back += 1
            return False
        self._records += 1
        if record.exc_info:
            self._tracebacks += 1
            if self._tracebacks > TRACEBACKS:
                record.msg = f"{record.getMessage()} ({record.exc_info[1]!r})"
                record.args, record.exc_info, record.exc_text = (), None, None
        return True


def spare_the_logs() -> None:
    """Put one filter before all that a server writes."""
    sparing = Sparing()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in [one for one in logger.filters if isinstance(one, Sparing)]:
            logger.removeFilter(old)
        logger.addFilter(sparing)
