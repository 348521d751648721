"""Everything a technician would look at, one after the other."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from installation.checks import service
from installation.checks.finding import Finding, ok, trouble
from installation.checks.isolated import run_isolated
from installation.config import model as configuration
from installation.config.files import ConfigError, overlays
from installation.config.model import Config
from installation.runtime.advice import is_installed, let_read


@dataclass(frozen=True, slots=True)
class _Check:
    """What to look at, by a function of a room that is opened only then, and for how long."""

    about: str
    room: str
    seconds: float

    def look(self, config: Config) -> Iterable[Finding]:
        room, _, function = self.room.partition(".")
        found: Callable[[Config], Iterable[Finding]] = getattr(
            __import__(f"installation.checks.{room}", fromlist=[function]), function
        )
        return found(config)


_CHECKS = (
    _Check("words", "program.policy", 20),
    _Check("hours", "program.hours", 20),
    _Check("camera", "camera.camera", 40),
    _Check("camera's name", "camera.name", 20),
    _Check("screen", "screen.screen", 20),
    _Check("OpenGL", "screen.opengl", 40),
    _Check("inference", "program.device", 60),
    _Check("engines", "program.engines", 90),
    _Check("type", "program.fonts", 20),
    _Check("record", "machine.record", 30),
    _Check("disk", "machine.disk", 20),
    _Check("clock", "machine.clock", 20),
    _Check("temperature", "machine.heat", 20),
    _Check("permissions", "machine.permissions", 20),
)
_SERVICES = 30


def examine(path: Path | None) -> Iterator[Finding]:
    """Look at everything; each thing in a process of its own, which may hang or crash.

    Where the service is installed and root asks, all is looked at as the wall's own user.

    Parameters
    ----------
    path
        The config; None: the one that is found.

    Yields
    ------
    Finding
        As they come.
    """
    user = _user()
    if user is not None and not _is_known(user):
        said = f"the user {user}, as whom the wall runs, is missing"
        yield trouble("user", said, "sudo systemd/install makes it")
        yield from run_isolated("services", service.units, _SERVICES)
        return
    config = None
    try:
        path = (path or configuration.find()).absolute()
        config = configuration.load(path)
        yield from run_isolated("config", partial(_config, path), _SERVICES, user)
    except ConfigError as error:
        yield trouble("config", str(error))
    if config is not None:
        for check in _CHECKS:
            yield from run_isolated(check.about, partial(check.look, config), check.seconds, user)
    yield from run_isolated("services", service.units, _SERVICES)


def _config(path: Path) -> Iterator[Finding]:
    try:
        files = [path, *overlays(path)]
    except ConfigError as error:
        # Root may look into folders that the wall may not.
        yield trouble("config", str(error))
        return
    closed = [each for each in files if not os.access(each, os.R_OK)]
    for each in closed:
        yield trouble("config", f"{each}: may not be read by the wall", let_read(each))
    if not closed:
        over = (f"{each.parent.name}/{each.name}" for each in files[1:])
        yield ok("config", ", ".join((str(path), *over)))


def _is_known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _user() -> str | None:
    """Return as whom to look: what is installed is the wall's user's, for root."""
    if os.geteuid() != 0 or not is_installed():
        return None
    return service.wall().get("User") or None
