"""Runs code on a fake GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from tests.gpu.fake_cuda_build import FakeBuildError, default_folder, prepare


@pytest.fixture(scope="session")
def fakes():
    """The environment variables with which a process uses the fakes."""
    try:
        return prepare(default_folder())
    except FakeBuildError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def run_on_fakes(fakes, tmp_path):
    """Run Python code in a new process with the fakes; return what it prints.

    A process loads the driver library once, and an error in it may end the process: hence a new
    process each time. Keyword arguments become environment variables.
    """

    def run(code, **environment):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=os.environ | fakes | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
