"""How systemd sees the wall."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from installation.checks.finding import Finding, ok, trouble, warning

WALL = "installation.service"
# What the wall is made of, and what should come up with the machine.
_UNITS = (WALL, "installation-display.service", "installation-config.path")
_ENGINES = "installation-engines.service"
_SYSTEMD = Path("/run/systemd/system")
_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result", "NRestarts", "StatusText"),
    *("Environment", "User", "MainPID", "ExecMainStartTimestampMonotonic"),
)
# Begins the status of a wall that does not work; see `installation.web.status.health`.
DOES_NOT_WORK = "does not work"
# What one says that does, or that says nothing.
_WORKS = re.compile(r"^closed|pictures a second|^running$")
# Seconds that systemd has to answer.
_PATIENCE = 5.0
# Restarts that need no word: the camera or the screen came up late.
_FEW = 3


def shown(*units: str) -> list[dict[str, str]]:
    """Return what systemd tells of units, in their order; nothing where there is no systemd."""
    found = ask("systemctl", "show", "-p", ",".join(_PROPERTIES), *units)
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
    yield from _killed()


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
    elif unit == _ENGINES and state in ("activating", "inactive"):
        yield ok(about, f"{unit} {_engines(found)}")
    elif state == "activating":
        yield warning(about, f"{unit} is starting, or again and again", log)
    elif found.get("UnitFileState") == "disabled":
        remedy = f"sudo systemctl enable --now {unit}"
        yield warning(about, f"{unit} does not start with the machine", remedy)
    elif state != "active":
        yield warning(about, f"{unit} is not running", f"sudo systemctl start {unit}")
    elif unit == WALL:
        yield from _restarts(about, found, log)
    else:
        yield ok(about, f"{unit} is active")


def _engines(found: dict[str, str]) -> str:
    if found.get("ActiveState") == "activating":
        return "is building"
    if found.get("ExecMainStartTimestampMonotonic", "0") == "0":
        return "has not run since the machine started: it is started by hand"
    return "has run"


def _restarts(about: str, found: dict[str, str], log: str) -> Iterator[Finding]:
    status = found.get("StatusText") or "running"
    if status.startswith(DOES_NOT_WORK):
        yield trouble(about, status, log)
        return
    if not _WORKS.search(status):
        yield warning(about, status, "wait, and ask again")
        return
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
    lines = ask("journalctl", "-q", "-b", "-o", "cat", "-u", WALL, "--no-pager") or ""
    return len(re.findall(r"Watchdog timeout", lines))


def _killed() -> Iterator[Finding]:
    """Look for processes that were killed for want of memory, as far as one may know."""
    lines = ask("journalctl", "-q", "-b", "-o", "cat", "-u", "installation*", "--no-pager") or ""
    units = re.findall(r"^(installation\S*): Failed with result 'oom-kill'", lines, re.MULTILINE)
    for unit in sorted(set(units)):
        times = "once" if units.count(unit) == 1 else f"{units.count(unit)} times"
        yield warning(
            "memory",
            f"{unit} was killed {times} since the machine started: the memory ran out",
            "see what took it: sudo journalctl -b -k | grep -i 'killed process'",
        )


def ask(command: str, *arguments: str) -> str | None:
    """Return what a command says; None where it is not there, fails, or takes too long."""
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
