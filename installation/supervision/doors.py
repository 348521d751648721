"""Whether the wall is open, by its hours and the clock in the room."""

from __future__ import annotations

from datetime import datetime, timezone

from installation.supervision.hours import Hours


class Doors:
    """Open, or closed.

    Parameters
    ----------
    hours
        When they are to be open; may be replaced while they are in use.

    Attributes
    ----------
    open
        As of the last look; open before the first.
    """

    def __init__(self, hours: Hours) -> None:
        self.hours = hours
        self.open = True
        self._looked_at = datetime.now(timezone.utc)

    def look(self) -> bool:
        """Look at the clock; tell whether they have opened or closed since the last look."""
        # The clock may have been set since, to either side: only what it shows now counts.
        self._looked_at = datetime.now(timezone.utc)
        before, self.open = self.open, self.hours.is_open(self._looked_at)
        return self.open != before

    def __str__(self) -> str:
        if self.open:
            return "open"
        opens = self.hours.next_change(self._looked_at)
        return f"closed until {opens:%a %-d %b %Y, %H:%M}" if opens else "closed"
