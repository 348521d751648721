"""Whether the wall works."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from installation.runtime.advice import turn_on_monitor
from installation.web.status.snapshot import StatusSnapshot

# Seconds without a report, and without a picture, after which something is wrong.
_REPORT = 5.0
_PICTURE = 5.0
# A stage is ill before it is given up: after this part of the patience there is with it.
_ILL = 0.5


@dataclass(frozen=True, slots=True)
class Health:
    """What is to be said about the wall.

    Attributes
    ----------
    faults
        Why it does not work, a line each, the most telling first; none while it does.
    warnings
        What a technician should see to although it does.
    words
        How it is, in a word or a few.
    """

    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    words: str

    def as_text(self) -> str:
        """Return it as ``/healthz`` says it."""
        faults = [f"fault: {each}" for each in self.faults]
        warnings = [f"warning: {each}" for each in self.warnings]
        return "".join(f"{line}\n" for line in (self.words, *faults, *warnings))


def evaluate(report: StatusSnapshot | None, now: float) -> Health:
    """Judge the newest report; None where there is none yet.

    Closed by its hours the wall works; without a picture to show it does not, whatever the reason.
    """
    if report is None:
        return Health(("the wall has not told anything yet",), (), "starting")
    faults = []
    if (silent := now - report.at) > _REPORT:
        faults.append(f"the wall has not answered for {silent:.0f} s")
    faults += [
        f"{pulse.name} has not answered for {pulse.silent:.0f} s"
        for pulse in report.pulses
        if pulse.silent > _ILL * pulse.patience
    ]
    if report.open:
        faults += _shown(report, now)
    warnings = tuple(_warned(report))
    if faults and report.open and report.preparing is not None and report.engines is None:
        return Health(tuple(faults), warnings, "preparing")
    return Health(tuple(faults), warnings, "does not work" if faults else _well(report))


def _shown(report: StatusSnapshot, now: float) -> list[str]:
    """Tell why what is on the wall is not what should be."""
    faults = []
    if report.dark:
        faults.append(f"no monitor is on; {turn_on_monitor()}")
    if report.trouble is not None:
        faults.append(report.trouble)
    if report.engines is not None:
        faults.append(report.engines)
    elif report.preparing is not None:
        faults.append(report.preparing)
    elif report.waiting and (without := now - report.shown_at) > _PICTURE:
        faults.append(f"no picture on the wall for {without:.0f} s")
    elif report.stuck:
        faults.append("the screen stays the same while what the camera sees changes; restart it")
    return faults


def _warned(report: StatusSnapshot) -> Iterator[str]:
    if report.fallback:
        yield f"inference on the {report.device} for now, not as asked for; the log says why"
    if report.pause is not None:
        yield report.pause


def _well(report: StatusSnapshot) -> str:
    return "works" if report.open else report.doors
