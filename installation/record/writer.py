"""The recording thread: takes entries without delay, and waits for the disk so that nobody must."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from installation.record.entry import Entry
from installation.record.errors import RecordError
from installation.record.expiry import Expiry
from installation.record.store import Store

log = logging.getLogger(__name__)

# Entries that may wait for the disk: some crowded hours.
_QUEUE_LIMIT = 1000
# Seconds between attempts after one has failed: doubled from the first to the last.
_FIRST_WAIT = 1.0
_LAST_WAIT = 30.0
# Trouble that lasts is logged this often, seconds.
_LOG_EVERY = 60.0
# Rows that are too old are looked for this often, seconds: hours are what rows have.
_EXPIRE_INTERVAL_S = 3600.0
# Seconds that closing may take.
_FAREWELL = 1.0


class RecordWriter:
    """Writes entries to the record on a thread of its own, and never holds up whoever has some.

    While the disk is full, read-only or broken, recording pauses and is tried again and again.

    Parameters
    ----------
    path
        The record; opened, or begun, by the thread.
    keep_days
        Rows older than so many times 24 hours are deleted, at opening and each hour; see `Expiry`.
        None keeps all.
    """

    def __init__(self, path: Path, keep_days: int | None = None) -> None:
        self._path = path
        self._expiry = Expiry(path, keep_days)
        self._waiting: deque[Entry] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._wait = _FIRST_WAIT
        self._lost = 0
        self._trouble: str | None = None
        self._pauses = _RateLimiter()
        self._losses = _RateLimiter()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str | None:
        """Why nothing is recorded just now, in a line; None while all is well."""
        return self._trouble

    @property
    def waiting(self) -> int:
        """How many entries are not in the record yet."""
        return len(self._waiting)

    def keep(self, entries: Iterable[Entry]) -> None:
        """Hand over entries; they are written soon, or lost where too many wait already."""
        before = self._lost
        with self._changed:
            for entry in entries:
                if len(self._waiting) < _QUEUE_LIMIT:
                    self._waiting.append(entry)
                else:
                    self._lost += 1
            self._changed.notify()
        if self._lost > before:
            line = f"{self._path}: {self._lost} entries lost; the disk takes none: see to it"
            # A disk that hangs raises nothing: then this is how it shows.
            self._trouble = self._trouble or line
            if self._losses.due():
                log.error("%s", line)

    def close(self) -> None:
        """Write what waits, within a second; what the disk does not take by then is lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_FAREWELL)
        if self._waiting:
            log.error("%s: %d entries lost at closing", self._path, len(self._waiting))

    def _run(self) -> None:
        while not self._serve():
            with self._changed:
                self._changed.wait_for(lambda: self._closing, self._wait)
            self._wait = min(self._wait * 2, _LAST_WAIT)

    def _serve(self) -> bool:
        """Open the record and write what comes; True when all is done, or there is no use."""
        # An attempt that closing interrupts is not the last.
        last = self._closing
        try:
            with contextlib.closing(Store(self._path)) as store:
                swept_at = -math.inf
                while True:
                    self._write(store)
                    if time.monotonic() - swept_at >= _EXPIRE_INTERVAL_S:
                        swept_at = time.monotonic()
                        self._expiry.sweep(store, time.time())
                    self._resume()
                    with self._changed:
                        self._changed.wait_for(
                            lambda: self._waiting or self._closing, _EXPIRE_INTERVAL_S
                        )
                        if self._closing and not self._waiting:
                            return True
        except RecordError as error:
            self._pause(str(error))
            return last

    def _write(self, store: Store) -> None:
        with self._changed:
            batch = tuple(self._waiting)
        if not batch:
            return
        store.add(batch)
        with self._changed:
            # Only now: what the disk has not taken yet still waits.
            for _ in batch:
                self._waiting.popleft()

    def _pause(self, reason: str) -> None:
        self._trouble = f"recording pauses: {reason}"
        if self._pauses.due():
            log.error("%s", self._trouble)

    def _resume(self) -> None:
        self._wait = _FIRST_WAIT
        self._trouble = None
        self._lost = 0
        if self._pauses.said:
            log.info("%s: recording goes on", self._path)
        self._pauses.said = self._losses.said = False


class _RateLimiter:
    """Lets a line be logged once a minute.

    Attributes
    ----------
    said
        Whether it was, since somebody took that back.
    """

    def __init__(self) -> None:
        self.said = False
        self._at = -_LOG_EVERY

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._at < _LOG_EVERY:
            return False
        self._at, self.said = now, True
        return True
