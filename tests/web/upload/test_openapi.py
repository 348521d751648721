"""The API does what its OpenAPI description says: requests generated from it, valid and not."""

import os
import subprocess
import sys

from tests.paths import ROOT
from tests.web.upload.serving import LONG


def test_requests_generated_from_the_description_are_answered_as_it_says(site, tmp_path):
    command = ["run", f"{site.url}openapi.json", "--checks", "all", "--max-examples", "50"]
    ran = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", *command, "--seed", "1", "--no-color"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.web.upload.image_bodies",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert "2 selected / 2 total" in ran.stdout
    assert not [line for line in site.lines if not line.startswith("INFO")]
