"""Heartbeats: each worker shows that it is alive; one that hangs ends the process."""

from __future__ import annotations

import time

from installation.errors import InstallationError


class WorkerHungError(InstallationError):
    """A worker has not beaten for longer than its timeout."""


class Heartbeat:
    """The heartbeat of one worker.

    Parameters
    ----------
    name
        Name of the worker, as shown in the log and on the status page.
    timeout_s
        Seconds between two beats after which the worker counts as hung.

    Attributes
    ----------
    timeout_s
        May be changed while the worker runs.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._last_beat_at = time.monotonic()

    def beat(self, grace_s: float = 0.0) -> None:
        """Show a sign of life.

        Parameters
        ----------
        grace_s
            Seconds that the next beat may take on top of the timeout.
        """
        self._last_beat_at = time.monotonic() + grace_s

    @property
    def age_s(self) -> float:
        """Seconds since the last beat. Safe to read from any thread."""
        return time.monotonic() - self._last_beat_at

    def check(self) -> None:
        """Raise `WorkerHungError` if the last beat is too old. Safe to call from any thread."""
        age_s = self.age_s
        if age_s > self.timeout_s:
            raise WorkerHungError(
                f"{self.name} has not responded for {age_s:.0f} s; exiting; systemd will restart it"
            )
