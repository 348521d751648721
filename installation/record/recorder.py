"""Record the words that settle on the screen."""

from __future__ import annotations

import time
from pathlib import Path

from installation.config.model import Config
from installation.record.scene_counter import SceneCounter
from installation.record.writer import RecordWriter, WriterTiming
from installation.scene import Scene


def _grouping_key(config: Config) -> tuple[object, ...]:
    """Return the settings that entries counted together have in common."""
    return config.labels, config.camera.source, config.inference.classifier


class Recorder:
    """Records which words settle; used from one thread.

    Visitors of the demonstration are not recorded: they are simulated.

    Parameters
    ----------
    path
        The record; created for the first visitor.
    config
        Selects the policy and the classifier that entries name, and how long they are kept.
    timing
        See `WriterTiming`.

    Attributes
    ----------
    error
        One line on why nothing is recorded at the moment; None if there is no error. May be read
        from any thread.
    """

    def __init__(self, path: Path, config: Config, timing: WriterTiming | None = None) -> None:
        self._path = path
        self._config = config
        self._timing = timing
        self._writer: RecordWriter | None = None
        self._counter = self._new_counter()

    def _new_counter(self) -> SceneCounter:
        return SceneCounter(self._config.labels.policy, self._config.inference.classifier)

    @property
    def error(self) -> str | None:  # noqa: D102  # in the class docstring
        return self._writer.error if self._writer is not None else None

    def record_scene(self, scene: Scene) -> None:
        """Count a scene; never blocks."""
        if self._config.camera.source != "demo":
            if self._writer is None:
                self._writer = RecordWriter(self._path, self._config.record.keep_days, self._timing)
            if entries := self._counter.add(scene, time.time()):
                self._writer.submit(entries)

    def apply_config(self, config: Config) -> None:
        """Use another config from now on."""
        before, self._config = self._config, config
        if _grouping_key(config) != _grouping_key(before):
            # Words from now on have another camera, policy or classifier.
            if self._writer is not None:
                self._writer.submit(self._counter.flush())
            self._counter = self._new_counter()

    def close(self) -> None:
        """Record the words still on the screen; takes a second at most."""
        if self._writer is not None:
            self._writer.submit(self._counter.flush())
            self._writer.close()
