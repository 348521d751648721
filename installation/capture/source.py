"""The source contract, and choosing a source by how it is written in the config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from installation.config import Config
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
        """Wait for the next picture: uint8 (height, width, 3), BGR; None at the end.

        Raises `CaptureError` where there should be a picture and is none.
        """

    def close(self) -> None:
        """Let go of the device; harmless where nothing is open."""


def make_source(config: Config) -> Source:
    """Choose the source that ``camera.source`` describes; opens nothing yet."""
    from installation.capture.camera import Camera
    from installation.capture.demo import DemoSource
    from installation.capture.film import Film, Stream
    from installation.capture.stills import Stills, is_picture

    camera = config.camera
    written = camera.source
    if written == "demo":
        return DemoSource(config.inference.engines, camera.width, camera.height, camera.fps)
    if written.isdecimal():
        return Camera(Path(f"/dev/video{written}"), camera)
    if written.startswith("/dev/"):
        return Camera(Path(written), camera)
    if "://" in written:
        return Stream(written)
    path = Path(written)
    if path.is_dir() or is_picture(path):
        return Stills(path, camera.fps, camera.loop)
    return Film(path, camera.loop)
