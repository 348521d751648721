"""The thread that writes the record, so that no other thread waits for the disk."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from installation.record.entry import Entry
from installation.record.errors import RecordError
from installation.record.expiry import Expiry
from installation.record.store import Store

log = logging.getLogger(__name__)

# Entries that may wait for the disk: a few crowded hours.
_MAX_PENDING = 1000


@dataclass(frozen=True, slots=True)
class WriterTiming:
    """Periods of a `RecordWriter`, in seconds.

    Attributes
    ----------
    retry_min_s, retry_max_s
        Time between attempts after a failure; doubled from the first to the second.
    log_interval_s
        An error that lasts is logged this often.
    expire_interval_s
        Expired rows are looked for this often: rows are dated by the hour.
    close_timeout_s
        Time that closing may take.
    """

    retry_min_s: float = 1.0
    retry_max_s: float = 30.0
    log_interval_s: float = 60.0
    expire_interval_s: float = 3600.0
    close_timeout_s: float = 1.0


class RecordWriter:
    """Writes entries to the record on a thread of its own; its methods never block for long.

    While the disk is full, read-only or broken, recording is paused and retried.

    Parameters
    ----------
    path
        The record; the thread opens or creates it.
    keep_days
        Rows older than this many times 24 hours are deleted, at opening and every hour; see
        `Expiry`. None: all rows are kept.
    timing
        Periods and timeouts.
    """

    def __init__(
        self, path: Path, keep_days: int | None = None, timing: WriterTiming | None = None
    ) -> None:
        self._path = path
        self._timing = timing or WriterTiming()
        self._expiry = Expiry(path, keep_days)
        self._pending: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._retry_s = self._timing.retry_min_s
        self._lost = 0
        self._error: str | None = None
        self._pause_log = _RateLimiter(self._timing.log_interval_s)
        self._loss_log = _RateLimiter(self._timing.log_interval_s)
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    @property
    def error(self) -> str | None:
        """One line on why nothing is recorded at the moment; None if there is no error."""
        return self._error

    @property
    def pending(self) -> int:
        """Number of entries that are not in the record yet."""
        return len(self._pending)

    def submit(self, entries: Iterable[Entry]) -> None:
        """Queue entries for writing; if the queue is full they are lost."""
        before = self._lost
        with self._changed:
            for entry in entries:
                if len(self._pending) < _MAX_PENDING:
                    self._pending.append(entry)
                else:
                    self._lost += 1
            self._changed.notify()
        if self._lost > before:
            line = f"{self._path}: {self._lost} entries lost: the disk does not accept data"
            # A hanging disk raises no error of its own.
            self._error = self._error or line
            if self._loss_log.due():
                log.error("%s", line)

    def close(self) -> None:
        """Write pending entries; those not written within ``close_timeout_s`` are lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(self._timing.close_timeout_s)
        if self._pending:
            log.error("%s: %d entries lost at closing", self._path, len(self._pending))

    def _run(self) -> None:
        while not self._serve():
            with self._changed:
                self._changed.wait_for(lambda: self._closing, self._retry_s)
            self._retry_s = min(self._retry_s * 2, self._timing.retry_max_s)

    def _serve(self) -> bool:
        """Open the record and write entries; return whether this is done for good."""
        # If closing begins during an attempt, one more follows.
        last = self._closing
        try:
            with contextlib.closing(Store(self._path)) as store:
                swept_at = -math.inf
                while True:
                    self._write(store)
                    if time.monotonic() - swept_at >= self._timing.expire_interval_s:
                        swept_at = time.monotonic()
                        self._expiry.sweep(store, time.time())
                    self._resume()
                    with self._changed:
                        self._changed.wait_for(
                            lambda: self._pending or self._closing, self._timing.expire_interval_s
                        )
                        if self._closing and not self._pending:
                            return True
        except RecordError as error:
            self._pause(str(error))
            return last

    def _write(self, store: Store) -> None:
        with self._changed:
            batch = tuple(self._pending)
        if not batch:
            return
        store.add(batch)
        with self._changed:
            # Only now: entries stay pending until they are on the disk.
            for _ in batch:
                self._pending.popleft()

    def _pause(self, reason: str) -> None:
        self._error = f"recording paused: {reason}"
        if self._pause_log.due():
            log.error("%s", self._error)

    def _resume(self) -> None:
        self._retry_s = self._timing.retry_min_s
        self._error = None
        self._lost = 0
        if self._pause_log.logged:
            log.info("%s: recording resumed", self._path)
        self._pause_log.logged = self._loss_log.logged = False


class _RateLimiter:
    """Limits how often a line is logged.

    Parameters
    ----------
    interval_s
        Time between two lines, seconds.

    Attributes
    ----------
    logged
        Whether a line has been logged since this was last reset.
    """

    def __init__(self, interval_s: float) -> None:
        self.logged = False
        self._interval_s = interval_s
        self._logged_at = -math.inf

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._logged_at < self._interval_s:
            return False
        self._logged_at, self.logged = now, True
        return True
