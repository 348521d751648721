"""Whether the installation is open now."""

from __future__ import annotations

from datetime import datetime

from installation.supervision.hours import Schedule


class OpeningState:
    """Whether the installation is open, and when it opens next.

    Parameters
    ----------
    schedule
        Opening hours; may be replaced at any time.

    Attributes
    ----------
    open
        State at the last update; True before the first.
    opens_at
        While closed, when the installation opens; None if never.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.open = True
        self.opens_at: datetime | None = None

    def update(self, at: datetime) -> bool:
        """Update the state and return whether it has changed.

        Parameters
        ----------
        at
            Current time, time-zone-aware; the clock may have been set forward or back.
        """
        before, self.open = self.open, self.schedule.is_open(at)
        self.opens_at = None if self.open else self.schedule.next_change(at)
        return self.open != before

    def __str__(self) -> str:
        if self.open:
            return "open"
        return f"closed until {self.opens_at:%a %-d %b %Y, %H:%M}" if self.opens_at else "closed"
