"""X servers that are of no use: each is told in one line, the same by every command."""

import ctypes
import ctypes.util
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.paths import ROOT
from tests.ports import free_port
from tests.wall_process import LONG, Running, needs_xvfb, x_server

OLD = {"LIBGL_ALWAYS_SOFTWARE": "1", "MESA_GL_VERSION_OVERRIDE": "2.1"}


@pytest.fixture
def folder(built, tmp_path):
    (tmp_path / "config.yaml").write_text(
        f"camera: {{source: demo, width: 320, height: 240}}\nrecord: {{file: null}}\n"
        f"inference: {{engines: {built}, device: cpu}}\n"
    )
    return tmp_path


def installation(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "installation", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=10 * LONG,
    )


def told(folder, status, **environment):
    """Return the line that `run` and `demo` end with, after both have ended with this status."""
    run = installation(folder, "run", **environment)
    demo = installation(folder, "demo", "--seconds", "1", **environment)
    assert (run.returncode, demo.returncode) == (status, status), (run.stderr, demo.stderr)
    assert demo.stderr == f"demo: running for 1 seconds\n{run.stderr}"
    (line,) = run.stderr.splitlines()
    assert line.startswith("installation: ")
    return line.removeprefix("installation: ")


def checked(folder, **environment):
    """Return the errors of `check` about screen and renderer, with their remedies."""
    ran = installation(folder, "check", "--json", **environment)
    assert ran.returncode == 1
    assert ran.stderr == ""
    found = {each["check"]: each for each in json.loads(ran.stdout)["findings"]}
    return [
        f"{found[name]['message']}; {found[name]['remedy']}"
        for name in ("screen", "OpenGL")
        if found.get(name, {}).get("level") == "error"
    ]


def has_library(name):
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


@needs_xvfb
@pytest.mark.parametrize(
    ("options", "cause", "remedy"),
    [
        (("-screen", "0", "640x360x16"), "has a depth of 16 bits", "set DefaultDepth 24"),
        (("-screen", "0", "640x360x15"), "has a depth of 15 bits", "set DefaultDepth 24"),
        (("-screen", "0", "640x360x8"), "has a depth of 8 bits", "set DefaultDepth 24"),
        (("-extension", "GLX"), "lacks the extension GLX", "install the graphics driver"),
        pytest.param(
            ("-extension", "RANDR"),
            "lacks the extension RANDR",
            "start it with +extension RANDR",
            marks=pytest.mark.skipif(
                not has_library("libXrandr.so.2"), reason="no libXrandr here, so RANDR is not used"
            ),
        ),
    ],
)
def test_a_server_without_an_extension_is_reported(folder, options, cause, remedy):
    with x_server(*options) as (_, display):
        line = told(folder, 1, DISPLAY=display)
        assert line.startswith(f"the X server {display} {cause}")
        assert f"; {remedy}" in line
        assert checked(folder, DISPLAY=display) == [line]


@needs_xvfb
def test_a_server_with_more_colours_will_do(folder):
    with x_server("-screen", "0", "640x360x30") as (_, display):
        ran = installation(folder, "demo", "--frames", "2", DISPLAY=display)
    assert ran.returncode == 0, ran.stderr


@needs_xvfb
def test_an_old_opengl_is_reported(folder):
    with x_server() as (_, display):
        line = told(folder, 1, DISPLAY=display, **OLD)
        assert line.startswith(
            f"drawing on the screen {display} requires OpenGL 3.3, but only 2.1 "
        )
        assert checked(folder, DISPLAY=display, **OLD) == [line]


def test_an_old_opengl_without_a_screen_is_reported(folder):
    ran = installation(folder, "demo", "--headless", "--frames", "1", **OLD)
    assert ran.returncode == 1
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("installation: drawing in memory requires OpenGL 3.3, but only 2.1 ")


def cookie(path, key):
    """Write an Xauthority file: for any display of any host."""
    name = b"MIT-MAGIC-COOKIE-1"
    parts = (struct.pack(">H", len(part)) + part for part in (b"", b"", name, key))
    path.write_bytes(struct.pack(">H", 65535) + b"".join(parts))
    return str(path)


@needs_xvfb
@pytest.mark.parametrize("wrong", [True, False])
def test_a_wrong_or_missing_cookie_is_reported(folder, wrong):
    right = cookie(folder / "right", b"0123456789abcdef")
    with x_server("-auth", right) as (_, display):
        mine = folder / "mine"
        mine.touch()
        if wrong:
            cookie(mine, b"fedcba9876543210")
        environment = {"DISPLAY": display, "XAUTHORITY": str(mine)}
        line = told(folder, 75, **environment)
        assert line.startswith(f"the X server {display} rejects the connection: ")
        assert ("Invalid MIT-MAGIC-COOKIE-1 key" if wrong else "Authorization required") in line
        assert line.endswith(f"; it is {mine}")
        assert checked(folder, **environment) == [line]


@needs_xvfb
def test_a_server_with_too_many_clients_is_reported(folder):
    with x_server("-maxclients", "64") as (_, display), ExitStack() as clients:
        hello = struct.pack("<2sHHHHH", b"l", 11, 0, 0, 0, 0)
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(f"/tmp/.X11-unix/X{display.removeprefix(':')}")
            client.sendall(hello)
            if client.recv(1) != b"\1":
                break
        line = told(folder, 75, DISPLAY=display)
        assert line.startswith(
            f"the X server {display} rejects the connection: Maximum number of clients reached; "
        )
        assert checked(folder, DISPLAY=display) == [line]


@pytest.mark.parametrize(
    ("display", "status", "line"),
    [
        (":987", 75, "no X server answers at :987; is it running? see systemctl status"),
        ("127.0.0.1:3", 75, "no X server answers at 127.0.0.1:3; is it running?"),
        ("nowhere", 1, "DISPLAY is 'nowhere', which is not the name of an X server; set"),
        (":", 1, "DISPLAY is ':', which is not the name of an X server; set"),
    ],
)
def test_a_name_without_a_server_is_reported(folder, display, status, line):
    assert told(folder, status, DISPLAY=display).startswith(line)


@needs_xvfb
def test_a_screen_that_the_server_lacks_is_reported(folder):
    with x_server() as (_, display):
        line = told(folder, 75, DISPLAY=f"{display}.7")
    assert line.startswith(f"no X server answers at {display}.7, or it has fewer screens; ")


@pytest.mark.endurance
def test_a_server_that_does_not_answer_is_told(folder):
    with socket.create_server(("127.0.0.1", free_port())) as mute:
        display = f"127.0.0.1:{mute.getsockname()[1] - 6000}"
        line = told(folder, 75, DISPLAY=display)
        assert line.startswith(f"the X server {display} does not respond within 10 s; ")
        assert checked(folder, DISPLAY=display) == [line]


@needs_xvfb
def test_a_window_that_is_not_shown_is_reported(folder):
    with x_server() as (_, display):
        manager = hung_manager(display)
        wall = Running(
            folder,
            display,
            "import installation.display.opening as opening\nopening._SHOW_TIMEOUT_S = 1.0",
        )
        try:
            assert wall.process.wait(LONG) == 75
            (line,) = wall.log.read_text().splitlines()
            assert f"the window was not shown on the screen {display} within 1 s" in line
        finally:
            wall.close()
            manager.kill()
            manager.communicate()


def hung_manager(display):
    """A window manager that hangs: who asks for a window to be shown waits for it."""
    code = """
import ctypes, time
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
x.XDefaultRootWindow.restype = ctypes.c_ulong
at = ctypes.c_void_p(x.XOpenDisplay(None))
REDIRECT = 1 << 20
x.XSelectInput(at, ctypes.c_ulong(x.XDefaultRootWindow(at)), ctypes.c_long(REDIRECT))
x.XSync(at, 0)
print(flush=True)
time.sleep(3600)
"""
    manager = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"DISPLAY": display}, stdout=subprocess.PIPE
    )
    assert manager.stdout.readline() == b"\n"
    return manager
