"""Decides whether the wall works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from installation.runtime.advice import turn_on_monitor
from installation.web.status.snapshot import StatusSnapshot

# A wall that has published nothing, or has shown no camera frame, for this long has a fault.
_SNAPSHOT_TIMEOUT_S = 5.0
_PICTURE_TIMEOUT_S = 5.0
# A late heartbeat is reported before the process is ended: at this share of the worker's timeout.
_HEARTBEAT_WARNING_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the wall in a few words.

    Attributes
    ----------
    faults
        Why it does not work, one line each, the most telling first; empty while it works.
    warnings
        What a technician should look into although it works.
    summary
        The state in a word or a few.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    summary: str

    def as_text(self) -> str:
        """Return the body of ``/healthz``."""
        faults = [f"fault: {each}" for each in self.faults]
        warnings = [f"warning: {each}" for each in self.warnings]
        return "".join(f"{line}\n" for line in (self.summary, *faults, *warnings))


def evaluate(snapshot: StatusSnapshot | None, now: float) -> Health:
    """Evaluate the latest snapshot, None if there is none yet, at a monotonic time.

    A wall that is closed by its hours works; one without a camera picture does not, whatever the
    reason.
    """
    if snapshot is None:
        return Health(("the wall has not reported its status yet",), (), "starting")
    faults = []
    if (age := now - snapshot.at) > _SNAPSHOT_TIMEOUT_S:
        faults.append(f"the wall has not reported its status for {age:.0f} s")
    faults += [
        f"{worker.name} has not responded for {worker.heartbeat_age_s:.0f} s"
        for worker in snapshot.workers
        if worker.heartbeat_age_s > _HEARTBEAT_WARNING_SHARE * worker.timeout_s
    ]
    if snapshot.open:
        faults += _display_faults(snapshot, now)
    warnings = tuple(_warnings(snapshot))
    preparing = snapshot.preparing is not None and snapshot.engine_error is None
    if faults and snapshot.open and preparing:
        return Health(tuple(faults), warnings, "preparing")
    if faults:
        return Health(tuple(faults), warnings, "does not work")
    return Health((), warnings, "works" if snapshot.open else snapshot.hours_text)


def _display_faults(snapshot: StatusSnapshot, now: float) -> list[str]:
    """Return why the screen does not show what it should."""
    faults = []
    if snapshot.monitors_off:
        faults.append(f"no monitor is on; {turn_on_monitor()}")
    if snapshot.camera_error is not None:
        faults.append(snapshot.camera_error)
    if snapshot.engine_error is not None:
        faults.append(snapshot.engine_error)
    elif snapshot.preparing is not None:
        faults.append(snapshot.preparing)
    elif not snapshot.picture_visible and (gap := now - snapshot.shown_at) > _PICTURE_TIMEOUT_S:
        faults.append(f"no camera frame on the screen for {gap:.0f} s")
    elif snapshot.screen_stuck:
        faults.append("the screen is frozen although the camera's frames change; restart it")
    return faults


def _warnings(snapshot: StatusSnapshot) -> Iterator[str]:
    if snapshot.fallback:
        yield f"inference has fallen back to the {snapshot.device}; the log says why"
    if snapshot.recording_error is not None:
        yield snapshot.recording_error
