"""Counts and logs the outages of a source, with a limited number of log lines."""

from __future__ import annotations

import logging
import time
from collections import deque

log = logging.getLogger(__name__)

# An outage that lasts is logged again at this interval; within one interval at most so many outages
# of an unreliable source are logged.
_LOG_INTERVAL_S = 60.0
_MAX_LINES = 5


class OutageLog:
    """The outages of a source; written by one thread, read by any.

    Attributes
    ----------
    error
        Why there are no reliable frames now, in one line; None if there are.
    count
        Number of outages so far.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self.count = 0
        self._since = 0.0
        self._logged = False
        self._logged_at: deque[float] = deque([float("-inf")] * _MAX_LINES, _MAX_LINES)

    def record_loss(self, error: str) -> None:
        """Record that the source is lost, or still is."""
        now = time.monotonic()
        if self.error is None:
            self.count += 1
            self._since = now
            self._logged = False
        self.error = error
        last = self._logged_at[-1] if self._logged else self._logged_at[0]
        if now - last >= _LOG_INTERVAL_S:
            duration = f" (lost {now - self._since:.0f} s ago)" if self._logged else ""
            log.error("%s%s", error, duration)
            self._logged = True
            self._logged_at.append(now)

    def record_recovery(self, name: str) -> None:
        """Record that the source works."""
        if self.error is not None and self._logged:
            log.info("%s: back after %.1f s", name, time.monotonic() - self._since)
        self.reset()

    def reset(self) -> None:
        """End an outage without a log line, because the source is no longer wanted."""
        self.error = None
