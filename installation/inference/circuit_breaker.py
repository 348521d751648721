"""A circuit breaker for the GPU: after three failed runs within an hour it is no longer used.

A GPU driver can fail in ways that end the process without an exception. So every run is recorded in
a file when it begins and removed when it ends normally; a recorded run whose process no longer
exists has failed. Rebooting resets the breaker, because a reboot is what repairs a driver.
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

from installation.runtime.files import as_owner, write_atomic

log = logging.getLogger(__name__)

MAX_FAILURES = 3
WINDOW_S = 3600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class CircuitBreaker:
    """Counts failed GPU runs of one machine, across processes.

    Parameters
    ----------
    path
        File that holds the runs. If it cannot be written, the breaker never opens.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._process = {"pid": os.getpid(), "started": _start_time(os.getpid())}

    def open_reason(self) -> str:
        """Return why the GPU is not used for now; empty if the breaker is closed."""
        failures = [run for run in self._runs() if not _is_running(run)]
        if len(failures) < MAX_FAILURES:
            return ""
        last = failures[-1]
        minutes = (failures[-MAX_FAILURES]["at"] + WINDOW_S - _now()) / 60
        return (
            f"the GPU failed {len(failures)} times within the last hour, most recently: "
            f"{last['reason']}; restart in {max(minutes, 1):.0f} min or later, or reboot, "
            "to use it again"
        )

    def begin(self) -> None:
        """Record that this process has started to use the GPU."""
        run = self._run("process ended unexpectedly")
        self._rewrite(lambda others: [*others, run])

    def end(self) -> None:
        """Remove this process's run: it ended normally."""
        self._rewrite(lambda others: others)

    def fail(self, reason: str) -> None:
        """Record that this process's run failed, and why."""
        run = self._run(reason) | {"failed": True}
        self._rewrite(lambda others: [*others, run])

    def _run(self, reason: str) -> dict[str, Any]:
        return self._process | {"boot": _boot_id(), "at": _now(), "reason": reason}

    def _others(self) -> list[dict[str, Any]]:
        return [
            run
            for run in self._runs()
            if run.get("failed") or not _same_process(run, self._process)
        ]

    def _runs(self) -> list[dict[str, Any]]:
        """Return the runs of the last hour, as far as they are later than the last boot."""
        try:
            runs = json.loads(self._path.read_text(encoding="utf-8"))
            boot, now = _boot_id(), _now()
            return [
                run
                for run in runs
                if {"pid", "started", "reason"} <= run.keys()
                and run["boot"] == boot
                and 0 <= now - run["at"] < WINDOW_S
            ]
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return []

    def _rewrite(self, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
        """Replace the file, under a lock, by what `change` makes of the other processes' runs."""
        try:
            with as_owner(self._path.parent):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.with_suffix(".lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    write_atomic(self._path, json.dumps(change(self._others())).encode())
        except OSError as error:
            log.warning("%s: GPU failures cannot be recorded (%s)", self._path, error.strerror)


def _now() -> float:
    """Return the seconds since boot, including time asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot_id() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()


def _start_time(pid: int) -> str:
    """Return a process's start time in clock ticks since boot (proc(5)); empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _same_process(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one["pid"], one["started"]) == (other["pid"], other["started"])


def _is_running(run: dict[str, Any]) -> bool:
    return not run.get("failed") and _start_time(run["pid"]) == run["started"]
