"""From what is on the wall to the record."""

from __future__ import annotations

import time
from pathlib import Path

from installation.record.keeper import Keeper
from installation.record.tally import Tally
from installation.scene import Scene


class Recorder:
    """Records which words settle; used from one thread.

    Parameters
    ----------
    path
        The record.
    policy, engine
        Names of what chooses the words; see `Entry`.
    keep_days
        For how long; see `Keeper`.

    Attributes
    ----------
    trouble
        Why nothing is recorded just now, in a line; None while all is well. For any thread.
    """

    def __init__(self, path: Path, policy: str, engine: str, keep_days: int | None = None) -> None:
        self._keeper = Keeper(path, keep_days)
        self._engine = engine
        self._tally = Tally(policy, engine)

    @property
    def trouble(self) -> str | None:  # noqa: D102  # see above
        return self._keeper.trouble

    def saw(self, scene: Scene) -> None:
        """Take note of a scene; never waits."""
        entries = self._tally.add(scene, time.time())
        if entries:
            self._keeper.keep(entries)

    def use(self, policy: str) -> None:
        """Go on under another policy."""
        self._keeper.keep(self._tally.flush())
        self._tally = Tally(policy, self._engine)

    def close(self) -> None:
        """Record what is on the wall still; takes a second at the most."""
        self._keeper.keep(self._tally.flush())
        self._keeper.close()
