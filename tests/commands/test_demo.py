"""The files that the demonstration saves."""

import os
import resource
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("x.png", "cannot be written: File too large"),
        ("x.mp4", "could not be written completely; is the disk full?"),
    ],
)
def test_an_output_that_does_not_fit_on_the_disk_is_an_error(built, tmp_path, output, message):
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
    assert ran.stderr.splitlines()[-1] == f"installation: {output}: {message}"
    assert "Traceback" not in ran.stderr
