"""What runs on a card runs here on the stand-in, so that none of it waits for a GPU to be tried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.mark.parametrize("file", sorted(HERE.glob("card/test_*.py")), ids=lambda path: path.stem)
def test_on_the_stand_in(equipment, built, file):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", str(file)],
        cwd=ROOT,
        env=os.environ | equipment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
