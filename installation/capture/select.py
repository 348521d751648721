"""Choosing a source by how it is written in the config."""

from __future__ import annotations

from pathlib import Path

from installation.capture.camera import Camera
from installation.capture.demo import DemoSource
from installation.capture.film import Film, Stream
from installation.capture.source import Source
from installation.capture.stills import Stills, is_picture
from installation.config import Config


def make_source(config: Config) -> Source:
    """Choose the source that ``camera.source`` describes; opens nothing yet."""
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
