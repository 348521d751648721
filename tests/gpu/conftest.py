"""A subprocess that finds a GPU, where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.gpu.fake_cuda_build import RehearsalError, default_folder, prepare


@pytest.fixture(scope="session")
def equipment():
    """The environment variables that put the stand-ins in place."""
    try:
        return prepare(default_folder())
    except RehearsalError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def rehearse(equipment, tmp_path):
    """Run Python code in a process of its own with the stand-ins; returns what it printed.

    The driver library is loaded but once in a process, and what breaks it may end the process:
    hence a new one each time. Keyword arguments become environment variables.
    """

    def run(code, **environment):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=os.environ | equipment | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
