"""The services, as systemd reports them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from installation.checks.finding import Finding, error, ok, warning

INSTALLATION = "installation.service"
# Units that should start with the machine.
_UNITS = (INSTALLATION, "installation-display.service", "installation-config.path")
_ENGINES = "installation-engines.service"
_PROPERTIES = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result", "NRestarts", "StatusText"),
    *("Environment", "User", "MainPID", "ExecMainStartTimestampMonotonic"),
)
# First words of the status text while the installation fails; see `installation.web.status.health`.
DOES_NOT_WORK = "does not work"
# Status texts while it works.
_WORKING = re.compile(r"^closed|frames per second|^running$")
# Restarts that are normal: the camera or the screen came up late.
_MAX_RESTARTS = 3


def command_output(timeout_s: float, command: str, *arguments: str) -> str | None:
    """Return what a command prints; None if it is not installed, fails or takes too long."""
    path = shutil.which(command)
    if path is None:
        return None
    try:
        ran = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return ran.stdout


@dataclass(frozen=True, slots=True)
class Systemd:
    """Queries systemd and its journal.

    Attributes
    ----------
    runtime_folder
        Exists if systemd is running.
    timeout_s
        For each answer.
    """

    runtime_folder: Path = Path("/run/systemd/system")
    timeout_s: float = 5.0

    def show(self, *units: str) -> list[dict[str, str]]:
        """Return the properties of units, in their order; empty if systemd does not answer."""
        text = self._output("systemctl", "show", "-p", ",".join(_PROPERTIES), *units)
        if text is None:
            return []
        return [
            dict(line.partition("=")[::2] for line in block.splitlines() if line)
            for block in text.strip().split("\n\n")
        ]

    def show_installation(self) -> dict[str, str]:
        """Return the properties of the main unit; empty if it is not installed."""
        shown = self.show(INSTALLATION)
        return shown[0] if shown and shown[0].get("LoadState") == "loaded" else {}

    def journal(self, unit: str) -> str:
        """Return a unit's messages since the machine started, as far as this user may read them."""
        return self._output("journalctl", "-q", "-b", "-o", "cat", "-u", unit, "--no-pager") or ""

    def _output(self, command: str, *arguments: str) -> str | None:
        return command_output(self.timeout_s, command, *arguments)


SYSTEMD = Systemd()


def environment(unit: dict[str, str]) -> dict[str, str]:
    """Return the environment variables among a unit's properties."""
    return dict(pair.partition("=")[::2] for pair in unit.get("Environment", "").split())


def check_services(systemd: Systemd = SYSTEMD) -> Iterator[Finding]:
    """Check the installation's units.

    Parameters
    ----------
    systemd
        Is asked about them.
    """
    name = "services"
    if not systemd.runtime_folder.is_dir():
        yield warning(name, "there is no systemd to start and supervise the installation")
        return
    shown = {each.get("Id", ""): each for each in systemd.show(*_UNITS, _ENGINES)}
    if not shown:
        yield warning(name, "systemd does not answer", "try as root: sudo installation check")
    elif shown.get(INSTALLATION, {}).get("LoadState") != "loaded":
        remedy = "to start the installation with the machine: sudo systemd/install"
        yield warning(name, "not installed", remedy)
    else:
        for unit in (*_UNITS, _ENGINES):
            yield from _check_unit(unit, shown.get(unit, {}), systemd)
        yield from _check_memory(systemd)


def _check_unit(unit: str, shown: dict[str, str], systemd: Systemd) -> Iterator[Finding]:
    name = unit.partition(".")[0].replace("installation", "wall", 1)
    state = shown.get("ActiveState")
    log = f"see journalctl -u {unit.removesuffix('.service')}"
    if shown.get("LoadState") != "loaded":
        yield error(name, f"{unit} is missing", "install again: sudo systemd/install")
    elif state == "failed":
        yield error(name, f"{unit} failed ({shown.get('Result', 'unknown')})", log)
    elif unit == _ENGINES and state in ("activating", "inactive"):
        yield ok(name, f"{unit} {_engines_state(shown)}")
    elif state == "activating":
        yield warning(name, f"{unit} is starting; it may be restarting again and again", log)
    elif shown.get("UnitFileState") == "disabled":
        remedy = f"sudo systemctl enable --now {unit}"
        yield warning(name, f"{unit} does not start with the machine", remedy)
    elif state != "active":
        yield warning(name, f"{unit} is not running", f"sudo systemctl start {unit}")
    elif unit == INSTALLATION:
        yield _check_status(name, shown, log, systemd)
    else:
        yield ok(name, f"{unit} is active")


def _engines_state(shown: dict[str, str]) -> str:
    if shown.get("ActiveState") == "activating":
        return "is building"
    if shown.get("ExecMainStartTimestampMonotonic", "0") == "0":
        return "has not run since the machine started; it is started manually"
    return "has run"


def _check_status(name: str, shown: dict[str, str], log: str, systemd: Systemd) -> Finding:
    status = shown.get("StatusText") or "running"
    if status.startswith(DOES_NOT_WORK):
        return error(name, status, log)
    if not _WORKING.search(status):
        return warning(name, status, "wait, then check again")
    if hangs := systemd.journal(INSTALLATION).count("Watchdog timeout"):
        return warning(name, f"{status}; hung {_times(hangs)} since the machine started", log)
    restarts = int(shown.get("NRestarts") or 0)
    if restarts > _MAX_RESTARTS:
        return warning(name, f"{status}; restarted {restarts} times", log)
    return ok(name, status)


def _check_memory(systemd: Systemd) -> Iterator[Finding]:
    journal = systemd.journal("installation*")
    units = re.findall(r"^(installation\S*): Failed with result 'oom-kill'", journal, re.MULTILINE)
    for unit in sorted(set(units)):
        times = _times(units.count(unit))
        yield warning(
            "memory",
            f"{unit} was killed {times} since the machine started: out of memory",
            "see what used it up: sudo journalctl -b -k | grep -i 'killed process'",
        )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
