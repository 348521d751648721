"""Failing webcams, without a webcam: OpenCV and this program over a scripted driver."""

import os
from pathlib import Path

import pytest

from tests.fake_v4l2 import needs_compiler, preloaded
from tests.isolated_pytest import run_alone

pytestmark = pytest.mark.endurance

HERE = Path(__file__).parent


@needs_compiler
def test_failing_webcams(tmp_path, monkeypatch):
    for name, value in preloaded(tmp_path).items():
        monkeypatch.setitem(os.environ, name, value)
    run_alone(HERE / "camera_driver.py")
