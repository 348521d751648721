"""The losses of a source, counted and told to technicians: a line an event, however many."""

from __future__ import annotations

import logging
import time
from collections import deque

log = logging.getLogger(__name__)

# A loss that lasts is told again this often, seconds; of a source that comes and goes, no more
# losses than so many in that time.
_LOG_EVERY = 60.0
_LOG_AT_MOST = 5


class OutageLog:
    """What became of a source; written by one thread, read by any.

    Attributes
    ----------
    trouble
        Why there are no pictures now, or none to rely on, in one line; None: all is well.
    count
        How many times that began.
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self.count = 0
        self._since = 0.0
        self._told = False
        self._lines: deque[float] = deque([float("-inf")] * _LOG_AT_MOST, _LOG_AT_MOST)

    def lose(self, trouble: str) -> None:
        """Note that the source is lost, or still is."""
        now = time.monotonic()
        if self.trouble is None:
            self.count += 1
            self._since = now
            self._told = False
        self.trouble = trouble
        last = self._lines[-1] if self._told else self._lines[0]
        if now - last >= _LOG_EVERY:
            lasting = f" (lost {now - self._since:.0f} s ago)" if self._told else ""
            log.error("%s%s", trouble, lasting)
            self._told = True
            self._lines.append(now)

    def recover(self, name: str) -> None:
        """Note that all is well with the source."""
        if self.trouble is not None and self._told:
            log.info("%s: back after %.1f s", name, time.monotonic() - self._since)
        self.forget()

    def forget(self) -> None:
        """Note that the source is not wanted any more, lost or not."""
        self.trouble = None
