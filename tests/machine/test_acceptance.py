"""The script that drives a machine, here before one that is played; a real one takes hands."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

DRIVE = Path(__file__).with_name("acceptance.py")

PLAYED = """#!/bin/sh
case $1 in
    *security*) echo 'Overall exposure level for installation.service: {exposure} OK' ;;
    *) echo 'bash: no such command' >&2; exit 127 ;;
esac
"""


@pytest.fixture
def drive(tmp_path):
    def run(exposure, *rows):
        machine = tmp_path / "machine"
        machine.write_text(PLAYED.format(exposure=exposure))
        machine.chmod(0o755)
        return subprocess.run(
            [sys.executable, DRIVE, "--run", str(machine), *rows], capture_output=True, text=True
        )

    return run


def test_all_as_expected_is_status_0(drive):
    ran = drive("1.3", "exposure")
    assert ran.returncode == 0, ran.stderr
    assert "| 1.3 |" in ran.stdout
    assert "| yes |" in ran.stdout


def test_anything_else_is_status_1_and_says_what_was_seen(drive):
    ran = drive("9.6", "exposure", "reload")
    assert ran.returncode == 1
    lines = [line for line in ran.stdout.splitlines() if line.endswith("| NO |")]
    assert "9.6" in lines[0]
    assert "status 127: bash: no such command" in lines[1]


def test_what_lacks_a_hook_is_left_out_and_said(drive):
    ran = drive("1.3", "unplug")
    assert ran.returncode == 0
    assert "left out: no --camera, --screenshot" in ran.stdout


def test_a_row_that_is_not_there_is_wrong_use(drive):
    assert drive("1.3", "explode").returncode == 2


def test_the_configs_that_it_saves_are_what_it_means(tmp_path):
    from installation.config import model as configuration

    spec = importlib.util.spec_from_file_location("drive", DRIVE)
    drive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drive)
    path = tmp_path / "config.yaml"
    for text in ((DRIVE.parent.parent.parent / "config.yaml").read_text(), "camera:\n  fps: 15\n"):
        path.write_text(drive.setting(text, "display", "mirror", "false"))
        assert configuration.load(path).display.mirror is False
        path.write_text(drive.setting(text, *drive.NEVER_OPEN))
        assert configuration.load(path).hours.closed
        path.write_text(drive.setting(text, "camera", "fps", "many"))
        with pytest.raises(configuration.ConfigError):
            configuration.load(path)
