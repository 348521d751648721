"""The source contract: what every place that pictures come from promises."""

from __future__ import annotations

import os
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.errors import InstallationError

# The libraries' own chatter is not for technicians. The variable is read at FFmpeg's first use.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class CaptureError(InstallationError):
    """A source cannot be opened, or has stopped giving pictures."""


class Source(Protocol):
    """Somewhere pictures come from; used from one thread at a time.

    Attributes
    ----------
    name
        As a technician would recognise it.
    pace
        Pictures a second at which to read, where the source does not set the pace itself.
    """

    name: str
    pace: float | None

    def open(self) -> None:
        """Open or reopen; raises `CaptureError`."""

    def read(self) -> NDArray[np.uint8] | None:
        """Wait for the next picture, in one of the shapes of `Frame.pixels`; None at the end.

        Raises `CaptureError` where there should be a picture and is none.
        """

    def close(self) -> None:
        """Let go of the device; harmless where nothing is open."""
