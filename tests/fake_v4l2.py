"""Webcams that are played: a driver below this program that does as told (faults/driver.c)."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.paths import ROOT

_DRIVER = ROOT / "tests" / "faults" / "driver.c"

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler here")


def preloaded(folder):
    """Build the driver in a folder; return the environment of a process that runs over it."""
    driver = folder / "driver.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", driver, _DRIVER, "-ldl"]
    subprocess.run(command, check=True, timeout=600)
    before = filter(None, [str(driver), os.environ.get("LD_PRELOAD")])
    return {"LD_PRELOAD": ":".join(before)}


def run_over(folder, environment, code, *arguments):
    """Run Python with the cameras in folder/dev."""
    begin = (
        "import sys; from pathlib import Path; from installation.capture import v4l2;"
        f"v4l2.DEV = Path({str(folder / 'dev')!r})\n"
    )
    return subprocess.run(
        [sys.executable, "-c", begin + code, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def installation_over(folder, environment, *arguments):
    """Run a command with the cameras in folder/dev."""
    code = "from installation.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    return run_over(folder, environment, code, *arguments)
