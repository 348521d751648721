"""Detects frames of a camera that is broken although it keeps sending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from installation.scene import Frame

# Every n-th row is compared with the previous frame; colours are sampled on a coarser grid.
_ROW_STEP = 8
_GRID_STEP = 16
# Thresholds on pixel values, 0 to 255: the spread of a uniform colour, and the brightness and
# chroma of a dark room or a covered lens, where cameras have little noise.
_UNIFORM_SPREAD = 3
_DARK_LEVEL = 40
_DARK_CHROMA_TOLERANCE = 10


@dataclass(frozen=True, slots=True)
class HealthTiming:
    """When suspicious frames count as those of a broken camera.

    Attributes
    ----------
    checks_per_s
        Frames that are checked per second, at most.
    frozen_after_s
        How long frames may be identical; no sensor is free of noise.
    uniform_after_s
        How long frames may have a single colour.
    recheck_after_s
        Interval of further reports if reopening the source changed nothing.
    """

    checks_per_s: float = 4.0
    frozen_after_s: float = 5.0
    uniform_after_s: float = 3.0
    recheck_after_s: float = 60.0


_TIMING = HealthTiming()


class FrameHealth:
    """Checks the consecutive frames of a live source, across reopenings.

    Identical frames and frames of a single colour come from a camera that hangs or from a broken
    transfer; reopening the camera may help. They may also be genuine: a test pattern, a sheet of
    paper in front of the lens. So they are still shown, and if reopening has changed nothing, it is
    requested only once a minute. Dark frames are never suspicious.

    Parameters
    ----------
    timing
        When suspicious frames are reported.

    Attributes
    ----------
    error
        What seems wrong with the newest frame; None if nothing does.
    """

    def __init__(self, timing: HealthTiming = _TIMING) -> None:
        self.error: str | None = None
        self._timing = timing
        self._sample = b""
        self._next_check_at = 0.0
        self._since = 0.0
        self._recheck_after_s: float | None = None

    def check(self, frame: Frame) -> bool:
        """Check the next frame; return True if the source should be reopened."""
        at = frame.captured_at
        if at < self._next_check_at:
            return False
        self._next_check_at = at + 1 / self._timing.checks_per_s
        error, tolerated_s = self._examine(frame)
        if error is None:
            self.error = self._recheck_after_s = None
            return False
        if self.error != error:
            self.error, self._since = error, at
        if at - self._since < (self._recheck_after_s or tolerated_s):
            return False
        self._since, self._recheck_after_s = at, self._timing.recheck_after_s
        return True

    def _examine(self, frame: Frame) -> tuple[str | None, float]:
        """Return what seems wrong with a frame, and for how many seconds that is tolerated."""
        before, self._sample = self._sample, frame.pixels[::_ROW_STEP].tobytes()
        channels = _sample_channels(frame)
        uniform = all(int(np.ptp(channel)) <= _UNIFORM_SPREAD for channel in channels)
        if not (uniform or self._sample == before) or _is_dark(frame, channels):
            return None, 0.0
        if uniform:
            return "sends frames of a single colour", self._timing.uniform_after_s
        return "sends the same frame again and again", self._timing.frozen_after_s


def _sample_channels(frame: Frame) -> tuple[NDArray[np.uint8], ...]:
    """Return blue, green and red, or luma and both chroma channels, sampled on a coarse grid."""
    pixels = frame.pixels
    if frame.layout == "BGR":
        return tuple(np.moveaxis(pixels[::_GRID_STEP, ::_GRID_STEP], -1, 0))
    if frame.layout == "YUYV":
        rows = pixels[::_GRID_STEP]
        return rows[:, ::_GRID_STEP, 0], rows[:, ::_GRID_STEP, 1], rows[:, 1::_GRID_STEP, 1]
    luma, chroma = np.split(pixels, [frame.height])
    return (
        luma[::_GRID_STEP, ::_GRID_STEP],
        chroma[::_ROW_STEP, ::_GRID_STEP],
        chroma[::_ROW_STEP, 1::_GRID_STEP],
    )


def _is_dark(frame: Frame, channels: tuple[NDArray[np.uint8], ...]) -> bool:
    bright, chroma = (channels, ()) if frame.layout == "BGR" else (channels[:1], channels[1:])
    return all(int(channel.max()) <= _DARK_LEVEL for channel in bright) and all(
        int(np.abs(channel.astype(np.int16) - 128).max()) <= _DARK_CHROMA_TOLERANCE
        for channel in chroma
    )
