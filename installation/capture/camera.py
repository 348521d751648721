"""Webcams, through V4L2."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from installation import config
from installation.capture.source import CaptureError

log = logging.getLogger(__name__)


def _connected() -> str:
    cameras = sorted(Path("/dev/v4l/by-id").glob("*")) or sorted(Path("/dev").glob("video*"))
    return ", ".join(str(path) for path in cameras) or "none"


class Camera:
    """A webcam.

    Parameters
    ----------
    device
        ``/dev/videoN``, or a link below ``/dev/v4l`` that stays when numbers change.
    wanted
        Size, rate and format to ask for; a camera may give others, which is logged.
    """

    pace: float | None = None

    def __init__(self, device: Path, wanted: config.Camera) -> None:
        self.name = str(device)
        self._device = device
        self._wanted = wanted
        self._capture: cv2.VideoCapture | None = None
        self._raw: tuple[int, ...] | None = None

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
        if not self._device.exists():
            raise CaptureError(
                f"{self.name}: no camera there; connected: {_connected()}; "
                "plug it in or set camera.source"
            )
        if not os.access(self._device, os.R_OK | os.W_OK):
            raise CaptureError(f"{self.name}: not permitted; add this user to the group video")
        capture = cv2.VideoCapture(str(self._device.resolve()), cv2.CAP_V4L2)
        if not capture.isOpened():
            raise CaptureError(f"{self.name}: cannot be opened; another program may be using it")
        wanted = self._wanted
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.format.upper()))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        self._capture = capture
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._ask_for_raw(capture, round(size[0]), round(size[1]))
        fps = capture.get(cv2.CAP_PROP_FPS)
        asked = f"{wanted.width} x {wanted.height} at {wanted.fps:g}"
        given = f"{size[0]:.0f} x {size[1]:.0f} at {fps:g}"
        if size != (wanted.width, wanted.height) or abs(fps - wanted.fps) > 0.5:
            log.warning("%s: asked for %s pictures a second, gives %s", self.name, asked, given)
        else:
            log.info("%s: %s pictures a second", self.name, given)

    def _ask_for_raw(self, capture: cv2.VideoCapture, width: int, height: int) -> None:
        """Have OpenCV hand on pixels unconverted, where the camera sends such as are drawn so."""
        wanted = self._wanted.format
        shapes = {"yuyv": (height, width, 2), "nv12": (height * 3 // 2, width)}
        self._raw = shapes.get(wanted)
        if self._raw is None:
            return
        # A format that the camera lacks was passed over in silence.
        given = int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*wanted.upper())
        if not given or width % 2 or height % 2 or not capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            log.warning("%s: gives no %s that can be drawn as it is", self.name, wanted)
            self._raw = None

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; a camera has no end."""
        pixels = self._read()
        if self._raw is None or (pixels.ndim == 3 and pixels.shape[2] == 3):
            return pixels
        # From drivers with several planes OpenCV makes one long row.
        if pixels.size == np.prod(self._raw):
            return pixels.reshape(self._raw)
        log.warning("%s: pads its rows; OpenCV converts them now", self.name)
        self._raw = None
        assert self._capture is not None
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return self._read()

    def _read(self) -> NDArray[np.uint8]:
        if self._capture is None:
            raise CaptureError(f"{self.name}: not open")
        ok, picture = self._capture.read()
        if not ok:
            raise CaptureError(f"{self.name}: gives no pictures any more; was it unplugged?")
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
