"""Open the window within a time limit, or say why not."""

from __future__ import annotations

import os
from typing import Any

import pyglet

from installation.config.model import Display
from installation.display.screen import (
    DisplayError,
    choose_monitor,
    exit_on_x_server_loss,
    has_screen,
    keep_awake,
)
from installation.display.x_server import connect
from installation.errors import FAILURE, TRY_AGAIN
from installation.runtime.deadline import deadline

# A cold graphics driver takes long to open a window.
_OPEN_TIMEOUT_S = 30.0
_SHOW_TIMEOUT_S = 20.0
# The version that the shaders are written for.
_REQUIRED = "OpenGL 3.3"
_HANG_REMEDY = "the X server, its window manager or the graphics driver hangs; restart it"
_DRIVER_REMEDY = "install or update the graphics driver; ./setup.sh packages installs Mesa"


def open_window(display: Display, headless: bool) -> tuple[Any, Any]:
    """Open a window with OpenGL and make its context current.

    If the X server, its window manager or the graphics driver hangs meanwhile, which cannot be
    interrupted, the process ends with one line and status 75.

    Parameters
    ----------
    display
        Monitor and size of the window.
    headless
        Whether to draw into memory, through EGL, instead of on a screen.

    Returns
    -------
    window, connection
        pyglet's window, and its Xlib connection; None if headless.

    Raises
    ------
    DisplayError
        There is no screen, or no OpenGL 3.3.
    """
    if not (headless or has_screen()):
        raise DisplayError("no screen: DISPLAY is not set", "start it from a graphical session")
    server = None
    if not headless:
        exit_on_x_server_loss()
        server = connect()
    target = _target(headless)
    late = f"no window could be opened {target} within {_OPEN_TIMEOUT_S:g} s: {_HANG_REMEDY}"
    with deadline(_OPEN_TIMEOUT_S, late, TRY_AGAIN):
        window = _open(display, server)
    if not headless:
        late = f"the window was not shown {target} within {_SHOW_TIMEOUT_S:g} s: {_HANG_REMEDY}"
        with deadline(_SHOW_TIMEOUT_S, late, TRY_AGAIN):
            window.set_visible(True)
            window.activate()
            window.set_mouse_visible(False)
    return window, server and server._display


def _open(display: Display, server: Any) -> Any:
    size = {"width": display.width, "height": display.height}
    if server is None:
        return make_window(headless=True, **size)
    screen = choose_monitor(server.get_screens(), display.monitor)
    keep_awake(server._display)
    options: dict[str, Any] = {"fullscreen": True} if display.fullscreen else size
    window = make_window(headless=False, screen=screen, visible=False, **options)
    if display.monitor is not None and not display.fullscreen:
        window.set_location(screen.x, screen.y)
    return window


def make_window(headless: bool, **options: Any) -> Any:
    """Return a new pyglet window with OpenGL.

    Parameters
    ----------
    headless
        Whether to draw into memory, through EGL, instead of on a screen.
    **options
        Passed to pyglet.

    Raises
    ------
    DisplayError
        The window cannot be opened; the message says why, and what to do.
    """
    # Must be set before pyglet's modules are imported.
    pyglet.options.headless = headless
    try:
        from pyglet import gl
        from pyglet.window import Window

        # By default EGL gives 5 or 6 bits per channel.
        config = gl.Config(double_buffer=True, red_size=8, green_size=8, blue_size=8)  # type: ignore[abstract]
        return Window(caption="installation", config=config, vsync=True, **options)
    except Exception as error:
        raise _as_display_error(error, headless) from error


def _as_display_error(error: Exception, headless: bool) -> DisplayError:
    target = _target(headless)
    # By name: if it was raised during an import, a second import creates another class.
    available = _available_opengl() if type(error).__name__ == "ContextException" else None
    if available is not None:
        return DisplayError(
            f"drawing {target} requires {_REQUIRED}, but only {available} is available",
            _DRIVER_REMEDY,
            FAILURE,
        )
    reason = str(error) or type(error).__name__
    return DisplayError(f"cannot draw {target}: {reason}; {_REQUIRED} is required", _DRIVER_REMEDY)


def _target(headless: bool) -> str:
    return "in memory" if headless else f"on the screen {os.environ['DISPLAY']}"


def _available_opengl() -> str | None:
    """Return the available version of OpenGL after a newer one was refused; None if none is."""
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
