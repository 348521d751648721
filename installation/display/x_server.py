"""Connect to the X server, or say why that fails or the server cannot be used."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyglet

from installation.display.screen import DisplayError, allow_no_monitor
from installation.errors import FAILURE

_CONNECT_TIMEOUT_S = 10.0
# 8 bits each for red, green and blue.
_MIN_DEPTH_BITS = 24
# How the messages of a server begin that rejects a client without its cookie.
_UNAUTHORISED_PREFIXES = ("Authorization required", "Invalid ", "No protocol specified")
_RESTART_REMEDY = "restart it: sudo systemctl restart installation-display"
_STANDARD_ERROR = 2


def connect() -> Any:
    """Connect to the X server that ``DISPLAY`` names, and check that OpenGL can draw there.

    Returns
    -------
    pyglet.display.Display
        The connection; pyglet keeps it open.

    Raises
    ------
    DisplayError
        The server does not respond, rejects the connection or lacks an extension.
    """
    name = os.environ["DISPLAY"]
    pyglet.options.headless = False
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(_connect())
        except Exception as error:
            found.append(error)

    with _captured_stderr() as captured:
        # Xlib waits forever for a server that does not respond; the thread is abandoned then.
        thread = threading.Thread(target=work, name="connect", daemon=True)
        thread.start()
        thread.join(_CONNECT_TIMEOUT_S)
        stderr = captured().strip()
    if not found:
        raise DisplayError(
            f"the X server {name} does not respond within {_CONNECT_TIMEOUT_S:g} s",
            f"if it hangs, {_RESTART_REMEDY}",
        )
    if isinstance(found[0], Exception):
        raise _as_display_error(name, found[0], stderr) from found[0]
    display, depth, extensions = found[0]
    if depth < _MIN_DEPTH_BITS:
        raise DisplayError(
            f"the X server {name} has a depth of {depth} bits, but OpenGL needs {_MIN_DEPTH_BITS}",
            f"set DefaultDepth {_MIN_DEPTH_BITS} in Section Screen of xorg.conf and restart it, "
            f"or start Xvfb with -screen 0 1920x1080x{_MIN_DEPTH_BITS}",
            FAILURE,
        )
    if "GLX" not in extensions:
        raise DisplayError(
            f"the X server {name} lacks the extension GLX, which OpenGL requires",
            "install the graphics driver, and start the server with +extension GLX",
            FAILURE,
        )
    if "RANDR" not in extensions and _pyglet_uses_randr():
        raise DisplayError(
            f"the X server {name} lacks the extension RANDR, which is needed to find monitors",
            "start it with +extension RANDR; an Xorg with Xinerama turned on has none",
            FAILURE,
        )
    return display


def _connect() -> tuple[Any, int, list[str]]:
    from pyglet.display import get_display

    allow_no_monitor()
    display: Any = get_display()
    at = ctypes.cast(display._display, ctypes.c_void_p)
    xlib = ctypes.CDLL("libX11.so.6")
    xlib.XDefaultDepth.argtypes = [ctypes.c_void_p, ctypes.c_int]
    xlib.XQueryExtension.argtypes = [ctypes.c_void_p, ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    numbers = [ctypes.byref(ctypes.c_int()) for _ in range(3)]
    extensions = [
        extension
        for extension in ("GLX", "RANDR")
        if xlib.XQueryExtension(at, extension.encode(), *numbers)
    ]
    return display, xlib.XDefaultDepth(at, display.x_screen), extensions


def _pyglet_uses_randr() -> bool:
    from pyglet.display import xlib

    return bool(xlib._have_xrandr)


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture standard error, C libraries included; yields a function that returns it."""
    memory = os.memfd_create("stderr")
    kept = os.dup(_STANDARD_ERROR)
    os.dup2(memory, _STANDARD_ERROR)
    try:
        yield lambda: os.pread(memory, 4096, 0).decode(errors="replace")
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(memory)


def _as_display_error(name: str, error: Exception, stderr: str) -> DisplayError:
    """Return an error that says why there is no connection.

    Parameters
    ----------
    name
        Name of the display.
    error
        The error pyglet raised.
    stderr
        Output of XCB: the server's reason.
    """
    if type(error).__name__ != "NoSuchDisplayException":
        return DisplayError(
            f"the X server {name} cannot be reached: {error}",
            "./setup.sh packages installs the libraries",
            FAILURE,
        )
    if stderr.startswith(_UNAUTHORISED_PREFIXES):
        authority = os.environ.get("XAUTHORITY") or "unset, which means ~/.Xauthority"
        return DisplayError(
            f"the X server {name} rejects the connection: {stderr}",
            f"XAUTHORITY must name the file with this server's cookie; it is {authority}",
        )
    if stderr:
        return DisplayError(
            f"the X server {name} rejects the connection: {stderr}",
            f"close other clients, or {_RESTART_REMEDY}",
        )
    if not _is_display_name(name):
        return DisplayError(
            f"DISPLAY is {name!r}, which is not the name of an X server",
            "set it to a name such as :0",
            FAILURE,
        )
    # The number after a point is a screen's.
    point = name.rpartition(":")[2].partition(".")[1]
    return DisplayError(
        f"no X server answers at {name}{', or it has fewer screens' if point else ''}",
        "is it running? see systemctl status installation-display",
    )


def _is_display_name(name: str) -> bool:
    """Return whether XCB, which Xlib uses, accepts a display name."""
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_parse_display.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    host, number = ctypes.c_char_p(), ctypes.c_int()
    return bool(
        xcb.xcb_parse_display(
            os.fsencode(name), ctypes.byref(host), ctypes.byref(number), ctypes.byref(number)
        )
    )
