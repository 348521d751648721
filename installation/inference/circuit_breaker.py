"""Whether to trust the GPU: three runs that went wrong within an hour, and it is left alone.

A driver can fail in ways that leave nobody to tell of it. So each run is written down when it
begins and crossed out when it ends in order; what is left and no longer running went wrong. A
restart of the machine, which is what mends a driver, begins a new page.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from installation.runtime.files import as_owner, write_whole

log = logging.getLogger(__name__)

FAILURES = 3
# Seconds.
WINDOW = 3600.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class CircuitBreaker:
    """The page for one machine.

    Parameters
    ----------
    path
        Where it is kept. If it cannot be written, every run is trusted.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._me = {"pid": os.getpid(), "started": _started(os.getpid())}

    def open_reason(self) -> str:
        """Say why the GPU is left alone for now; empty if it is trusted."""
        failures = [run for run in self._runs() if not _running(run)]
        if len(failures) < FAILURES:
            return ""
        last = failures[-1]
        minutes = (failures[-FAILURES]["at"] + WINDOW - _now()) / 60
        return (
            f"the GPU failed {len(failures)} times within the hour, the last time: {last['why']}; "
            f"it is tried again in {max(minutes, 1):.0f} min or after a restart of the machine"
        )

    def begin(self) -> None:
        """Write down that this process uses the GPU from now on."""
        run = self._me | {"boot": _boot(), "at": _now(), "why": "it ended without a word"}
        self._change(lambda others: [*others, run])

    def end(self) -> None:
        """Cross it out: all went well."""
        self._change(lambda others: others)

    def fail(self, why: str) -> None:
        """Leave it, with a reason."""
        run = self._me | {"boot": _boot(), "at": _now(), "why": why, "over": True}
        self._change(lambda others: [*others, run])

    def _others(self) -> list[dict[str, Any]]:
        return [run for run in self._runs() if run.get("over") or not _same(run, self._me)]

    def _runs(self) -> list[dict[str, Any]]:
        """Return the runs that count: of the last hour, since the machine was started."""
        try:
            runs = json.loads(self._path.read_text(encoding="utf-8"))
            boot, now = _boot(), _now()
            return [
                run
                for run in runs
                if {"pid", "started", "why"} <= run.keys()
                and run["boot"] == boot
                and 0 <= now - run["at"] < WINDOW
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return []

    def _change(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Rewrite the page, given the runs of others; nobody else does at the same time."""
        try:
            with as_owner(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.with_suffix(".lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    write_whole(self._path, json.dumps(change(self._others())).encode())
        except OSError as error:
            log.warning("%s: GPU failures are not counted (%s)", self._path, error.strerror)


def _now() -> float:
    """Seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()


def _started(pid: int) -> str:
    """Return when a process was started, as the kernel counts; empty if there is none (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["pid"], one["started"]) == (other["pid"], other["started"])


def _running(run: dict[str, Any]) -> bool:
    return not run.get("over") and _started(run["pid"]) == run["started"]
