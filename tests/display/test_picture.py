"""The pixels on the screen, in a process of their own.

Mesa's software renderer brings its own LLVM, and a library that brings another, such as PyTorch's
Triton, cannot be loaded after it.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_every_layout_comes_out_right():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [*command, str(HERE / "pixels.py")],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 passed" in done.stdout
