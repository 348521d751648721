"""The X server: a connection to it, or why there is none, or none of use."""

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

# Seconds that a server has to answer.
_ANSWER_S = 10.0
# Bits of a pixel that a window takes: 8 each for red, green and blue.
_DEPTH = 24
# Begin what a server says to whoever lacks its cookie.
_UNAUTHORISED = ("Authorization required", "Invalid ", "No protocol specified")
_RESTART = "restart it: sudo systemctl restart installation-display"
_STANDARD_ERROR = 2


def connect() -> Any:
    """Connect to the X server that ``DISPLAY`` names, and see that a window can be drawn there.

    Returns
    -------
    pyglet.display.Display
        The connection, which is pyglet's for good.

    Raises
    ------
    DisplayError
        It does not answer, refuses, or lacks something.
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
        # Xlib waits without end for a server that does not answer: then, this thread goes on.
        thread = threading.Thread(target=work, name="connect", daemon=True)
        thread.start()
        thread.join(_ANSWER_S)
        said = captured().strip()
    if not found:
        raise DisplayError(
            f"the X server {name} does not answer within {_ANSWER_S:g} s",
            f"if it hangs, {_RESTART}",
        )
    if isinstance(found[0], Exception):
        raise _refusal(name, found[0], said) from found[0]
    display, depth, extensions = found[0]
    if depth < _DEPTH:
        raise DisplayError(
            f"the X server {name} has a depth of {depth} bits, and OpenGL needs {_DEPTH} here",
            f"set DefaultDepth {_DEPTH} in Section Screen of xorg.conf and restart it, "
            f"or start Xvfb with -screen 0 1920x1080x{_DEPTH}",
            FAILURE,
        )
    if "GLX" not in extensions:
        raise DisplayError(
            f"the X server {name} lacks the extension GLX, without which there is no OpenGL",
            "install the graphics driver, and start the server with +extension GLX",
            FAILURE,
        )
    if "RANDR" not in extensions and _pyglet_uses_randr():
        raise DisplayError(
            f"the X server {name} lacks the extension RANDR, by which monitors are found",
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
    """Keep what is written to standard error, by C too; yields what returns it."""
    memory = os.memfd_create("stderr")
    kept = os.dup(_STANDARD_ERROR)
    os.dup2(memory, _STANDARD_ERROR)
    try:
        yield lambda: os.pread(memory, 4096, 0).decode(errors="replace")
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(memory)


def _refusal(name: str, error: Exception, said: str) -> DisplayError:
    """Say why there is no connection.

    Parameters
    ----------
    name
        Of the display.
    error
        What pyglet raised.
    said
        What XCB printed: the reason that the server gave.
    """
    if type(error).__name__ != "NoSuchDisplayException":
        return DisplayError(
            f"the X server {name} cannot be reached: {error}",
            "./setup.sh packages brings the libraries",
            FAILURE,
        )
    if said.startswith(_UNAUTHORISED):
        authority = os.environ.get("XAUTHORITY") or "unset, which means ~/.Xauthority"
        return DisplayError(
            f"the X server {name} refuses: {said}",
            f"XAUTHORITY has to name the file with this server's cookie; it is {authority}",
        )
    if said:
        return DisplayError(f"the X server {name} refuses: {said}", f"end some, or {_RESTART}")
    if not _is_name(name):
        return DisplayError(
            f"DISPLAY is {name!r}, which names no X server", "set it to one such as :0", FAILURE
        )
    # A number behind a point is that of a screen.
    point = name.rpartition(":")[2].partition(".")[1]
    return DisplayError(
        f"no X server answers at {name}{', or it has fewer screens' if point else ''}",
        "is it running? see systemctl status installation-display",
    )


def _is_name(name: str) -> bool:
    """Tell whether XCB, on which Xlib is built, takes this for the name of a display."""
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_parse_display.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    host, number = ctypes.c_char_p(), ctypes.c_int()
    return bool(
        xcb.xcb_parse_display(
            os.fsencode(name), ctypes.byref(host), ctypes.byref(number), ctypes.byref(number)
        )
    )
