"""The screen: whether there is one, the one that is wanted, and what draws on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyglet

from installation.advice import turn_on_monitor
from installation.config import Config
from installation.display.screen import allow_no_monitor, choose, is_software, monitors
from installation.display.window import has_screen
from installation.doctor import service
from installation.doctor.finding import Finding, ok, trouble, warning


def screen(config: Config) -> Iterator[Finding]:
    """Look at the screen."""
    about = "screen"
    _use_the_walls()
    if not has_screen():
        yield trouble(
            about,
            "none is named: DISPLAY is not set",
            "install the services (sudo systemd/install), or ask from a graphical session",
        )
        return
    display = os.environ["DISPLAY"]
    authority = os.environ.get("XAUTHORITY")
    if authority and not os.access(authority, os.R_OK):
        remedy = "ask with sudo" if Path(authority).exists() else "is the X server running?"
        yield trouble(about, f"{display}: {authority} cannot be read", remedy)
        return
    try:
        screens = _screens()
    except Exception as error:
        remedy = "is the X server running? see systemctl status installation-display"
        yield trouble(about, f"{display}: {error}", remedy)
        return
    if monitors(screens[0].display._display) == []:
        yield trouble(about, f"{display}: no monitor is on", turn_on_monitor())
        return
    chosen = choose(screens, config.display.monitor)
    which = chosen.get_monitor_name() or f"number {screens.index(chosen)}"
    size = f"{chosen.width} x {chosen.height}"
    several = f", of {len(screens)} monitors" if len(screens) > 1 else ""
    yield ok(about, f"{display}: {which}, {size}{several}")


def opengl(_config: Config) -> Iterator[Finding]:
    """Look at what draws: on the screen, or in memory where there is none."""
    about = "OpenGL"
    _use_the_walls()
    try:
        renderer, version = _renderer(headless=not has_screen())
    except Exception as error:
        if type(error).__name__ == "NoSuchDisplayException":
            yield warning(about, "not looked at: there is no screen")
            return
        remedy = "install the graphics driver; ./setup.sh packages brings Mesa"
        yield trouble(about, f"nothing can be drawn: {error or type(error).__name__}", remedy)
        return
    said = f"{renderer}, OpenGL {version}{'' if has_screen() else ', in memory'}"
    if is_software(renderer):
        remedy = "with a graphics card: is its driver installed?"
        yield warning(about, f"{said}: the processor draws", remedy)
    else:
        yield ok(about, said)


def _use_the_walls() -> None:
    """Have the screen that the service uses be ours, where no other is named."""
    if not has_screen():
        os.environ.update(service.environment(service.wall()))


def _screens() -> list[Any]:
    pyglet.options.headless = False
    from pyglet.display import get_display

    return list(get_display().get_screens())


def _renderer(headless: bool) -> tuple[str, str]:
    pyglet.options.headless = headless
    if not headless:
        allow_no_monitor()
    from pyglet import gl
    from pyglet.window import Window

    # Not shown: the wall may be on that screen.
    config = gl.Config(double_buffer=True, red_size=8, green_size=8, blue_size=8)  # type: ignore[abstract]
    window = Window(width=64, height=64, visible=False, config=config)
    info = window.context.get_info()
    return str(info.get_renderer()), ".".join(map(str, info.get_version()))
