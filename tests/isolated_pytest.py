"""Tests that need a process of their own, because of the libraries that they load."""

import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT


def run_alone(file: Path) -> str:
    """Run the tests in a file; fail with what pytest printed unless all pass, or are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    command += ["--tb=short"]
    done = subprocess.run(
        [*command, str(file)], cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
