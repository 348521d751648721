"""How systemd sees the wall."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from installation.doctor.finding import Finding, ok, trouble, warning

WALL = "installation.service"
# What the wall is made of, and what should come up with the machine.
_UNITS = (WALL, "installation-display.service", "installation-config.path")
_ENGINES = "installation-engines.service"
_SYSTEMD = Path("/run/systemd/system")
_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result", "NRestarts", "StatusText"),
    *("Environment", "User", "MainPID"),
)
# Seconds that systemd has to answer.
_PATIENCE = 5.0
# Restarts that need no word: the camera or the screen came up late.
_FEW = 3


def shown(*units: str) -> list[dict[str, str]]:
    """Return what systemd tells of units, in their order; nothing where there is no systemd."""
    found = _ask("systemctl", "show", "-p", ",".join(_PROPERTIES), *units)
    if found is None:
        return []
    return [
        dict(line.partition("=")[::2] for line in block.splitlines() if line)
        for block in found.strip().split("\n\n")
    ]


def wall() -> dict[str, str]:
    """Return what systemd tells of the wall; nothing where it is not installed."""
    found = shown(WALL)
    return found[0] if found and found[0].get("LoadState") == "loaded" else {}


def environment(of: dict[str, str]) -> dict[str, str]:
    """Return the variables that a unit sets."""
    return dict(pair.partition("=")[::2] for pair in of.get("Environment", "").split())


def units() -> Iterator[Finding]:
    """Look at the services."""
    about = "services"
    if not _SYSTEMD.is_dir():
        yield warning(about, "there is no systemd here, which starts and watches over the wall")
        return
    found = {each.get("Id", ""): each for each in shown(*_UNITS, _ENGINES)}
    if not found:
        yield warning(
            about, "systemd does not answer", "try again as root: sudo installation check"
        )
        return
    if found.get(WALL, {}).get("LoadState") != "loaded":
        yield warning(
            about, "not installed", "to have the wall start with the machine: sudo systemd/install"
        )
        return
    for unit in (*_UNITS, _ENGINES):
        yield from _unit(unit, found.get(unit, {}))


def _unit(unit: str, found: dict[str, str]) -> Iterator[Finding]:
    about, state = (
        unit.partition(".")[0].replace("installation", "wall", 1),
        found.get("ActiveState"),
    )
    log = f"see journalctl -u {unit.removesuffix('.service')}"
    if found.get("LoadState") != "loaded":
        yield trouble(about, f"{unit} is missing", "install again: sudo systemd/install")
    elif state == "failed":
        yield trouble(about, f"{unit} failed ({found.get('Result', 'unknown')})", log)
    elif state == "activating":
        yield warning(about, f"{unit} is starting, or again and again", log)
    elif found.get("UnitFileState") == "disabled":
        remedy = f"sudo systemctl enable --now {unit}"
        yield warning(about, f"{unit} does not start with the machine", remedy)
    elif state != "active" and unit != _ENGINES:
        yield warning(about, f"{unit} is not running", f"sudo systemctl start {unit}")
    elif unit == WALL:
        yield from _restarts(about, found, log)
    else:
        yield ok(about, f"{unit} {'has run' if unit == _ENGINES else 'is active'}")


def _restarts(about: str, found: dict[str, str], log: str) -> Iterator[Finding]:
    status = found.get("StatusText") or "running"
    hung = _hangs()
    restarts = int(found.get("NRestarts") or 0)
    if hung:
        times = "once" if hung == 1 else f"{hung} times"
        yield warning(about, f"{status}; hung {times} since the machine started", log)
    elif restarts > _FEW:
        yield warning(about, f"{status}; restarted {restarts} times", log)
    else:
        yield ok(about, status)


def _hangs() -> int:
    """Count how often the watchdog had to act since the machine started, as far as one may know."""
    lines = _ask("journalctl", "-q", "-b", "-o", "cat", "-u", WALL, "--no-pager") or ""
    return len(re.findall(r"Watchdog timeout", lines))


def _ask(command: str, *arguments: str) -> str | None:
    """Run a command; None where it is not there, fails, or takes too long."""
    path = shutil.which(command)
    if path is None:
        return None
    try:
        ran = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return ran.stdout
