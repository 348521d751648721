import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "systemd" / "installation.service"


@pytest.fixture
def unit():
    parser = RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_understands_the_unit(tmp_path):
    text = UNIT.read_text().replace("/opt/installation/.venv/bin/installation", "/bin/true")
    (tmp_path / UNIT.name).write_text(text)
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in ran.stderr.splitlines() if UNIT.name in line]
    assert complaints == []


def test_it_is_started_again_for_ever(unit):
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_it_starts_a_command_that_exists(unit):
    from installation.cli import _parser

    words = unit["Service"]["ExecStart"].split()
    assert _parser().parse_args(words[1:]).config is None
    # Without a name, the config is the one where the engines were built.
    assert words[0].startswith(unit["Service"]["WorkingDirectory"])
