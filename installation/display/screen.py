"""The screen a window goes onto: which, awake, and gone when its server is."""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import os
from typing import Any

from installation.errors import InstallationError

log = logging.getLogger(__name__)

# What systemd takes for "try again later" (EX_TEMPFAIL of sysexits.h).
_TRY_AGAIN = 75
# Renderers that draw with the processor.
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
_kept: list[Any] = []


class DisplayError(InstallationError):
    """There is no screen, or none that OpenGL can draw on."""


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
    """Ask an X server, given its Xlib connection, neither to blank its screens nor to dim them."""
    xlib = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    at = ctypes.cast(connection, ctypes.c_void_p)
    xlib.XSetScreenSaver.argtypes = [ctypes.c_void_p, *[ctypes.c_int] * 4]
    xlib.XSetScreenSaver(at, 0, 0, 0, 0)
    for name in ("Xext", "libXext.so.6"):
        try:
            extensions = ctypes.CDLL(ctypes.util.find_library(name) or name)
        except OSError:
            continue
        # Energy saving is an extension that a server may lack.
        first = ctypes.c_int()
        extensions.DPMSQueryExtension.argtypes = [ctypes.c_void_p] + [ctypes.c_void_p] * 2
        if extensions.DPMSQueryExtension(at, ctypes.byref(first), ctypes.byref(first)):
            extensions.DPMSDisable.argtypes = [ctypes.c_void_p]
            extensions.DPMSDisable(at)
        return


def leave_with_the_server() -> None:
    """End the process with one line and status 75 when the X server dies.

    Xlib would end it with status 1 and without a word, whatever Python had in mind: an error of
    its connection cannot be returned from.
    """
    xlib = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
    handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_leave)
    _kept.append(handler)
    xlib.XSetIOErrorHandler(handler)


def _leave(_connection: int) -> int:
    log.error("the X server is gone; leaving, to be started again when it is back")
    logging.shutdown()
    os._exit(_TRY_AGAIN)


def tell_renderer(renderer: str) -> None:
    """Log what draws, and warn where that is the processor."""
    if any(name in renderer.lower() for name in _SOFTWARE):
        log.warning("drawing without a graphics card (%s): is its driver installed?", renderer)
    else:
        log.info("drawing with %s", renderer)
