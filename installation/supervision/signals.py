"""Signals as requests: they are noted when they come, and answered when there is time."""

from __future__ import annotations

import signal
from types import FrameType


class Signals:
    """SIGTERM and SIGINT ask for an orderly end, SIGHUP to read the config again.

    To be made, and let go, on the main thread.

    Attributes
    ----------
    end, reload
        Whether that has been asked for; whoever answers a reload sets it back.
    """

    def __init__(self) -> None:
        self.end = False
        self.reload = False
        self._before = {
            number: signal.signal(number, self._receive)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }

    def _receive(self, number: int, _stack: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.end = True

    def restore(self) -> None:
        """Have signals do again what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
