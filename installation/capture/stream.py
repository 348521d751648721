"""Network cameras, with OpenCV's FFmpeg backend."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture.source import CaptureError, read_frame
from installation.runtime.redact import redact_url

# A shorter timeout might miss every key frame of a camera that sends them seldom.
_TIMEOUT_MS = 4000


class Stream:
    """A network camera.

    Parameters
    ----------
    url
        ``rtsp://``, ``http://`` or any other URL that FFmpeg supports. The attribute ``name`` is
        the URL without its secrets.
    timeout_ms
        Time after which a camera that does not respond or sends nothing counts as lost,
        milliseconds.
    """

    interval_s: float | None = None

    def __init__(self, url: str, timeout_ms: int = _TIMEOUT_MS) -> None:
        self.name = redact_url(url)
        self._url = url
        self._timeout_ms = timeout_ms
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
        # FFmpeg cuts a URL off at a NUL character; OpenCV crashes on a lone surrogate.
        if not self._url.isprintable():
            raise CaptureError(
                f"{self.name}: not a URL; camera.source contains unprintable characters"
            )
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, self._timeout_ms]
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._timeout_ms]
        self._capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, timeouts)
        if not self._capture.isOpened():
            raise CaptureError(f"{self.name}: no stream; check address, user and password")

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; a stream has no end, and counts as lost after the timeout."""
        if self._capture is None:
            raise CaptureError(f"{self.name}: not open")
        pixels = read_frame(self._capture)
        if pixels is None:
            raise CaptureError(f"{self.name}: the stream broke off; is the camera still on?")
        return pixels

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
