"""What the demonstration leaves behind."""

import os
import resource
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("x.png", "cannot be written: File too large"),
        ("x.mp4", "not all of it could be written; is the disk full?"),
    ],
)
def test_what_has_no_room_is_told(built, tmp_path, output, says):
    (tmp_path / "config.yaml").write_text(f"inference: {{engines: {built}, device: cpu}}\n")
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "installation", "demo"),
            *("--headless", "--frames", "60", "--output", output),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[-1] == f"installation: {output}: {says}"
    assert "Traceback" not in ran.stderr
