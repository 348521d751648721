"""The monitor of the window: choosing it, turning it on and off, and the loss of its X server."""

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
# Renderers that draw on the CPU.
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
_handlers: list[Any] = []


class DisplayError(InstallationError):
    """There is no screen, or OpenGL cannot draw on it.

    Parameters
    ----------
    cause
        What is wrong.
    remedy
        What to do; empty if ``cause`` says it.
    status
        Exit status; by default 75: a screen may be connected later.
    """

    def __init__(self, cause: str, remedy: str = "", status: int = TRY_AGAIN) -> None:
        super().__init__(f"{cause}; {remedy}" if remedy else cause)
        self.cause = cause
        self.remedy = remedy
        self.status = status


def has_screen() -> bool:
    """Return whether the environment names an X server."""
    return bool(os.environ.get("DISPLAY"))


def choose_monitor(screens: list[Any], name_or_number: str | None) -> Any:
    """Choose one of the monitors of an X server.

    Parameters
    ----------
    screens
        The monitors as pyglet lists them.
    name_or_number
        A name such as ``HDMI-1``, or a number from 0; None: the primary monitor.

    Raises
    ------
    DisplayError
        The monitor is not connected; the message names those that are.
    """
    if name_or_number is None:
        return next((each for each in screens if getattr(each, "is_primary", False)), screens[0])
    names = [str(screen.get_monitor_name() or number) for number, screen in enumerate(screens)]
    for number, (screen, name) in enumerate(zip(screens, names, strict=True)):
        if name_or_number in (name, str(number)):
            return screen
    connected = ", ".join(f"{number}: {name}" for number, name in enumerate(names))
    raise DisplayError(
        f"display.monitor: no monitor {name_or_number!r} is connected, only {connected}; "
        "plug it in, or set display.monitor to one of these, or to null"
    )


def keep_awake(connection: Any) -> None:
    """Turn an X server's screens on, given its Xlib connection, and disable energy saving."""
    display, xlib, extensions = _libraries(connection)
    xlib.XSetScreenSaver(display, 0, 0, 0, 0)
    if extensions is not None:
        # The level can only be set while energy saving is enabled.
        extensions.DPMSEnable(display)
        extensions.DPMSForceLevel(display, _ON)
        extensions.DPMSDisable(display)
    xlib.XFlush(display)


def turn_off(connection: Any) -> None:
    """Turn an X server's screens off, if it supports it; a key or the mouse wakes them."""
    display, xlib, extensions = _libraries(connection)
    if extensions is not None:
        extensions.DPMSEnable(display)
        # Otherwise the server's own timeouts would apply.
        extensions.DPMSSetTimeouts(display, 0, 0, 0)
        extensions.DPMSForceLevel(display, _OFF)
    xlib.XFlush(display)


def _libraries(connection: Any) -> tuple[ctypes.c_void_p, ctypes.CDLL, ctypes.CDLL | None]:
    """Return a connection as a pointer, Xlib, and the library for energy saving.

    The last is None if the library is missing or the server lacks the extension DPMS.
    """
    xlib = _xlib()
    display = ctypes.cast(connection, ctypes.c_void_p)
    xlib.XSetScreenSaver.argtypes = [ctypes.c_void_p, *[ctypes.c_int] * 4]
    xlib.XFlush.argtypes = [ctypes.c_void_p]
    extensions = _library("libXext.so.6")
    if extensions is None:
        return display, xlib, None
    extensions.DPMSSetTimeouts.argtypes = [ctypes.c_void_p, *[ctypes.c_ushort] * 3]
    extensions.DPMSForceLevel.argtypes = [ctypes.c_void_p, ctypes.c_ushort]
    for name in ("DPMSEnable", "DPMSDisable"):
        getattr(extensions, name).argtypes = [ctypes.c_void_p]
    # Without the extension the library would print an error.
    xlib.XQueryExtension.argtypes = [ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    first = ctypes.c_int()
    supported = xlib.XQueryExtension(display, b"DPMS", *[ctypes.byref(first)] * 3)
    return display, xlib, extensions if supported else None


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
    """Return the geometry of active monitors: x, y, width, height in pixels, sorted.

    Reads the server's current state, which is fast; nothing is probed. None if the server does not
    report it (RandR below 1.5).
    """
    randr = _library("libXrandr.so.2")
    if randr is None:
        return None
    display = ctypes.cast(connection, ctypes.c_void_p)
    xlib = _xlib()
    xlib.XDefaultRootWindow.argtypes = [ctypes.c_void_p]
    xlib.XDefaultRootWindow.restype = ctypes.c_ulong
    randr.XRRGetMonitors.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int, ctypes.c_void_p]
    randr.XRRGetMonitors.restype = ctypes.POINTER(_Monitor)
    randr.XRRFreeMonitors.argtypes = [ctypes.POINTER(_Monitor)]
    count = ctypes.c_int(-1)
    found = randr.XRRGetMonitors(
        display, xlib.XDefaultRootWindow(display), True, ctypes.byref(count)
    )
    if not found:
        return [] if count.value == 0 else None
    geometries = sorted((m.x, m.y, m.width, m.height) for m in found[: count.value])
    randr.XRRFreeMonitors(found)
    return geometries


def allow_no_monitor() -> None:
    """Make pyglet open windows without an active monitor; call this before the first window."""
    from pyglet.display.xlib import XlibScreen

    # The screen object it then uses lacks this attribute (pyglet 2.1).
    XlibScreen.is_primary = False  # type: ignore[attr-defined]


def exit_on_x_server_loss() -> None:
    """End the process with one line and status 75 when the X server dies.

    A handler of such an error must not return, and Xlib's own ends the process silently with
    status 1.
    """
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_on_io_error)
    _handlers.append(handler)
    _xlib().XSetIOErrorHandler(handler)


def _on_io_error(_connection: int) -> int:
    force_exit("the X server is gone; exiting; systemd will restart it", TRY_AGAIN)


def is_software(renderer: str) -> bool:
    """Return whether a renderer draws on the CPU."""
    return any(name in renderer.lower() for name in _SOFTWARE)


def log_renderer(renderer: str) -> None:
    """Log the renderer, with a warning if it draws on the CPU."""
    if is_software(renderer):
        log.warning(
            "drawing on the CPU (%s); if there is a graphics card, install its driver", renderer
        )
    else:
        log.info("drawing with %s", renderer)
