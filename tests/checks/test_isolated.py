"""Each look is a process of its own: it may hang, crash, chatter or fail."""

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
def look():
    yield ok("thing", "begun")
    {look}
found = run_isolated("thing", look, {seconds}, {user!r})
print(json.dumps([each.as_json() for each in found]))
"""


def looked(look, seconds=600, user=None):
    """Return what is found, in a process that has no other threads."""
    code = BEGIN.format(look=look.replace("\n", "\n    "), seconds=seconds, user=user)
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
    assert first["said"] == "begun"
    return others


def test_what_is_found_comes_as_it_is():
    (found,) = looked('yield warning("other", "ö; ✘", "do this")')
    assert found == {"about": "other", "level": "warning", "said": "ö; ✘", "remedy": "do this"}


def test_one_that_hangs_is_left_and_what_it_had_found_is_kept():
    hang = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); time.sleep(600)"
    (found,) = looked(hang, 10)
    assert found["level"] == "trouble"
    assert "does not answer within 10 seconds" in found["said"]


def test_what_one_that_hangs_has_started_ends_with_it(tmp_path):
    pid = tmp_path / "pid"
    looked(f"os.system('sleep 600 & echo $! > {pid}; wait')", 10)
    number = pid.read_text().strip()
    end = time.monotonic() + 300
    while Path(f"/proc/{number}").exists():
        # One that has ended and that nobody has asked for yet is still listed.
        if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < end
        time.sleep(0.05)


def test_one_that_crashes_says_so():
    (found,) = looked("ctypes.string_at(0)")
    assert found["level"] == "trouble"
    assert "crashed (SIGSEGV)" in found["said"]


@pytest.mark.parametrize(
    ("look", "said", "remedy"),
    [
        ("raise InstallationError('it is broken; mend it')", "it is broken; mend it", ""),
        ("1 / 0", "unexpected ZeroDivisionError at <string>:", "please report this"),
        ("os._exit(3)", "looking at it crashed (status 3)", "is its driver installed and sound?"),
        ("sys.exit()", "looking at it crashed (status 1)", "is its driver installed and sound?"),
    ],
)
def test_one_that_fails_says_so(look, said, remedy):
    (found,) = looked(look)
    assert found["level"] == "trouble"
    assert found["said"].startswith(said) and found["remedy"] == remedy


def test_its_chatter_is_not_heard():
    assert looked("os.write(1, b'noise'); os.write(2, b'noise'); print('noise')") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another")
def test_root_can_look_as_another():
    (found,) = looked('yield ok("who", f"{os.geteuid()} {os.getgroups()}")', user="nobody")
    uid, groups = found["said"].split(" ", 1)
    assert int(uid) != 0 and 0 not in json.loads(groups)
