"""Checks of the screen and of the OpenGL renderer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from installation.checks.finding import Finding, error, ok, warning
from installation.checks.service import SYSTEMD, environment
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


def check_screen(config: Config) -> Iterator[Finding]:
    """Check that the X server and the configured monitor are available."""
    name = "screen"
    _use_display_of_service()
    if not has_screen():
        yield error(
            name,
            "DISPLAY is not set",
            "install the services (sudo systemd/install), or check from a graphical session",
        )
        return
    display = os.environ["DISPLAY"]
    cookie = os.environ.get("XAUTHORITY")
    if cookie and not os.access(cookie, os.R_OK):
        remedy = "use sudo" if Path(cookie).exists() else "is the X server running?"
        yield error(name, f"{display}: {cookie} cannot be read", remedy)
        return
    try:
        server = connect()
        if monitors(server._display) == []:
            yield error(name, f"{display}: no monitor is on", turn_on_monitor())
            return
        screens = server.get_screens()
        chosen = choose_monitor(screens, config.display.monitor)
    except DisplayError as reason:
        yield error(name, reason.cause, reason.remedy)
        return
    monitor = chosen.get_monitor_name() or f"number {screens.index(chosen)}"
    size = f"{chosen.width} x {chosen.height}"
    total = f", of {len(screens)} monitors" if len(screens) > 1 else ""
    yield ok(name, f"{display}: {monitor}, {size}{total}")


def check_opengl(_config: Config) -> Iterator[Finding]:
    """Check the renderer of the screen, or of memory if there is no screen."""
    name = "OpenGL"
    _use_display_of_service()
    if has_screen():
        try:
            connect()
        except DisplayError:
            # `check_screen` reports it.
            return
    try:
        # Not visible: the installation may be running on that screen.
        window = make_window(headless=not has_screen(), width=64, height=64, visible=False)
    except DisplayError as reason:
        yield error(name, reason.cause, reason.remedy)
        return
    info = window.context.get_info()
    renderer, version = str(info.get_renderer()), ".".join(map(str, info.get_version()))
    message = f"{renderer}, OpenGL {version}{'' if has_screen() else ', in memory'}"
    if is_software(renderer):
        remedy = "if there is a graphics card, install its driver"
        yield warning(name, f"{message}: the CPU renders", remedy)
    else:
        yield ok(name, message)


def _use_display_of_service() -> None:
    """Use the screen of the installed service if DISPLAY is not set."""
    if not has_screen():
        os.environ.update(environment(SYSTEMD.show_installation()))
