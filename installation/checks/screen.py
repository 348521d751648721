"""The screen: whether there is one, the one that is wanted, and what draws on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from installation.checks import service
from installation.checks.finding import Finding, ok, trouble, warning
from installation.config.model import Config
from installation.display.opening import make_window
from installation.display.screen import (
    DisplayError,
    choose_monitor,
    has_screen,
    is_software,
    monitors,
)
from installation.display.x_server import connect
from installation.runtime.advice import turn_on_monitor


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
        server = connect()
        if monitors(server._display) == []:
            yield trouble(about, f"{display}: no monitor is on", turn_on_monitor())
            return
        screens = server.get_screens()
        chosen = choose_monitor(screens, config.display.monitor)
    except DisplayError as error:
        yield trouble(about, error.cause, error.remedy)
        return
    which = chosen.get_monitor_name() or f"number {screens.index(chosen)}"
    size = f"{chosen.width} x {chosen.height}"
    several = f", of {len(screens)} monitors" if len(screens) > 1 else ""
    yield ok(about, f"{display}: {which}, {size}{several}")


def opengl(_config: Config) -> Iterator[Finding]:
    """Look at what draws: on the screen, or in memory where there is none."""
    about = "OpenGL"
    _use_the_walls()
    try:
        if has_screen():
            connect()
        # Not shown: the wall may be on that screen.
        window = make_window(headless=not has_screen(), width=64, height=64, visible=False)
    except DisplayError as error:
        yield trouble(about, error.cause, error.remedy)
        return
    info = window.context.get_info()
    renderer, version = str(info.get_renderer()), ".".join(map(str, info.get_version()))
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
