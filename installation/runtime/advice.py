"""Commands to advise in messages: those of an installed wall, or of a checkout."""

from __future__ import annotations

import grp
import os
import shlex
from contextlib import suppress
from pathlib import Path

from engines.advice import build_engines, fetch_engines, is_installed

__all__ = ["build_engines", "fetch_engines", "is_installed", "let_read", "turn_on_monitor"]

# Users below are services; people may become root.
_FIRST_PERSON = 1000


def turn_on_monitor() -> str:
    """Return what to do where no monitor is on."""
    command = "sudo systemctl start installation-monitors" if is_installed() else "xrandr --auto"
    return f"plug it in, or turn it on with: {command}"


def let_read(path: Path) -> str:
    """Return what lets this user read a file or folder, without everybody being able to.

    Configs may hold passwords.
    """
    if os.geteuid() >= _FIRST_PERSON:
        return "use sudo"
    real = Path(os.path.realpath(path))
    shut = next((each for each in reversed(real.parents) if not os.access(each, os.X_OK)), real)
    group = str(os.getegid())
    with suppress(KeyError):
        group = grp.getgrgid(os.getegid()).gr_name
    name = shlex.quote(str(shut))
    return f"sudo chgrp {group} {name} && sudo chmod g+rX {name}"
