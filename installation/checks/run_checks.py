"""Runs all checks, one after the other."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from installation.checks.finding import Finding, error, ok
from installation.checks.isolated import run_isolated
from installation.checks.service import SYSTEMD, check_services
from installation.config import loader
from installation.config.files import overlays
from installation.config.model import Config
from installation.config.strict_yaml import ConfigError
from installation.runtime.advice import is_installed, let_read


@dataclass(frozen=True, slots=True)
class _Check:
    """A check that needs a config.

    Its module is imported in the process that runs it, so that a crash there is contained too.
    """

    name: str
    module: str
    function: str
    timeout_s: float

    def run(self, config: Config) -> Iterable[Finding]:
        module = import_module(f"installation.checks.{self.module}")
        check: Callable[[Config], Iterable[Finding]] = getattr(module, self.function)
        return check(config)


_CHECKS = (
    _Check("words", "program", "check_policy", 20),
    _Check("hours", "program", "check_hours", 20),
    _Check("camera", "camera", "check_camera", 40),
    _Check("camera name", "camera", "check_camera_name", 20),
    _Check("screen", "screen", "check_screen", 20),
    _Check("OpenGL", "screen", "check_opengl", 40),
    _Check("inference", "program", "check_inference", 60),
    _Check("engines", "program", "check_engines", 90),
    _Check("font", "program", "check_font", 20),
    _Check("record", "machine", "check_record", 30),
    _Check("disk", "machine", "check_disk", 20),
    _Check("clock", "machine", "check_clock", 20),
    _Check("temperature", "machine", "check_temperature", 20),
    _Check("permissions", "machine", "check_permissions", 20),
)
_CONFIG_TIMEOUT_S = _SERVICES_TIMEOUT_S = 30.0


def run_checks(path: Path | None, user: str | None = None) -> Iterator[Finding]:
    """Run every check in a process of its own, which may hang or crash.

    Parameters
    ----------
    path
        The config; None: the one in the usual places.
    user
        User to run the checks as; None: see `service_user`.

    Yields
    ------
    Finding
        As they arrive.
    """
    user = user or service_user()
    if user is not None and not _user_exists(user):
        message = f"the installation runs as the user {user}, who does not exist"
        yield error("user", message, "run sudo systemd/install")
        yield from run_isolated("services", check_services, _SERVICES_TIMEOUT_S)
        return
    config = None
    try:
        path = (path or loader.find()).absolute()
        config = loader.load(path)
        yield from run_isolated("config", partial(check_config, path), _CONFIG_TIMEOUT_S, user)
    except ConfigError as reason:
        yield error("config", str(reason))
    if config is not None:
        for check in _CHECKS:
            yield from run_isolated(check.name, partial(check.run, config), check.timeout_s, user)
    yield from run_isolated("services", check_services, _SERVICES_TIMEOUT_S)


def check_config(path: Path) -> Iterator[Finding]:
    """Check that the config's files can be read.

    Parameters
    ----------
    path
        The config; the files merged over it are checked too.
    """
    try:
        files = [path, *overlays(path)]
    except ConfigError as reason:
        # Root has read it, but may read folders that this user may not.
        yield error("config", str(reason))
        return
    unreadable = [each for each in files if not os.access(each, os.R_OK)]
    for each in unreadable:
        yield error("config", f"{each}: the installation may not read it", let_read(each))
    if not unreadable:
        names = (f"{each.parent.name}/{each.name}" for each in files[1:])
        yield ok("config", ", ".join((str(path), *names)))


def service_user() -> str | None:
    """Return the user of the installed service if root asks; None: check as the current user."""
    if os.geteuid() != 0 or not is_installed():
        return None
    return SYSTEMD.show_installation().get("User") or None


def _user_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
