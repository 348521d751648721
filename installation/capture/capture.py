"""The capture loop: keeps the newest frame ready and gets a lost camera back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from installation.capture.frame_health import FrameHealth
from installation.capture.outages import OutageLog
from installation.capture.source import CaptureError, FrameTimeoutError, Source
from installation.runtime.latest import Latest
from installation.scene import Frame

# Seconds between attempts to reopen a lost source: doubled from the first to the last.
_BACKOFF_MIN_S = 0.25
_BACKOFF_MAX_S = 1.0
# Seconds a live source may be silent: after it was opened, as cameras start slowly, and later.
_FIRST_FRAME_TIMEOUT_S = 6.0
_FRAME_TIMEOUT_S = 2.5
# Signs of life are given this often, seconds, whatever is waited for.
_BEAT = 1.0
# Seconds that opening a source may take without one.
_OPENING = 60.0
# A film that lags this many seconds goes on from where it is.
_TOO_LATE = 1.0


class Capture:
    """Reads a source for as long as it is let, whatever becomes of the device.

    `run` is for a thread of its own, to which the source belongs from then on; all else may be
    called and read from any other.

    Parameters
    ----------
    source
        Opened by `run`. A live one that is not there, or is lost, is tried again for ever.
    frames
        Receives each frame.
    beat
        Called about every second or more often, except while a source hangs: a network camera that
        does not answer can do so for four seconds at a time. It is given how many seconds more the
        next call may take: many while a source is opened, which looks up names and asks webcams.
    """

    def __init__(
        self,
        source: Source,
        frames: Latest[Frame],
        beat: Callable[[float], object] = lambda _more: None,
    ) -> None:
        self._source = self._wanted = source
        self._frames = frames
        self._beat = beat
        self._losses = OutageLog()
        self._health = FrameHealth()
        self._seq = 0
        self._wait = _BACKOFF_MIN_S
        # One that cannot be opened at all ends the program, unless it may come back.
        self._unproven: Source | None = source if source.interval_s is not None else None
        # What the others ask for, and the sign that they have.
        self._stopped = False
        self._resting = False
        self._orders = threading.Event()

    @property
    def name(self) -> str:
        """Of the source."""
        return self._wanted.name

    @property
    def trouble(self) -> str | None:
        """Why there are no pictures now, or none to rely on, in one line; None: all is well."""
        return self._losses.trouble

    @property
    def losses(self) -> int:
        """How many times the source was lost."""
        return self._losses.count

    def run(self) -> None:
        """Capture until `stop`, or the end of a film; then close the source and the slot.

        Raises
        ------
        CaptureError
            The first source is none that may come back, and cannot be opened.
        """
        try:
            while self._apply_requests():
                try:
                    if self._capture():
                        return
                except CaptureError as error:
                    if self._source is self._unproven:
                        raise
                    self._losses.lose(str(error))
                    self._pause(self._wait)
                    self._wait = min(self._wait * 2, _BACKOFF_MAX_S)
        finally:
            self._frames.close()

    def stop(self) -> None:
        """Ask `run` to return; it does within about a second, or as soon as a source that hangs."""
        self._stopped = True
        self._orders.set()

    def use(self, source: Source) -> None:
        """Go on with another source; one that is not there counts as lost, of whatever kind."""
        self._wanted = source
        self._orders.set()

    def rest(self) -> None:
        """Close the source, so that no camera looks, until `wake`."""
        self._resting = True
        self._orders.set()

    def wake(self) -> None:
        """Open the source again."""
        self._resting = False
        self._orders.set()

    def _apply_requests(self) -> bool:
        """Do what the others ask for; False at the end."""
        while True:
            # Before it is looked at: what is asked for meanwhile is not missed.
            self._orders.clear()
            if self._stopped:
                return False
            if self._source is not self._wanted:
                self._source = self._wanted
                self._reset_state()
            if not self._resting:
                return True
            self._reset_state()
            self._pause(math.inf)

    def _capture(self) -> bool:
        """Open, read on and close; True at the end of a film."""
        try:
            self._beat(_OPENING)
            self._source.open()
            self._unproven = None
            return self._read_on()
        finally:
            # Before any waiting: a camera that is plugged in again while it is held open gets
            # another number.
            self._source.close()

    def _read_on(self) -> bool:
        """Read while all goes well and nothing is asked for; True at the end of a film."""
        opened = last = due = time.monotonic()
        skipped = False
        while not self._orders.is_set():
            self._beat(0.0)
            try:
                picture = self._source.read()
            except FrameTimeoutError:
                patience = _FIRST_FRAME_TIMEOUT_S if last == opened else _FRAME_TIMEOUT_S
                if time.monotonic() - last < patience:
                    continue
                raise
            if picture is None:
                return True
            seq, self._seq = self._seq, self._seq + 1
            interval_s = self._source.interval_s
            if interval_s is not None:
                due += interval_s
                late = time.monotonic() - due
                if late > interval_s and not skipped:
                    skipped = True  # A film keeps its pace by leaving out pictures.
                    continue
                skipped = False
                if late > _TOO_LATE:
                    due += late
                self._pause(-late)
            last = time.monotonic()
            frame = Frame(seq, last, picture)
            self._check_health(frame)
            self._frames.put(frame)
        return False

    def _check_health(self, frame: Frame) -> None:
        """Take a sound picture as the end of a loss, and one of a broken camera as a loss."""
        if self._source.interval_s is None and self._health.look(frame):
            raise CaptureError(
                f"{self._source.name}: {self._health.doubt}; "
                "where that is not what it sees, plug it in again or try another cable"
            )
        if self._health.doubt is None:
            self._wait = _BACKOFF_MIN_S
            self._losses.recover(self._source.name)

    def _reset_state(self) -> None:
        self._losses.forget()
        # It remembers a picture.
        self._health = FrameHealth()
        self._wait = _BACKOFF_MIN_S

    def _pause(self, seconds: float) -> None:
        """Wait, with signs of life, unless something is asked for."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._orders.is_set():
            self._beat(0.0)
            self._orders.wait(min(left, _BEAT))
