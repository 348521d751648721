"""Each check runs in a process of its own: it may hang, crash, print or fail."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.paths import ROOT

BEGIN = """
import ctypes, json, os, signal, sys, time
from installation.checks.isolated import run_isolated
from installation.checks.finding import ok, warning
from installation.errors import InstallationError
def check():
    yield ok("thing", "started")
    {code}
findings = run_isolated("thing", check, {timeout_s}, {user!r})
print(json.dumps([finding.as_json() for finding in findings]))
"""


def findings(code, timeout_s=600, user=None):
    """Run code as a check, in a process without other threads; return its findings."""
    code = BEGIN.format(code=code.replace("\n", "\n    "), timeout_s=timeout_s, user=user)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    first, *others = json.loads(ran.stdout)
    assert first["message"] == "started"
    return others


def test_findings_arrive_unchanged():
    (found,) = findings('yield warning("other", "ö; ✘", "do this")')
    assert found == {"check": "other", "level": "warning", "message": "ö; ✘", "remedy": "do this"}


def test_a_check_that_hangs_is_abandoned_and_its_findings_are_kept():
    hang = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); time.sleep(600)"
    (found,) = findings(hang, 10)
    assert found["level"] == "error"
    assert "no response within 10 seconds" in found["message"]


def test_children_of_a_check_that_hangs_are_killed_too(tmp_path):
    pid = tmp_path / "pid"
    findings(f"os.system('sleep 600 & echo $! > {pid}; wait')", 10)
    number = pid.read_text().strip()
    end = time.monotonic() + 300
    while Path(f"/proc/{number}").exists():
        # A zombie is still listed.
        if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_check_that_crashes_is_an_error():
    (found,) = findings("ctypes.string_at(0)")
    assert found["level"] == "error"
    assert "crashed (SIGSEGV)" in found["message"]


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("raise InstallationError('it is broken; mend it')", "it is broken; mend it", ""),
        ("1 / 0", "unexpected ZeroDivisionError at <string>:", "please report this"),
        (
            "os._exit(3)",
            "the check crashed (status 3)",
            "check that the driver is installed and works",
        ),
        (
            "sys.exit()",
            "the check crashed (status 1)",
            "check that the driver is installed and works",
        ),
    ],
)
def test_a_check_that_fails_is_an_error(code, message, remedy):
    (found,) = findings(code)
    assert found["level"] == "error"
    assert found["message"].startswith(message) and found["remedy"] == remedy


def test_its_output_is_discarded():
    assert findings("os.write(1, b'noise'); os.write(2, b'noise'); print('noise')") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
def test_root_can_check_as_another_user():
    (found,) = findings('yield ok("who", f"{os.geteuid()} {os.getgroups()}")', user="nobody")
    uid, groups = found["message"].split(" ", 1)
    assert int(uid) != 0 and 0 not in json.loads(groups)
