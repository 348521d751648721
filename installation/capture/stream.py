"""Network cameras, through FFmpeg inside OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture.source import CaptureError, received
from installation.runtime.redact import redact_url

# Milliseconds until a network camera that does not answer, or sends nothing, counts as lost. Less
# would never see one that begins in between two key frames.
_STREAM_TIMEOUT = 4000


class Stream:
    """A network camera.

    Parameters
    ----------
    url
        ``rtsp://``, ``http://`` or whatever FFmpeg knows. As ``name`` it is shown without what
        may be secret.
    """

    interval_s: float | None = None

    def __init__(self, url: str) -> None:
        self.name = redact_url(url)
        self._url = url
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
        # FFmpeg would take a URL to end at a NUL; OpenCV crashes at half a surrogate pair.
        if not self._url.isprintable():
            raise CaptureError(f"{self.name}: not a URL; camera.source has unprintable characters")
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _STREAM_TIMEOUT]
        timeouts += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, _STREAM_TIMEOUT]
        self._capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, timeouts)
        if not self._capture.isOpened():
            raise CaptureError(f"{self.name}: no stream there; check address, user and password")

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; a stream has no end, and one that is silent for long is lost."""
        if self._capture is None:
            raise CaptureError(f"{self.name}: not open")
        picture = received(self._capture)
        if picture is None:
            raise CaptureError(f"{self.name}: the stream has broken off; is the camera still on?")
        return picture

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
