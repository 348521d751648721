"""Choosing a source by how it is written in the config."""

from __future__ import annotations

import os

from installation.capture import v4l2
from installation.capture.camera import Camera
from installation.capture.demo import DemoSource
from installation.capture.source import Source
from installation.capture.stills import Stills, is_picture
from installation.capture.stream import Stream
from installation.capture.video import VideoFile
from installation.config.model import Config


def make_source(config: Config) -> Source:
    """Choose the source that ``camera.source`` describes; opens nothing yet."""
    camera = config.camera
    if camera.path is not None:
        # Unlike the method of a path, this is False also for what may not be looked at.
        if os.path.isdir(camera.path) or is_picture(camera.path):  # noqa: PTH112
            return Stills(camera.path, camera.fps, camera.loop)
        return VideoFile(camera.path, camera.loop)
    written = camera.source
    if written == "demo":
        return DemoSource(config.inference.engines, camera.width, camera.height, camera.fps)
    if "://" in written:
        return Stream(written)
    return Camera(v4l2.DEV / (f"video{written}" if written.isdecimal() else written), camera)
