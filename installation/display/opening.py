"""Opening a window, in good time, or saying why not."""

from __future__ import annotations

import os
from typing import Any

import pyglet

from installation.config.model import Display
from installation.display.screen import (
    DisplayError,
    choose,
    exit_on_x_server_loss,
    has_screen,
    keep_awake,
)
from installation.display.x_server import connect
from installation.errors import FAILURE, TRY_AGAIN
from installation.runtime.deadline import deadline

# Seconds that opening a window may take, as a cold graphics driver does, and showing it.
_OPENING_S = 30.0
_SHOWING_S = 20.0
# Of OpenGL: shaders are written for it.
_NEEDED = "OpenGL 3.3"
_HANG = "the X server, its window manager or the graphics driver hangs; restart that"
_DRIVER = "install or update the graphics driver; ./setup.sh packages brings Mesa"


def open_window(display: Display, headless: bool) -> tuple[Any, Any]:
    """Open a window with OpenGL, and make its context current.

    Where the X server, its window manager or the graphics driver hangs meanwhile, which nothing can
    interrupt, the process ends with one line and status 75.

    Parameters
    ----------
    display
        Which screen, and how large a window.
    headless
        Draw into memory, through EGL, instead of onto a screen.

    Returns
    -------
    window, connection
        pyglet's window, and its Xlib connection; None for that without a screen.

    Raises
    ------
    DisplayError
        No screen, or no OpenGL 3.3.
    """
    if not (headless or has_screen()):
        raise DisplayError("no screen: DISPLAY is not set", "start it from a graphical session")
    server = None
    if not headless:
        exit_on_x_server_loss()
        server = connect()
    where = _where(headless)
    late = f"no window could be opened {where} within {_OPENING_S:g} s: {_HANG}"
    with deadline(_OPENING_S, late, TRY_AGAIN):
        window = _open(display, server)
    if not headless:
        late = f"the window was not shown {where} within {_SHOWING_S:g} s: {_HANG}"
        with deadline(_SHOWING_S, late, TRY_AGAIN):
            window.set_visible(True)
            window.activate()
            window.set_mouse_visible(False)
    return window, server and server._display


def _open(display: Display, server: Any) -> Any:
    size = {"width": display.width, "height": display.height}
    if server is None:
        return make_window(headless=True, **size)
    screen = choose(server.get_screens(), display.monitor)
    keep_awake(server._display)
    options: dict[str, Any] = {"fullscreen": True} if display.fullscreen else size
    window = make_window(headless=False, screen=screen, visible=False, **options)
    if display.monitor is not None and not display.fullscreen:
        window.set_location(screen.x, screen.y)
    return window


def make_window(headless: bool, **options: Any) -> Any:
    """Return a new window of pyglet's, with OpenGL.

    Parameters
    ----------
    headless
        Draw into memory, through EGL, instead of onto a screen.
    **options
        pyglet's.

    Raises
    ------
    DisplayError
        It cannot be opened; the message says why, and what to do.
    """
    # Before pyglet's parts are imported, which decides it for good.
    pyglet.options.headless = headless
    try:
        from pyglet import gl
        from pyglet.window import Window

        # Ask for 8 bits a channel: EGL alone would give 5 or 6.
        config = gl.Config(double_buffer=True, red_size=8, green_size=8, blue_size=8)  # type: ignore[abstract]
        return Window(caption="installation", config=config, vsync=True, **options)
    except Exception as error:
        raise _explained(error, headless) from error


def _explained(error: Exception, headless: bool) -> DisplayError:
    where = _where(headless)
    # By name: where that was raised during an import, another import makes another class.
    offered = _offered() if type(error).__name__ == "ContextException" else None
    if offered is not None:
        return DisplayError(
            f"it takes {_NEEDED} to draw {where}, and there is only {offered}", _DRIVER, FAILURE
        )
    reason = str(error) or type(error).__name__
    return DisplayError(f"nothing can be drawn {where}: {reason}; it takes {_NEEDED}", _DRIVER)


def _where(headless: bool) -> str:
    return "in memory" if headless else f"on the screen {os.environ['DISPLAY']}"


def _offered() -> str | None:
    """Return the version of OpenGL that there is, once a newer one was refused."""
    pyglet.options.shadow_window = False
    try:
        from pyglet import gl
        from pyglet.window import Window

        config = gl.Config(double_buffer=True, major_version=1, minor_version=0)  # type: ignore[abstract]
        window = Window(width=1, height=1, visible=False, config=config)
        found = str(window.context.get_info().get_version_string())
        window.close()
    except Exception:
        return None
    return found
