"""From what is on the wall to the record."""

from __future__ import annotations

import time
from pathlib import Path

from installation.config.model import Config
from installation.record.scene_counter import SceneCounter
from installation.record.writer import RecordWriter
from installation.scene import Scene


def _spoken_of(config: Config) -> tuple[object, ...]:
    """Return what the entries that belong together have in common."""
    return config.labels, config.camera.source, config.inference.classifier


class Recorder:
    """Records which words settle; used from one thread.

    Made-up visitors, those of the demonstration, would be made-up figures: they are left out.

    Parameters
    ----------
    path
        The record; begun with the first visitor.
    config
        What chooses the words, and for how long they are kept.

    Attributes
    ----------
    trouble
        Why nothing is recorded just now, in a line; None while all is well. For any thread.
    """

    def __init__(self, path: Path, config: Config) -> None:
        self._path = path
        self._config = config
        self._keeper: RecordWriter | None = None
        self._tally = self._begin()

    def _begin(self) -> SceneCounter:
        return SceneCounter(self._config.labels.policy, self._config.inference.classifier)

    @property
    def trouble(self) -> str | None:  # noqa: D102  # see above
        return self._keeper.trouble if self._keeper is not None else None

    def saw(self, scene: Scene) -> None:
        """Take note of a scene; never waits."""
        if self._config.camera.source != "demo":
            if self._keeper is None:
                self._keeper = RecordWriter(self._path, self._config.record.keep_days)
            if entries := self._tally.add(scene, time.time()):
                self._keeper.keep(entries)

    def use(self, config: Config) -> None:
        """Go on by another config."""
        before, self._config = self._config, config
        if _spoken_of(config) != _spoken_of(before):
            # What is said next is said to somebody else, or by another policy.
            if self._keeper is not None:
                self._keeper.keep(self._tally.flush())
            self._tally = self._begin()

    def close(self) -> None:
        """Record what is on the wall still; takes a second at the most."""
        if self._keeper is not None:
            self._keeper.keep(self._tally.flush())
            self._keeper.close()
