"""Webcams, with V4L2."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.capture import v4l2
from installation.capture.source import READ_TIMEOUT_S, CaptureError, FrameTimeoutError, read_frame
from installation.config import model as config

log = logging.getLogger(__name__)

# Consecutive reads that may fail before the camera counts as lost: cheap cameras send a broken
# frame now and then, especially at the start.
_MAX_FAILED_READS = 3


class Camera:
    """A webcam.

    Parameters
    ----------
    device
        A link below ``/dev/v4l``, or ``/dev/videoN``; see `v4l2.find_webcam`. The number is used
        only once; later opens look for the same camera, or for one that has replaced it.
    settings
        Size, frame rate and format to request; if the camera chooses others, that is logged.
    """

    interval_s: float | None = None

    def __init__(self, device: Path, settings: config.Camera) -> None:
        self.name = str(device)
        self._device = device
        self._settings = settings
        self._capture: cv2.VideoCapture | None = None
        self._raw_shape: tuple[int, ...] | None = None
        self._logged_mode = ""
        # If the config has a number: the camera's stable name, and those of all other cameras.
        self._link: Path | None = None
        self._others: frozenset[Path | None] = frozenset()

    def open(self) -> None:
        """See `Source.open`."""
        self.close()
        node = self._find().resolve()
        # OpenCV is slow to fail, and opens nodes for metadata, too.
        exists = node.exists() and v4l2.is_capture_node(node)
        capture = cv2.VideoCapture(str(node), cv2.CAP_V4L2) if exists else None
        if capture is None or not capture.isOpened():
            raise CaptureError(f"{self.name}: {v4l2.diagnose(node)}")
        self._capture = capture
        try:
            self._set_up(capture)
        except cv2.error:
            raise self._failure() from None
        if v4l2.node_number(self._device) is not None:
            self._remember(node)

    def _find(self) -> Path:
        """Return the camera's current device, which may be missing."""
        number = v4l2.node_number(self._device)
        if number is None:
            return self._device
        if self._link is None:
            return v4l2.find_webcam(number) or self._device
        if not self._link.exists():
            # A camera that was not there before has replaced it.
            for node in v4l2.nodes():
                link = v4l2.link_to(node)
                if link is not None and link not in self._others and v4l2.is_capture_node(node):
                    return link
        return self._link

    def _remember(self, node: Path) -> None:
        """Remember this camera's stable name, because its number may change."""
        link, before = v4l2.link_to(node), self._link
        others = (each for each in v4l2.nodes() if each != node)
        self._link, self._others = link, frozenset(map(v4l2.link_to, others))
        if link is None or link == before:
            return
        log.info("%s is device %s", self.name, link)
        if any(each != node and v4l2.is_capture_node(each) for each in v4l2.nodes()):
            log.warning(
                "%s: there are several cameras, whose numbers may change; set camera.source: %s",
                *(self.name, link),
            )

    def _set_up(self, capture: cv2.VideoCapture) -> None:
        """Request size, frame rate and format, and log what the camera chose if that is new."""
        settings = self._settings
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.format.upper()))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
        capture.set(cv2.CAP_PROP_FPS, settings.fps)
        size = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
        self._request_raw(capture, round(size[0]), round(size[1]))
        fps = capture.get(cv2.CAP_PROP_FPS)
        requested = f"{settings.width} x {settings.height} at {settings.fps:g} fps"
        mode = f"{size[0]:.0f} x {size[1]:.0f} at {fps:g} fps"
        if mode == self._logged_mode:
            return
        self._logged_mode = mode
        if size != (settings.width, settings.height) or abs(fps - settings.fps) > 0.5:
            log.warning("%s: requested %s, camera delivers %s", self.name, requested, mode)
        else:
            log.info("%s: %s", self.name, mode)

    def _request_raw(self, capture: cv2.VideoCapture, width: int, height: int) -> None:
        """Switch off OpenCV's conversion to BGR for formats that can be processed raw."""
        wanted = self._settings.format
        shapes = {"yuyv": (height, width, 2), "nv12": (height * 3 // 2, width)}
        self._raw_shape = shapes.get(wanted)
        if self._raw_shape is None:
            return
        # OpenCV does not report that a camera lacks a format.
        supported = int(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*wanted.upper())
        if not supported or width % 2 or height % 2 or not capture.set(cv2.CAP_PROP_CONVERT_RGB, 0):
            log.warning("%s: cannot deliver raw %s; using BGR", self.name, wanted)
            self._raw_shape = None

    def read(self) -> NDArray[np.uint8]:
        """See `Source.read`; a camera never ends."""
        pixels = self._read()
        if pixels.ndim == 3 and pixels.shape[2] == 3:
            return pixels
        if self._raw_shape is None:
            raise self._failure()
        # OpenCV returns one long row for drivers with several planes.
        if pixels.size == np.prod(self._raw_shape):
            return pixels.reshape(self._raw_shape)
        log.warning("%s: its rows are padded; using BGR", self.name)
        self._raw_shape = None
        assert self._capture is not None
        self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 1)
        return self.read()

    def _read(self) -> NDArray[np.uint8]:
        for _ in range(_MAX_FAILED_READS):
            if self._capture is None:
                raise CaptureError(f"{self.name}: not open")
            began = time.monotonic()
            pixels = read_frame(self._capture)
            if pixels is not None:
                return pixels
            if time.monotonic() - began > READ_TIMEOUT_S / 2:
                raise FrameTimeoutError(
                    f"{self.name}: has stopped sending frames; plug it in again if this persists"
                )
        raise self._failure()

    def _failure(self) -> CaptureError:
        """Close the camera and find out what is wrong with it."""
        self.close()
        return CaptureError(f"{self.name}: {v4l2.diagnose(self._find().resolve())}")

    def close(self) -> None:
        """See `Source.close`."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None
