"""The source contract: what every place that pictures come from promises."""

from __future__ import annotations

import os
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.errors import InstallationError

# Seconds after which a read of a webcam that sends nothing returns; 10 is what OpenCV would take.
READ_TIMEOUT_S = 1
# The variables are read at the first use of V4L2 and FFmpeg. The libraries' own chatter is not for
# technicians.
os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(READ_TIMEOUT_S)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
_NO_LOG = 0
# OpenCV 5 has it in another place than 4.
_set_log_level = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
_set_log_level(_NO_LOG)


class CaptureError(InstallationError):
    """A source cannot be opened, or has stopped giving pictures."""


class FrameTimeoutError(CaptureError):
    """A source gives no picture now; it is still open and can be read again."""


class Source(Protocol):
    """Somewhere pictures come from; used from one thread at a time.

    Attributes
    ----------
    name
        As a technician would recognise it.
    interval_s
        Seconds from the frame read before to the one read last, by which a source that is no
        device is paced; it may change with every frame. None for a live source, which sets the pace
        itself and which, when it is not there, may come back.
    """

    name: str
    interval_s: float | None

    def open(self) -> None:
        """Open or reopen; raises `CaptureError`."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next picture, in one of the shapes of `Frame.pixels`; None at the end.

        Raises `CaptureError` where there should be a picture and is none: `FrameTimeoutError` where
        it only takes longer than about a second.
        """

    def close(self) -> None:
        """Let go of the device; harmless where nothing is open."""


def received(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """Read a picture; None where OpenCV has none, or something that is none."""
    try:
        ok, picture = capture.read()
    except cv2.error:
        return None
    if not ok or picture is None or picture.dtype != np.uint8 or not picture.size:
        return None
    return np.asarray(picture, np.uint8)
