"""The screen a window goes onto: which, awake, and gone when its server is."""

from __future__ import annotations

import ctypes
import logging
import os
from typing import Any

from installation.errors import TRY_AGAIN, InstallationError
from installation.runtime.deadline import force_exit

log = logging.getLogger(__name__)

# Levels of DPMS, as in X11/extensions/dpmsconst.h.
_ON, _OFF = 0, 3
# Renderers that draw with the processor.
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
_kept: list[Any] = []


class DisplayError(InstallationError):
    """There is no screen, or none that OpenGL can draw on.

    Parameters
    ----------
    cause
        What is wrong.
    remedy
        What to do; empty where that is said.
    status
        Exit status; by default, that there may be a screen later.
    """

    def __init__(self, cause: str, remedy: str = "", status: int = TRY_AGAIN) -> None:
        super().__init__(f"{cause}; {remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy
        self.status = status


def has_screen() -> bool:
    """Tell whether an X server is named in the environment."""
    return bool(os.environ.get("DISPLAY"))


def choose(screens: list[Any], wanted: str | None) -> Any:
    """Choose among the monitors of an X server.

    Parameters
    ----------
    screens
        As pyglet lists them.
    wanted
        A name, such as ``HDMI-1``, a number from 0, or None for the primary one.

    Raises
    ------
    DisplayError
        It is not connected; the message names those that are.
    """
    if wanted is None:
        return next((each for each in screens if getattr(each, "is_primary", False)), screens[0])
    names = [str(screen.get_monitor_name() or number) for number, screen in enumerate(screens)]
    for number, (screen, name) in enumerate(zip(screens, names, strict=True)):
        if wanted in (name, str(number)):
            return screen
    connected = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
    raise DisplayError(
        f"display.monitor: no monitor {wanted!r} is connected, only {connected}; "
        "plug it in, or set display.monitor to one of these, or to null"
    )


def keep_awake(connection: Any) -> None:
    """Have an X server turn its screens on, given its Xlib connection, and never off by itself."""
    at, xlib, extensions = _libraries(connection)
    xlib.XSetScreenSaver(at, 0, 0, 0, 0)
    if extensions is not None:
        # The level of a server that does not save energy cannot be set.
        extensions.DPMSEnable(at)
        extensions.DPMSForceLevel(at, _ON)
        extensions.DPMSDisable(at)
    xlib.XFlush(at)


def turn_off(connection: Any) -> None:
    """Have an X server turn its screens off, where they can be; a key or the mouse wakes them."""
    at, xlib, extensions = _libraries(connection)
    if extensions is not None:
        extensions.DPMSEnable(at)
        # Otherwise the server's own clock would take over.
        extensions.DPMSSetTimeouts(at, 0, 0, 0)
        extensions.DPMSForceLevel(at, _OFF)
    xlib.XFlush(at)


def _libraries(connection: Any) -> tuple[ctypes.c_void_p, ctypes.CDLL, ctypes.CDLL | None]:
    """Return a connection as C wants it, Xlib, and the library for energy saving.

    The last is None where the library or the server lacks that extension (DPMS).
    """
    xlib = _xlib()
    at = ctypes.cast(connection, ctypes.c_void_p)
    xlib.XSetScreenSaver.argtypes = [ctypes.c_void_p, *[ctypes.c_int] * 4]
    xlib.XFlush.argtypes = [ctypes.c_void_p]
    extensions = _library("libXext.so.6")
    if extensions is None:
        return at, xlib, None
    extensions.DPMSSetTimeouts.argtypes = [ctypes.c_void_p, *[ctypes.c_ushort] * 3]
    extensions.DPMSForceLevel.argtypes = [ctypes.c_void_p, ctypes.c_ushort]
    for name in ("DPMSEnable", "DPMSDisable"):
        getattr(extensions, name).argtypes = [ctypes.c_void_p]
    # The library itself would complain on standard error where the server lacks it.
    xlib.XQueryExtension.argtypes = [ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    first = ctypes.c_int()
    there = xlib.XQueryExtension(at, b"DPMS", *[ctypes.byref(first)] * 3)
    return at, xlib, extensions if there else None


def _xlib() -> ctypes.CDLL:
    return ctypes.CDLL("libX11.so.6")


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


class _Monitor(ctypes.Structure):
    """``XRRMonitorInfo`` of Xrandr.h."""

    _fields_ = (
        ("name", ctypes.c_ulong),
        *((name, ctypes.c_int) for name in ("primary", "automatic", "noutput")),
        *((name, ctypes.c_int) for name in ("x", "y", "width", "height", "mwidth", "mheight")),
        ("outputs", ctypes.c_void_p),
    )


def monitors(connection: Any) -> list[tuple[int, int, int, int]] | None:
    """Return where the monitors that are on lie: x, y, width, height in pixels, sorted.

    Asks the server for what it knows, which is quick; nothing is probed. None where it does not
    tell (RandR below 1.5).
    """
    randr = _library("libXrandr.so.2")
    if randr is None:
        return None
    at = ctypes.cast(connection, ctypes.c_void_p)
    xlib = _xlib()
    xlib.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
    xlib.XDefaultRootWindow.restype = ctypes.c_ulong
    randr.XRRGetMonitors.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p]
    randr.XRRGetMonitors.restype = ctypes.POINTER(_Monitor)
    randr.XRRFreeMonitors.argtypes = [ctypes.POINTER(_Monitor)]
    count = ctypes.c_int(-1)
    found = randr.XRRGetMonitors(at, xlib.XDefaultRootWindow(at), True, ctypes.byref(count))
    if not found:
        return [] if count.value == 0 else None
    places = sorted((m.x, m.y, m.width, m.height) for m in found[: count.value])
    randr.XRRFreeMonitors(found)
    return places


def allow_no_monitor() -> None:
    """Have pyglet open windows also while no monitor is on; to be called before the first."""
    from pyglet.display.xlib import XlibScreen

    # What it then takes for a screen lacks this (pyglet 2.1).
    XlibScreen.is_primary = False  # type: ignore[attr-defined]


def exit_on_x_server_loss() -> None:
    """End the process with one line and status 75 when the X server dies.

    Xlib would end it with status 1 and without a word, whatever Python had in mind: an error of
    its connection cannot be returned from.
    """
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_leave)
    _kept.append(handler)
    _xlib().XSetIOErrorHandler(handler)


def _leave(_connection: int) -> int:
    force_exit("the X server is gone; leaving, to be started again when it is back", TRY_AGAIN)


def is_software(renderer: str) -> bool:
    """Tell whether what draws is the processor."""
    return any(name in renderer.lower() for name in _SOFTWARE)


def log_renderer(renderer: str) -> None:
    """Log what draws, and warn where that is the processor."""
    if is_software(renderer):
        log.warning("drawing without a graphics card (%s): is its driver installed?", renderer)
    else:
        log.info("drawing with %s", renderer)
