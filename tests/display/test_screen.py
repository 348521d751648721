"""Which screen, and what becomes of the window when its server dies."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from installation.display.screen import DisplayError, choose_monitor, log_renderer
from tests.paths import ROOT

needs_xvfb = pytest.mark.skipif(not shutil.which("Xvfb"), reason="no Xvfb here")


class Monitor:
    """One, as pyglet lists it."""

    def __init__(self, name, is_primary=False):
        self.get_monitor_name = lambda: name
        self.is_primary = is_primary


MONITORS = [Monitor("HDMI-1"), Monitor("DP-2"), Monitor("eDP-1", is_primary=True)]


def test_monitors_are_chosen_by_name_or_number():
    assert choose_monitor(MONITORS, None) is MONITORS[2]
    assert choose_monitor(MONITORS[:2], None) is MONITORS[0]
    assert choose_monitor(MONITORS, "DP-2") is choose_monitor(MONITORS, "1") is MONITORS[1]
    with pytest.raises(
        DisplayError, match="'HDMI-2' is connected, only 0: HDMI-1, 1: DP-2, 2: eDP-1"
    ):
        choose_monitor(MONITORS, "HDMI-2")
    with pytest.raises(DisplayError, match="no monitor '3' is connected"):
        choose_monitor(MONITORS, "3")


@pytest.mark.parametrize(("renderer", "told"), [("llvmpipe (LLVM 15)", True), ("NV168", False)])
def test_drawing_on_the_cpu_is_logged(caplog, renderer, told):
    log_renderer(renderer)
    assert ("drawing on the CPU" in caplog.text) == told


@pytest.fixture
def server():
    """A real X server with a screen of its own."""
    read, write = os.pipe()
    running = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-dpms", "-noreset"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        yield running, f":{told.readline().strip()}"
    running.kill()
    running.wait()


def on(display, script):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env=os.environ | {"DISPLAY": display},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


OPEN = """
    import time
    from installation.config.model import Display, Theme
    from installation.display.window import Window
    window = Window(Display(width=400, height=300, {display}), Theme(), headless=False)
    print(*window.size, flush=True)
"""


@needs_xvfb
def test_the_window_leaves_with_its_server(server):
    running, display = server
    script = OPEN.format(display="fullscreen=False") + "    while True: window.show_slate('x')"
    window = on(display, script)
    assert window.stdout.readline() == "400 300\n"
    running.send_signal(signal.SIGKILL)
    _, err = window.communicate(timeout=300)
    assert window.returncode == 75
    assert "the X server is gone" in err
    assert "Traceback" not in err


@needs_xvfb
def test_the_screen_is_filled_and_stays_awake(server):
    _, display = server
    asking = """
    import ctypes
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = ctypes.c_void_p
    at = ctypes.c_void_p(x.XOpenDisplay(None))
    values = [ctypes.c_int(-1) for _ in range(4)]
    x.XGetScreenSaver(at, *map(ctypes.byref, values))
    print(values[0].value)
"""
    window = on(display, OPEN.format(display="") + asking)
    out, err = window.communicate(timeout=300)
    assert (window.returncode, out.split("\n")[:2]) == (0, ["800 600", "0"]), err


@needs_xvfb
def test_a_monitor_that_is_not_there_is_one_line(server):
    _, display = server
    script = OPEN.replace("{display}", "monitor='HDMI-7'")
    window = on(display, script)
    _, err = window.communicate(timeout=300)
    assert "DisplayError: display.monitor: no monitor 'HDMI-7' is connected" in err


@needs_xvfb
def test_a_server_that_saves_no_energy_is_no_reason_to_complain(server):
    _, display = server
    script = "    for _ in range(3):\n        window.screen_off()\n        window.screen_on()\n"
    window = on(display, OPEN.format(display="") + script + "    print(window.monitors_changed)\n")
    out, err = window.communicate(timeout=300)
    assert (window.returncode, out.split("\n")[1]) == (0, "False"), err
    assert "DPMS" not in err


TURN_OFF = """
    import ctypes
    from ctypes import POINTER, Structure, c_int, c_ulong, c_void_p
    class Resources(Structure):
        _fields_ = [("asked", c_ulong), ("set", c_ulong), ("count", c_int)]
        _fields_ += [("crtcs", POINTER(c_ulong))]
    x, randr = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXrandr.so.2")
    x.XOpenDisplay.restype = c_void_p
    x.XDefaultRootWindow.restype = c_ulong
    randr.XRRGetScreenResources.restype = POINTER(Resources)
    at = c_void_p(x.XOpenDisplay(None))
    found = randr.XRRGetScreenResources(at, c_ulong(x.XDefaultRootWindow(at)))
    print(window.monitors_off)
    nothing = (c_int(0), c_int(0), c_ulong(0), c_int(1), None, c_int(0))
    off = randr.XRRSetCrtcConfig(at, found, c_ulong(found.contents.crtcs[0]), c_ulong(0), *nothing)
    x.XSync(at, 0)
    print(window.monitors_off, window.monitors_changed)
"""


@needs_xvfb
def test_monitors_that_were_turned_off_are_noticed(server):
    _, display = server
    window = on(display, OPEN.format(display="fullscreen=False") + TURN_OFF)
    out, err = window.communicate(timeout=60)
    assert out.split("\n")[1:3] == ["False", "True False"], err
    # Started meanwhile, the wall waits for one to be turned on.
    window = on(
        display,
        OPEN.format(display="") + "    print(window.monitors_off, window.monitors_changed)\n",
    )
    out, err = window.communicate(timeout=60)
    assert (window.returncode, out.split("\n")[1]) == (0, "True False"), err
