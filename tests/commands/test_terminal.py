"""Standard streams that are closed, full or left by their reader, for every command."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import cv2
import pytest

from tests.paths import ROOT
from tests.wall_process import LONG, needs_xvfb, x_server

CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


def installation(folder, arguments, redirections, **environment):
    """Run a command under a shell's redirections; return its exit status and what it printed."""
    command = f'exec "{sys.executable}" -m installation {arguments} {redirections}'
    ran = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=5 * LONG,
    )
    said = ran.stdout + ran.stderr
    assert "Traceback" not in said and "unexpected" not in said and "Exception" not in said
    return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def folder(built, tmp_path, hopper):
    (tmp_path / "config.yaml").write_text(
        f"inference: {{engines: {built}, device: cpu}}\nrecord: {{file: said.sqlite}}\n"
    )
    cv2.imwrite(str(tmp_path / "hopper.png"), hopper)
    return tmp_path


@pytest.mark.parametrize("redirections", CLOSED)
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("labels policy", 0),
        ("--help", 0),
        ("classify hopper.png --output copies", 0),
        ("classify nothing.png", 1),
        ("demo --headless --frames 2 --output demo.png", 0),
        ("engines verify", 0),
        ("cameras --json", 0),
        ("record summary", 1),
        ("check", 1),
        ("run", 75),
        ("fly", 2),
    ],
)
def test_closed_streams_change_no_status(folder, arguments, status, redirections):
    assert installation(folder, arguments, redirections)[0] == status
    # Nothing that was printed is in a file.
    for each in (*folder.glob("copies/*.png"), *folder.glob("demo.png")):
        assert cv2.imread(str(each)) is not None


@needs_xvfb
@pytest.mark.parametrize("command", ["run", "web"])
def test_with_closed_streams_nothing_is_printed_into_what_is_opened(
    folder, built, crowd_film, command
):
    (folder / "config.yaml").write_text(
        f"camera: {{source: {crowd_film}}}\ninference: {{engines: {built}, device: cpu}}\n"
        "record: {file: said.sqlite}\nstatus: {port: null}\nweb: {port: 0}\n"
    )
    with x_server() as (_, display):
        process = subprocess.Popen(
            ["bash", "-c", f'exec "{sys.executable}" -m installation {command} <&- >&- 2>&-'],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "DISPLAY": display},
        )
        try:
            until = time.monotonic() + LONG
            while not (folder / "said.sqlite").exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.1)
            opened = Path(f"/proc/{process.pid}/fd")
            streams = [str((opened / str(number)).readlink()) for number in range(3)]
            process.send_signal(signal.SIGTERM)
            assert process.wait(LONG) == 0
        finally:
            process.kill()
            process.wait()
    assert streams == [os.devnull] * 3
    with closing(sqlite3.connect(folder / "said.sqlite")) as record:
        assert record.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("arguments", "unbuffered"),
    [
        ("labels policy", ""),
        ("labels policy", "1"),
        ("classify hopper.png", ""),
        ("classify --json hopper.png", "1"),
        ("check", ""),
        # Unbuffered, argparse itself leaves it out.
        ("--help", ""),
    ],
)
def test_an_answer_that_cannot_be_written(folder, arguments, unbuffered):
    environment = {"PYTHONUNBUFFERED": unbuffered}
    status, _, said = installation(folder, arguments, ">/dev/full", **environment)
    assert (status, said) == (1, "installation: standard output: No space left on device\n")
    assert installation(folder, arguments, ">/dev/full 2>/dev/full", **environment)[0] == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["labels policy", "classify --json hopper.png"])
def test_whoever_was_reading_may_leave(folder, arguments, unbuffered):
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [sys.executable, "-m", "installation", *arguments.split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered},
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        timeout=5 * LONG,
    )
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, b"")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2> >(exec true)"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("demo --headless --frames 2 --output demo.png", 0),
        ("classify nothing.png hopper.png", 1),
        ("run", 75),
        ("fly", 2),
    ],
)
def test_what_cannot_be_told_stops_nothing(folder, arguments, status, redirection):
    ran, out, _ = installation(folder, arguments, redirection)
    assert ran == status
    assert ("hopper.png: 1 face" in out) == ("hopper.png" in arguments)
    assert (folder / "demo.png").exists() == ("demo" in arguments)
