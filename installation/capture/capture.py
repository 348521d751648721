"""The capture loop: keeps the newest frame ready and gets a lost camera back."""

from __future__ import annotations

import logging
import threading
import time

from installation.capture.source import CaptureError, Source
from installation.handover import Latest
from installation.scene import Frame

log = logging.getLogger(__name__)

# Seconds between attempts to reopen a lost source: doubled from the first to the last.
_FIRST_WAIT = 0.5
_LAST_WAIT = 10.0
# A loss that lasts is logged this often, seconds.
_LOG_EVERY = 60.0
# A film that lags this many seconds goes on from where it is.
_TOO_LATE = 1.0


class Capture:
    """Reads a source for as long as it is let, whatever becomes of the device.

    Parameters
    ----------
    source
        Opened already; from the call of `run` on, it belongs to that thread.
    frames
        Receives each frame.
    """

    def __init__(self, source: Source, frames: Latest[Frame]) -> None:
        self._source = source
        self._frames = frames
        self._stop = threading.Event()
        self._seq = 0
        self._loss_logged = False
        self._wait = _FIRST_WAIT
        self._logged_at = -_LOG_EVERY

    def run(self) -> None:
        """Capture until `stop`, or the end of a film; then close the source and the slot."""
        try:
            trouble: CaptureError | None = None
            while not self._stop.is_set():
                try:
                    if trouble is not None:
                        self._recover(trouble)
                    if self._read_all():
                        return
                except CaptureError as error:
                    trouble = error
        finally:
            self._source.close()
            self._frames.close()

    def stop(self) -> None:
        """Ask `run` to return; it does after the picture it is waiting for."""
        self._stop.set()

    def _read_all(self) -> bool:
        """Read on while all goes well; True at the end."""
        due, skipped = time.monotonic(), False
        while not self._stop.is_set():
            picture = self._source.read()
            if picture is None:
                return True
            self._greet()
            seq, self._seq = self._seq, self._seq + 1
            if self._source.pace is not None:
                due += 1 / self._source.pace
                late = time.monotonic() - due
                if late > 1 / self._source.pace and not skipped:
                    skipped = True  # A film keeps its pace by leaving out pictures.
                    continue
                skipped = False
                if late > _TOO_LATE:
                    due += late
                self._stop.wait(max(-late, 0))
            self._frames.put(Frame(seq, time.monotonic(), picture))
        return True

    def _recover(self, error: CaptureError) -> None:
        """Let go of the source, wait, and open it again; `_greet` tells when that has helped."""
        if time.monotonic() - self._logged_at >= _LOG_EVERY:
            log.error("%s", error)
            self._logged_at = time.monotonic()
            self._loss_logged = True
        # Let go first: a camera that is plugged in again while held open gets another number.
        self._source.close()
        self._stop.wait(self._wait)
        self._wait = min(self._wait * 2, _LAST_WAIT)
        if not self._stop.is_set():
            self._source.open()

    def _greet(self) -> None:
        """Take the first picture after a loss as the end of it."""
        self._wait = _FIRST_WAIT
        if self._loss_logged:
            log.info("%s: back", self._source.name)
            self._loss_logged = False
