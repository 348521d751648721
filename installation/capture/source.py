"""The source contract: what every source of frames promises."""

from __future__ import annotations

import os
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.errors import InstallationError

# Timeout for reading from a webcam; OpenCV's default is 10 s.
READ_TIMEOUT_S = 1
# OpenCV reads these variables at the first use of V4L2 and FFmpeg. The libraries' own messages are
# suppressed.
os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(READ_TIMEOUT_S)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_NO_LOG = 0
# OpenCV 5 has moved this function.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_set_log_level(_NO_LOG)


class CaptureError(InstallationError):
    """A source cannot be opened, or has stopped delivering frames."""


class FrameTimeoutError(CaptureError):
    """No frame within the timeout; the source is still open and can be read again."""


class Source(Protocol):
    """A source of frames; used by one thread at a time.

    Attributes
    ----------
    name
        Name that a technician recognises.
    interval_s
        For files: time between the last two frames that were read, seconds, at which they are to be
        shown; may differ for every frame. None for live sources, which set the pace themselves and
        may come back after an outage.
    """

    name: str
    interval_s: float | None

    def open(self) -> None:
        """Open or reopen the source; raises `CaptureError`."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next frame's pixels, in a layout of `Frame.pixels`; None at the end.

        Raises `CaptureError` if the source fails, and `FrameTimeoutError` if no frame comes within
        about a second.
        """

    def close(self) -> None:
        """Close the source; does nothing if it is not open."""


def read_frame(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """Read a frame's pixels; None if OpenCV returns none, or something else."""
    try:
        ok, pixels = capture.read()
    except cv2.error:
        return None
    if not ok or pixels is None or pixels.dtype != np.uint8 or not pixels.size:
        return None
    return np.asarray(pixels, np.uint8)
