"""Functions that are called every so often from a program's main loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Task:
    name: str
    period_s: float
    run: Callable[[float], None]
    last_run_at: float | None = None


class PeriodicTasks:
    """A table of functions and how often each is called.

    Examples
    --------
    >>> tasks = PeriodicTasks()
    >>> tasks.add("status", 2.0, lambda elapsed_s: print(f"after {elapsed_s:.0f} s"))
    >>> tasks.run_due()
    after 0 s
    >>> tasks.run_due()
    """

    def __init__(self) -> None:
        self._tasks: list[_Task] = []

    def add(self, name: str, period_s: float, run: Callable[[float], None]) -> None:
        """Add a function.

        Parameters
        ----------
        name
            For whoever reads the table in a debugger.
        period_s
            Seconds between two calls. The first call is at once.
        run
            Called with the seconds since its last call, 0 the first time.
        """
        self._tasks.append(_Task(name, period_s, run))

    def run_due(self) -> None:
        """Call what is due, in the order in which it was added."""
        for task in self._tasks:
            now = time.monotonic()
            elapsed_s = 0.0 if task.last_run_at is None else now - task.last_run_at
            if task.last_run_at is None or elapsed_s >= task.period_s:
                task.last_run_at = now
                task.run(elapsed_s)
