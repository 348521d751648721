"""Create the source that the config names."""

from __future__ import annotations

import os

from installation.capture import v4l2
from installation.capture.camera import Camera
from installation.capture.demo import DemoSource
from installation.capture.source import Source
from installation.capture.stills import Stills, is_image_file
from installation.capture.stream import Stream
from installation.capture.video import VideoFile
from installation.config.model import Config


def make_source(config: Config) -> Source:
    """Create the source that ``camera.source`` names, without opening it."""
    camera = config.camera
    if camera.path is not None:
        # Unlike Path.is_dir, os.path.isdir returns False if access is denied.
        if os.path.isdir(camera.path) or is_image_file(camera.path):  # noqa: PTH112
            return Stills(camera.path, camera.fps, camera.loop)
        return VideoFile(camera.path, camera.loop)
    name = camera.source
    if name == "demo":
        return DemoSource(config.inference.engines, camera.width, camera.height, camera.fps)
    if "://" in name:
        return Stream(name)
    return Camera(v4l2.DEV / (f"video{name}" if name.isdecimal() else name), camera)
