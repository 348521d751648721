"""Heartbeats: each stage shows that it lives; one that has stopped ends the whole."""

from __future__ import annotations

import time

from installation.errors import InstallationError


class StageHungError(InstallationError):
    """A stage has stopped without having ended."""


class Heartbeat:
    """That of one stage.

    Parameters
    ----------
    name
        Of the stage.
    patience
        Seconds between beats after which it counts as hung.

    Attributes
    ----------
    patience
        May be changed as the work changes.
    """

    def __init__(self, name: str, patience: float) -> None:
        self.name = name
        self.patience = patience
        self._beaten_at = time.monotonic()

    def beat(self, more: float = 0.0) -> None:
        """Show a sign of life, from the stage's own thread; the next may take some seconds more."""
        self._beaten_at = time.monotonic() + more

    @property
    def silent(self) -> float:
        """Seconds since the last beat; for any thread."""
        return time.monotonic() - self._beaten_at

    def check(self) -> None:
        """Raise `StageHungError` where the last beat is too long ago; from any thread."""
        silent = self.silent
        if silent > self.patience:
            raise StageHungError(
                f"{self.name} has not answered for {silent:.0f} s; leaving, to be started again"
            )
