"""Real engines, real pictures: what most tests need."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

# Before any test imports OpenVINO by itself: this module keeps it from sending usage data.
import installation.inference.cpu  # noqa: F401
from engines.build import build, wheels
from engines.fetch import read_member
from installation.capture.demo import Crowd
from installation.config import loader as configuration
from tests import zones
from tests.paths import ROOT

BUILT = ROOT / "engines" / "built"


def pytest_configure(config):
    # Windows open in memory unless a test starts an X server of its own.
    os.environ.pop("DISPLAY", None)
    folder = tempfile.TemporaryDirectory(prefix="zones-")
    config.add_cleanup(folder.cleanup)
    zones.install(Path(folder.name))


def pytest_xdist_auto_num_workers():
    """Run more tests at a time than there are cores: many wait for processes most of the time."""
    return (os.cpu_count() or 1) * 3 // 2


@pytest.fixture(autouse=True)
def log_as_before():
    """What one test's command does to the log is not for the next one."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(before):
        if not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def built():
    """The folder of engines; made if need be."""
    build(BUILT, print)
    return BUILT


@pytest.fixture(scope="session")
def config(built):
    return configuration.load(ROOT / "config.yaml")


def _portrait(built, package, member):
    data = np.frombuffer(read_member(package, member, wheels(built)), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


@pytest.fixture(scope="session")
def hopper(built):
    """Grace Hopper, 512 x 600."""
    return _portrait(built, "matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg")


@pytest.fixture(scope="session")
def collins(built):
    """Eileen Collins, 512 x 512."""
    return _portrait(built, "scikit-image", "skimage/data/astronaut.png")


@pytest.fixture(scope="session")
def faceless(built):
    """Pictures without a face, by name."""
    names = ("brick", "coffee", "coins", "chelsea", "motorcycle_left", "page", "hubble_deep_field")
    suffixes = {"hubble_deep_field": "jpg"}
    return {
        name: _portrait(built, "scikit-image", f"skimage/data/{name}.{suffixes.get(name, 'png')}")
        for name in names
    }


@pytest.fixture(scope="session")
def crowd(built):
    return Crowd(built, 1280, 720)


@pytest.fixture(scope="session")
def crowd_film(crowd, tmp_path_factory):
    """Six seconds of the crowd, two visitors coming in: 90 pictures, 15 a second, 1280 x 720."""
    path = tmp_path_factory.mktemp("film") / "crowd.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (1280, 720))
    for index in range(90):
        writer.write(crowd.paint(index / 15))
    writer.release()
    return path
