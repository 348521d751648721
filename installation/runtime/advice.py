"""Commands that messages recommend, for an installed system or a checkout."""

from __future__ import annotations

import grp
import os
import shlex
from contextlib import suppress
from pathlib import Path

from engines.advice import build_engines, fetch_engines, is_installed

__all__ = ["build_engines", "fetch_engines", "is_installed", "let_read", "turn_on_monitor"]

# User ids below are services; people can use sudo.
_MIN_LOGIN_UID = 1000


def turn_on_monitor() -> str:
    """Return what to do if no monitor is active."""
    command = "sudo systemctl start installation-monitors" if is_installed() else "xrandr --auto"
    return f"plug it in, or turn it on with: {command}"


def let_read(path: Path) -> str:
    """Return the command that lets this user read a file or folder, but not everybody.

    Configs may contain passwords.
    """
    if os.geteuid() >= _MIN_LOGIN_UID:
        return "use sudo"
    resolved = Path(os.path.realpath(path))
    blocking = next(
        (each for each in reversed(resolved.parents) if not os.access(each, os.X_OK)), resolved
    )
    group = str(os.getegid())
    with suppress(KeyError):
        group = grp.getgrgid(os.getegid()).gr_name
    name = shlex.quote(str(blocking))
    return f"sudo chgrp {group} {name} && sudo chmod g+rX {name}"
