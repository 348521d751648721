"""Where pictures are looked at: each reader on a thread of its own, which owns its engines."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import numpy as np
from numpy.typing import NDArray

from installation.config.model import Config
from installation.errors import InstallationError
from installation.inference.engine import OverloadedError
from installation.inference.open_engines import CancelledError
from installation.runtime.heartbeat import Heartbeat
from installation.vision.still_classifier import ImageClassifier, ImageResult, open_image_classifier
from installation.vision.worker import Worker

log = logging.getLogger(__name__)

# Words given for a face: the one that is drawn, and its rivals.
_TOP = 5
# Seconds after which a thread that waits shows that it lives.
BEAT = 1.0
# Seconds without a sign of life after which one counts as hung: opening the engines, looking at a
# picture of crowds on a small machine.
_OPENING = 300.0
PATIENCE = 60.0


def readers_for(config: Config) -> int:
    """Return how many pictures are worth looking at at a time.

    A processor or a card is busy with one. A server is not, and makes batches of what comes at a
    time.
    """
    return config.web.jobs if config.inference.server else 1


@dataclass(slots=True, eq=False)
class _Task:
    """A picture that waits to be looked at, and what was found under which config."""

    picture: NDArray[np.uint8]
    found: Future[tuple[ImageResult, Config]] = field(default_factory=Future)


class InferencePool:
    """Looks at pictures, at several at a time where there are several readers.

    Parameters
    ----------
    config
        How.
    readers
        How many; each takes the memory of its engines.

    Attributes
    ----------
    stages
        The threads.
    """

    def __init__(self, config: Config, readers: int) -> None:
        self._config = config
        self._closing = False
        self._open: dict[str, ImageClassifier] = {}
        # None only wakes whoever waits for an order.
        self._orders: SimpleQueue[_Task | None] = SimpleQueue()
        hearts = [Heartbeat(f"reader {number + 1}", _OPENING) for number in range(readers)]
        self.stages = [Worker(heart, partial(self._run, heart)) for heart in hearts]

    @property
    def open(self) -> bool:
        """Whether all engines are."""
        return len(self._open) == len(self.stages)

    @property
    def fallback(self) -> bool:
        """Whether this machine stands in for a server that is gone."""
        return any(reader.fallback for reader in list(self._open.values()))

    def use(self, config: Config) -> None:
        """Go on by another config: the pictures that are not looked at yet are the first."""
        self._config = config
        for _ in self.stages:
            self._orders.put(None)

    def look(self, picture: NDArray[np.uint8]) -> Future[tuple[ImageResult, Config]]:
        """Have a picture looked at, uint8 (height, width, 3), BGR.

        Returns
        -------
        Future
            What was found and by which config, or what went wrong; `OverloadedError` is nobody's
            fault. To be cancelled when nobody waits for it any more.
        """
        order = _Task(picture)
        self._orders.put(order)
        return order.found

    def close(self, deadline: float) -> None:
        """End all threads, by some monotonic time."""
        self._closing = True
        for _ in self.stages:
            self._orders.put(None)
        for stage in self.stages:
            stage.join(deadline - time.monotonic())

    def _prepared(self, heart: Heartbeat, what: str, done: float) -> bool:
        heart.beat()
        log.info("%s: %.0f %%", what, 100 * done)
        return not self._closing

    def _run(self, heart: Heartbeat) -> None:
        try:
            while not self._closing:
                config = self._config
                heart.patience = _OPENING
                prepared = partial(self._prepared, heart)
                with open_image_classifier(config, _TOP, prepared, raise_overload=True) as reader:
                    heart.patience = PATIENCE
                    self._open[heart.name] = reader
                    try:
                        self._read(heart, reader, config)
                    finally:
                        del self._open[heart.name]
        except CancelledError:
            return

    def _read(self, heart: Heartbeat, reader: ImageClassifier, config: Config) -> None:
        """Look at one picture after the other, until there is another config."""
        while not self._closing and config is self._config:
            heart.beat()
            try:
                order = self._orders.get(timeout=BEAT)
            except Empty:
                continue
            if order is None or not order.found.set_running_or_notify_cancel():
                continue
            try:
                order.found.set_result((reader.classify(order.picture), config))
            except Exception as error:
                order.found.set_exception(error)
                if isinstance(error, InstallationError) and not isinstance(error, OverloadedError):
                    raise
            finally:
                # The next picture may come in the morning.
                del order
