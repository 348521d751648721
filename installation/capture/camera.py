"""Webcams, through V4L2."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture import v4l2
from installation.capture.source import READ_TIMEOUT_S, CaptureError, FrameTimeoutError, received
from installation.config import model as config

log = logging.getLogger(__name__)


# Reads that may fail at once before the camera counts as lost: cheap ones send a broken picture now
# and then, at the start above all.
_TRIES = 3


class Camera:
    """A webcam.

    Parameters
    ----------
    device
        A link below ``/dev/v4l``, or ``/dev/videoN``: see `v4l2.webcam`. The number is taken at its
        word once; from then on this camera is meant, or one that is plugged in instead of it.
    wanted
        Size, rate and format to ask for; a camera may give others, which is logged.
    """

    interval_s: float | None = None

    def __init__(self, device: Path, wanted: config.Camera) -> None:
        self.name = str(device)
        self._device = device
        self._wanted = wanted
        self._capture: cv2.VideoCapture | None = None
        self._raw: tuple[int, ...] | None = None
        self._given = ""
        # Where a number is written: the name that the camera keeps, and those of all others.
        self._link: Path | None = None
        self._others: frozenset[Path | None] = frozenset()

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
        node = self._find().resolve()
        # OpenCV would take longer to find nothing, and takes what tells of pictures for a camera.
        there = node.exists() and v4l2.captures(node)
        capture = cv2.VideoCapture(str(node), cv2.CAP_V4L2) if there else None
        if capture is None or not capture.isOpened():
            raise CaptureError(f"{self.name}: {v4l2.diagnose(node)}")
        self._capture = capture
        try:
            self._set_up(capture)
        except cv2.error:
            raise self._failure() from None
        if v4l2.number(self._device) is not None:
            self._remember(node)

    def _find(self) -> Path:
        """Return where the camera is now, or at least should be."""
        number = v4l2.number(self._device)
        if number is None:
            return self._device
        if self._link is None:
            return v4l2.webcam(number) or self._device
        if not self._link.exists():
            # One that was not there before has come in its place.
            for node in v4l2.nodes():
                link = v4l2.link_to(node)
                if link is not None and link not in self._others and v4l2.captures(node):
                    return link
        return self._link

    def _remember(self, node: Path) -> None:
        """Keep to this camera, whatever number it has when it comes back."""
        link, before = v4l2.link_to(node), self._link
        others = (each for each in v4l2.nodes() if each != node)
        self._link, self._others = link, frozenset(map(v4l2.link_to, others))
        if link is None or link == before:
            return
        log.info("%s: is %s", self.name, link)
        if any(each != node and v4l2.captures(each) for each in v4l2.nodes()):
            log.warning(
                "%s: not the only camera here, and numbers change; set camera.source: %s",
                *(self.name, link),
            )

    def _set_up(self, capture: cv2.VideoCapture) -> None:
        """Ask for size, rate and format, and tell what is given where that is news."""
        wanted = self._wanted
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.format.upper()))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._ask_for_raw(capture, round(size[0]), round(size[1]))
        fps = capture.get(cv2.CAP_PROP_FPS)
        asked = f"{wanted.width} x {wanted.height} at {wanted.fps:g}"
        given = f"{size[0]:.0f} x {size[1]:.0f} at {fps:g}"
        if given == self._given:
            return
        self._given = given
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
        if pixels.ndim == 3 and pixels.shape[2] == 3:
            return pixels
        if self._raw is None:
            raise self._failure()
        # From drivers with several planes OpenCV makes one long row.
        if pixels.size == np.prod(self._raw):
            return pixels.reshape(self._raw)
        log.warning("%s: pads its rows; OpenCV converts them now", self.name)
        self._raw = None
        assert self._capture is not None
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return self.read()

    def _read(self) -> NDArray[np.uint8]:
        for _ in range(_TRIES):
            if self._capture is None:
                raise CaptureError(f"{self.name}: not open")
            asked_at = time.monotonic()
            picture = received(self._capture)
            if picture is not None:
                return picture
            if time.monotonic() - asked_at > READ_TIMEOUT_S / 2:
                raise FrameTimeoutError(
                    f"{self.name}: sends no pictures any more; plug it in again if it stays so"
                )
        raise self._failure()

    def _failure(self) -> CaptureError:
        """Let go of the camera and find out what is wrong with it."""
        self.close()
        return CaptureError(f"{self.name}: {v4l2.diagnose(self._find().resolve())}")

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
