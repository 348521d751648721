"""Whether the wall is open, by its hours and the clock in the room."""

from __future__ import annotations

from datetime import datetime

from installation.supervision.hours import Hours


class OpeningState:
    """Open, or closed.

    Parameters
    ----------
    hours
        When they are to be open; may be replaced while they are in use.

    Attributes
    ----------
    open
        As of the last look; open before the first.
    opens
        When they open, while they are closed; None if never.
    """

    def __init__(self, hours: Hours) -> None:
        self.hours = hours
        self.open = True
        self.opens: datetime | None = None

    def look(self, at: datetime) -> bool:
        """Tell whether they have opened or closed since the last look.

        Parameters
        ----------
        at
            What the clock shows, aware; it may have been set since, to either side.
        """
        before, self.open = self.open, self.hours.is_open(at)
        self.opens = None if self.open else self.hours.next_change(at)
        return self.open != before

    def __str__(self) -> str:
        if self.open:
            return "open"
        return f"closed until {self.opens:%a %-d %b %Y, %H:%M}" if self.opens else "closed"
