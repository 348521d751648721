"""The capture loop: keeps the newest frame available and reopens a lost camera."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from installation.capture.frame_health import FrameHealth, HealthTiming
from installation.capture.outages import OutageLog
from installation.capture.source import CaptureError, FrameTimeoutError, Source
from installation.runtime.latest import Latest
from installation.scene import Frame

# Interval of heartbeats while waiting.
_BEAT_INTERVAL_S = 1.0
# How long opening a source may take without a heartbeat.
_OPEN_TIMEOUT_S = 60.0
# A video that is this late continues from where it is, instead of catching up.
_MAX_LAG_S = 1.0
_HEALTH_TIMINGS = HealthTiming()


@dataclass(frozen=True, slots=True)
class CaptureTiming:
    """Timeouts and retry delays of `Capture`, seconds.

    Attributes
    ----------
    backoff_min_s, backoff_max_s
        Delay before a lost source is reopened: doubled with each attempt from min to max.
    first_frame_timeout_s, frame_timeout_s
        How long a live source may send no frames: after opening, because cameras start slowly, and
        later.
    health
        When frames count as those of a broken camera.
    """

    backoff_min_s: float = 0.25
    backoff_max_s: float = 1.0
    first_frame_timeout_s: float = 6.0
    frame_timeout_s: float = 2.5
    health: HealthTiming = _HEALTH_TIMINGS


_TIMING = CaptureTiming()


class Capture:
    """Reads a source until it is stopped, and reopens it whenever it is lost.

    `run` needs a thread of its own, which then owns the source; everything else is thread-safe.

    Parameters
    ----------
    source
        Opened by `run`. A live source that is missing or lost is reopened for ever.
    frames
        Receives each frame.
    beat
        Called at least about once a second, except while a source hangs: a network camera that does
        not respond may block for four seconds. The argument is how many additional seconds may pass
        until the next call: many while a source is being opened, which resolves host names and
        queries webcams.
    timing
        Timeouts and retry delays.
    """

    def __init__(
        self,
        source: Source,
        frames: Latest[Frame],
        beat: Callable[[float], object] = lambda _more_s: None,
        timing: CaptureTiming = _TIMING,
    ) -> None:
        self._source = self._requested_source = source
        self._frames = frames
        self._beat = beat
        self._timing = timing
        self._outages = OutageLog()
        self._health = FrameHealth(timing.health)
        self._seq = 0
        self._backoff_s = timing.backoff_min_s
        # If the first source is a file that cannot be opened, that is an error and no outage.
        self._must_open: Source | None = source if source.interval_s is not None else None
        # Requests of other threads, and the event that announces them.
        self._stopped = False
        self._paused = False
        self._requested = threading.Event()

    @property
    def name(self) -> str:
        """Name of the source."""
        return self._requested_source.name

    @property
    def error(self) -> str | None:
        """Why there are no reliable frames now, in one line; None if there are."""
        return self._outages.error

    @property
    def outages(self) -> int:
        """How many times the source was lost."""
        return self._outages.count

    def run(self) -> None:
        """Capture until `stop` or the end of a video; then close the source and `frames`.

        Raises
        ------
        CaptureError
            The first source is a file and cannot be opened.
        """
        try:
            while self._apply_requests():
                try:
                    if self._capture():
                        return
                except CaptureError as error:
                    if self._source is self._must_open:
                        raise
                    self._outages.record_loss(str(error))
                    self._wait(self._backoff_s)
                    self._backoff_s = min(self._backoff_s * 2, self._timing.backoff_max_s)
        finally:
            self._frames.close()

    def stop(self) -> None:
        """Ask `run` to return, which takes up to about a second, or as long as a read hangs."""
        self._stopped = True
        self._requested.set()

    def set_source(self, source: Source) -> None:
        """Switch to another source; if it cannot be opened, it counts as lost."""
        self._requested_source = source
        self._requested.set()

    def pause(self) -> None:
        """Close the source until `resume`."""
        self._paused = True
        self._requested.set()

    def resume(self) -> None:
        """Open the source again."""
        self._paused = False
        self._requested.set()

    def _apply_requests(self) -> bool:
        """Apply the requests of other threads; return False if capture is to stop."""
        while True:
            # Cleared before the requests are read, so that none is missed.
            self._requested.clear()
            if self._stopped:
                return False
            if self._source is not self._requested_source:
                self._source = self._requested_source
                self._reset_state()
            if not self._paused:
                return True
            self._reset_state()
            self._wait(math.inf)

    def _capture(self) -> bool:
        """Open the source, read it and close it; return True at the end of a video."""
        try:
            self._beat(_OPEN_TIMEOUT_S)
            self._source.open()
            self._must_open = None
            return self._read_frames()
        finally:
            # Closed before waiting: a camera that is plugged in again while its old device is still
            # open gets another number.
            self._source.close()

    def _read_frames(self) -> bool:
        """Read until an error or a request; return True at the end of a video."""
        opened = last = due = time.monotonic()
        skipped = False
        while not self._requested.is_set():
            self._beat(0.0)
            try:
                pixels = self._source.read()
            except FrameTimeoutError:
                timing = self._timing
                first = last == opened
                timeout_s = timing.first_frame_timeout_s if first else timing.frame_timeout_s
                if time.monotonic() - last < timeout_s:
                    continue
                raise
            if pixels is None:
                return True
            seq, self._seq = self._seq, self._seq + 1
            interval_s = self._source.interval_s
            if interval_s is not None:
                due += interval_s
                late = time.monotonic() - due
                if late > interval_s and not skipped:
                    skipped = True  # A late video catches up by skipping every other frame.
                    continue
                skipped = False
                if late > _MAX_LAG_S:
                    due += late
                self._wait(-late)
            last = time.monotonic()
            frame = Frame(seq, last, pixels)
            self._check_health(frame)
            self._frames.put(frame)
        return False

    def _check_health(self, frame: Frame) -> None:
        """End an outage with a healthy frame; raise when frames are those of a broken camera."""
        if self._source.interval_s is None and self._health.check(frame):
            raise CaptureError(
                f"{self._source.name}: {self._health.error}; unless the scene really looks like "
                "that, plug the camera in again or try another cable"
            )
        if self._health.error is None:
            self._backoff_s = self._timing.backoff_min_s
            self._outages.record_recovery(self._source.name)

    def _reset_state(self) -> None:
        self._outages.reset()
        # The old one keeps a sample of the last frame.
        self._health = FrameHealth(self._timing.health)
        self._backoff_s = self._timing.backoff_min_s

    def _wait(self, seconds: float) -> None:
        """Wait, with heartbeats, or until a request."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._requested.is_set():
            self._beat(0.0)
            self._requested.wait(min(left, _BEAT_INTERVAL_S))
