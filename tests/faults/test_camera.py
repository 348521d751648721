"""Webcams that fail, without a webcam: OpenCV and this program over a driver that does as told."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from alone import run_alone

HERE = Path(__file__).parent


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")
def test_webcams_that_fail(tmp_path, monkeypatch):
    driver = tmp_path / "driver.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", driver, HERE / "driver.c", "-ldl"]
    subprocess.run(command, check=True, timeout=120)
    preloaded = filter(None, [str(driver), os.environ.get("LD_PRELOAD")])
    monkeypatch.setenv("LD_PRELOAD", ":".join(preloaded))
    run_alone(HERE / "camera_driver.py")
