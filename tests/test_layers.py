"""Who may import whom; the contracts are in setup.cfg."""

import subprocess
import sys

from tests.paths import ROOT


def test_imports_keep_to_the_layers():
    ran = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "2 kept, 0 broken" in ran.stdout
