"""Video files and network streams, through FFmpeg inside OpenCV."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture.source import CaptureError, received

# Milliseconds until a network camera that does not answer, or sends nothing, counts as lost. Less
# would never see one that begins in between two key frames.
_STREAM_TIMEOUT = 4000


class Film:
    """A video file, read picture by picture.

    Parameters
    ----------
    path
        The file.
    loop
        Begin again at its end.
    """

    def __init__(self, path: Path, loop: bool) -> None:
        self.name = str(path)
        self.pace: float | None = 25.0
        self._path = path
        self._loop = loop
        self._capture: cv2.VideoCapture | None = None
        self._read = 0
        self._promised = 0

    def open(self) -> None:
        """See `Source.open`; ``pace`` is the film's own from here on."""
        self.close()
        if not self._path.is_file():
            there = self._path.exists()
            raise CaptureError(f"{self.name}: {'not a file' if there else 'no such file'}")
        # OpenCV crashes on a string with bytes in it that are no text.
        capture = cv2.VideoCapture(os.fsencode(self._path), cv2.CAP_FFMPEG)  # type: ignore[call-overload]
        if not capture.isOpened():
            raise CaptureError(f"{self.name}: cannot be read as a video; is it one, and complete?")
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.pace = fps if 1 <= fps <= 240 else 25.0
        self._promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._read = 0
        self._capture = capture

    def read(self) -> NDArray[np.uint8] | None:
        """See `Source.read`. A file that breaks off before its end raises `CaptureError`."""
        if self._capture is None:
            raise CaptureError(f"{self.name}: not open")
        ok, picture = self._capture.read()
        if ok:
            self._read += 1
            return np.asarray(picture, np.uint8)
        if self._read == 0:
            raise CaptureError(f"{self.name}: no picture in it can be read; is it a video?")
        # Containers miscount by a picture or two; a real break loses more.
        if self._read < self._promised * 0.98 - 2:
            raise CaptureError(
                f"{self.name}: breaks off after {self._read} of {self._promised} pictures; "
                "the file is cut short or damaged"
            )
        if not self._loop:
            return None
        self.open()
        return self.read()

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class Stream:
    """A network camera.

    Parameters
    ----------
    url
        ``rtsp://``, ``http://`` or whatever FFmpeg knows.
    """

    pace: float | None = None

    def __init__(self, url: str) -> None:
        self.name = url.rpartition("@")[2]
        self._url = url
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
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
