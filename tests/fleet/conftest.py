"""Debian's Prometheus, where ./setup.sh test has put it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.fleet.names import FLEET


def _tool(name):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return shutil.which(name, path=path) or pytest.skip(f"no {name} here; see setup.sh")


@pytest.fixture(scope="session")
def promtool():
    return _tool("promtool")


@pytest.fixture(scope="session")
def prometheus():
    return _tool("prometheus")


@pytest.fixture
def fleet(tmp_path):
    """What is installed on a monitoring host, with a token."""
    installed = tmp_path / "prometheus"
    shutil.copytree(FLEET / "prometheus", installed)
    (installed / "token").write_text("9f0c9f0c9f0c9f0c\n")
    return installed
