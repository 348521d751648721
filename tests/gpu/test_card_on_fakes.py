"""The tests on a GPU, run on the fakes, so that they need no GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.endurance

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.mark.parametrize("file", sorted(HERE.glob("card/test_*.py")), ids=lambda path: path.stem)
def test_on_fakes(fakes, built, file):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", str(file)],
        cwd=ROOT,
        env=os.environ | fakes,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
